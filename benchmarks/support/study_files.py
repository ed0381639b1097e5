"""Write a study's files that need torch: the plain state_dict and the ONNX model of it.

Run as ``python -m support.study_files`` by ``studies``, so that the process that measures stays
free of torch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import torch

from ghostedge_convert import build, export_onnx, identify, load_checkpoint
from support.studies import PREPROCESSING
from support.workload_files import as_published


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    loaded = load_checkpoint(args.model)
    module = build(loaded, identify(loaded)).float()
    torch.save(module.state_dict(), args.folder / "checkpoint.pt")
    exported = export_onnx(as_published(module), input_size=PREPROCESSING.input_size)
    onnx.save(exported, args.folder / "exported.onnx")


if __name__ == "__main__":
    main()
