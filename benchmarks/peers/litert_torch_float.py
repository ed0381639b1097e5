"""Convert a checkpoint of the GhostNet family to a float TFLite with litert-torch.

The first half of ``litert_torch_int8.py``, beside which it stands: channels-last input, nothing
else chosen. The calibration images tell the input's size.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="torch state_dict")
    parser.add_argument("--calibration", type=Path, required=True, help=".npy, uint8 [N,H,W,3]")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    peer = import_module("litert_torch_int8")  # beside this script, which mypy does not know
    size = np.load(args.calibration, mmap_mode="r").shape[1:3]
    peer.convert(peer.load(args.checkpoint), size, args.output)


if __name__ == "__main__":
    main()
