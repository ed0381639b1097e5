"""Write a study's files that need torch: its weights, and the ONNX model of the network.

Run as ``python -m support.study_files`` by ``studies``, so that the process that measures stays
free of torch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import torch

from ghostedge_convert import build, export_onnx, identify, load_checkpoint
from ghostedge_convert.sources.factory import load_from_factory
from support.workload_files import as_published


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", type=int, nargs=2, required=True, help="height and width")
    parser.add_argument("--factory", help="makes the network where the weights do not tell it")
    parser.add_argument("--factory-args")
    args = parser.parse_args()
    loaded = load_checkpoint(args.model)
    if args.factory:
        module = load_from_factory(args.factory, args.factory_args, loaded).module
        program = torch.export.export(module, (torch.zeros(1, 3, *args.size),))
        torch.export.save(program, args.folder / "program.pt2")
    else:
        module = as_published(build(loaded, identify(loaded)).float())
        torch.save(module.state_dict(), args.folder / "checkpoint.pt")
    onnx.save(export_onnx(module, input_size=tuple(args.size)), args.folder / "exported.onnx")


if __name__ == "__main__":
    main()
