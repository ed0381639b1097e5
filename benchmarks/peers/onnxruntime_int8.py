"""Quantize a float ONNX model to int8 QDQ with onnxruntime.quantization.

As its documentation says: ``quant_pre_process`` (shape inference and graph optimization), then
``quantize_static`` in QDQ format with the calibration images one by one. Without options, its own
defaults for x86 with VNNI: uint8 activations, int8 weights, MinMax. Runs inside the environment
that ``onnxruntime.txt`` describes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

pixels = import_module("pixels")  # beside this script, which mypy does not know
INPUT = "input"


class _Images(CalibrationDataReader):  # type: ignore[misc]  # untyped outside its environment
    """The calibration images, normalised, NCHW, one by one."""

    def __init__(self, images: np.ndarray, args: argparse.Namespace) -> None:
        self._images, self._args = images, args
        self._left: Iterator[np.ndarray] = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._left, None)
        if image is None:
            return None
        values = pixels.normalised(image, self._args)
        return {INPUT: np.ascontiguousarray(values.transpose(0, 3, 1, 2))}

    def rewind(self) -> None:
        self._left = iter(self._images)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        self.rewind()
        return iter(self.get_next, None)


def main() -> None:
    args = _arguments()
    images = _Images(np.load(args.calibration), args)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "pre-processed.onnx"
        quant_pre_process(str(args.onnx), str(model))
        quantize_static(
            str(model),
            str(args.output),
            images,
            quant_format=QuantFormat.QDQ,
            per_channel=args.per_channel,
            reduce_range=False,
            activation_type=QuantType[args.activations],
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[args.method],
            extra_options=_options(args),
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx", type=Path, required=True, help="float ONNX, NCHW")
    parser.add_argument("--calibration", type=Path, required=True, help=".npy, uint8 [N,H,W,3]")
    parser.add_argument("--output", type=Path, required=True)
    pixels.add_arguments(parser)
    parser.add_argument("--per-channel", action="store_true")
    parser.add_argument("--method", default="MinMax", choices=["MinMax", "Entropy", "Percentile"])
    parser.add_argument("--percentile", type=float, help="for the method Percentile")
    parser.add_argument("--moving-average", action="store_true", help="for the method MinMax")
    parser.add_argument("--activations", default="QUInt8", choices=["QUInt8", "QInt8"])
    parser.add_argument("--smooth-quant", type=float, metavar="ALPHA")
    return parser.parse_args()


def _options(args: argparse.Namespace) -> dict[str, object]:
    # Histograms hold every activation of every image in memory unless told to merge in between.
    options: dict[str, object] = {"CalibMaxIntermediateOutputs": 50}
    if args.method == "MinMax":
        options = {"CalibMovingAverage": args.moving_average}
    if args.percentile is not None:
        options["CalibPercentile"] = args.percentile
    if args.smooth_quant is not None:
        options |= {"SmoothQuant": True, "SmoothQuantAlpha": args.smooth_quant}
    return options


if __name__ == "__main__":
    main()
