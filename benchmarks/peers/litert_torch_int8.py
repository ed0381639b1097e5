"""Convert a checkpoint of the family to a statically quantized int8 TFLite with Google's tools.

litert-torch writes the float TFLite from the torch module with channels-last input
(``to_channel_last_io``, its documented way to NHWC), ai-edge-quantizer calibrates it on the given
images and quantizes it by its recipe ``static_wi8_ai8``: per-channel int8 weights, int8
activations. Runs inside the environment that ``litert_torch.txt`` describes, never in the
product's; only the network's definition is ours.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from importlib import import_module
from pathlib import Path

import litert_torch  # type: ignore[import-not-found]  # only in the peer's environment
import numpy as np
import torch
from ai_edge_quantizer import (  # type: ignore[import-not-found]  # likewise
    quantizer,
    recipe,
)

from ghostedge_convert.architectures.family import Size, expected_shapes, shapes_of
from ghostedge_convert.architectures.table import recognise_family

pixels = import_module("pixels")  # beside this script, which mypy does not know


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="torch state_dict, or a .pt2"
    )
    parser.add_argument("--calibration", type=Path, required=True, help=".npy, uint8 [N,H,W,3]")
    parser.add_argument("--output", type=Path, required=True)
    pixels.add_arguments(parser)
    args = parser.parse_args()
    images = np.load(args.calibration)
    with tempfile.TemporaryDirectory() as folder:
        float_model = Path(folder) / "float.tflite"
        convert(load(args.checkpoint), images.shape[1:3], float_model)
        _quantize(float_model, images, args)


def load(checkpoint: Path) -> torch.nn.Module:
    """A network of the GhostNet family by its weights, any other by its torch.export program."""
    if checkpoint.suffix == ".pt2":
        return torch.export.load(checkpoint).module()
    weights = torch.load(checkpoint, map_location="cpu", weights_only=True)
    shapes = shapes_of(weights)
    recognised = recognise_family(shapes)
    if recognised is None:
        raise SystemExit(f"{checkpoint.name} is of no network of the GhostNet family")
    family, _ = recognised
    form, classes = family.form_of(shapes), shapes[family.classifier][0]

    def fits(size: Size) -> bool:
        return expected_shapes(form, size, classes) == shapes

    size = family.sizes.find(shapes, fits)
    module = form.network(**dict(size.options), num_classes=classes)
    module.load_state_dict(weights)
    return module.eval()


def convert(module: torch.nn.Module, size: tuple[int, int], output: Path) -> None:
    channels_last = litert_torch.to_channel_last_io(module, args=[0])
    litert_torch.convert(channels_last, (torch.zeros(1, *size, 3),)).export(str(output))


def _quantize(float_model: Path, images: np.ndarray, args: argparse.Namespace) -> None:
    tool = quantizer.Quantizer(str(float_model), recipe.static_wi8_ai8())
    calibrated = tool.calibrate(
        _samples(images, args),
        num_threads=len(os.sched_getaffinity(0)),  # its default of 16 is slower on fewer cores
    )
    tool.quantize(calibrated).export_model(str(args.output), overwrite=True)


def _samples(
    images: np.ndarray, args: argparse.Namespace
) -> dict[str, list[dict[str, np.ndarray]]]:
    """By signature, each image normalised; a list, because it is iterated twice."""
    return {"serving_default": [{"args_0": pixels.normalised(image, args)} for image in images]}


if __name__ == "__main__":
    main()
