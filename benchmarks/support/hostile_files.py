"""Write a rescaled checkpoint and measure that its function is the original's.

Run as ``python -m support.hostile_files`` by ``int8_hostile``, because it needs torch. The
difference is measured in float64 on the calibration images, from the float32 weights as they are
in the file, and so is that of the rounding of the weights alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_runtime.images import normalize
from support.hostile import rescaled
from support.studies import PREPROCESSING

IMAGES = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="torch state_dict")
    parser.add_argument("--calibration", type=Path, required=True, help=".npy, uint8 [N,H,W,3]")
    parser.add_argument("--spread", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    weights = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    changed = rescaled(weights, args.spread, np.random.default_rng(args.seed))
    torch.save(changed, args.output)
    pixels = np.load(args.calibration)[:IMAGES]
    images = torch.from_numpy(normalize(pixels, PREPROCESSING)).permute(0, 3, 1, 2).double()
    before, after = (_logits(state, images) for state in (weights, changed))
    difference = float((after - before).abs().max() / before.abs().max())
    print(json.dumps({"relative_difference": difference, "images": IMAGES}))


@torch.no_grad()
def _logits(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    width = len(weights["conv_stem.weight"]) / 16
    module = GhostNet(width=width, num_classes=len(weights["classifier.bias"]))
    module.load_state_dict(weights)
    logits: Tensor = module.double().eval()(images)
    return logits


if __name__ == "__main__":
    main()
