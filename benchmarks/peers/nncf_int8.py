"""Quantize a float ONNX model to int8 QDQ with NNCF's post-training quantization.

``nncf.quantize`` over all calibration images one by one (``subset_size`` is their number). Without
options, its own defaults: performance preset, fast bias correction. Runs inside the environment
that ``nncf.txt`` describes.
"""

from __future__ import annotations

import argparse
from functools import partial
from importlib import import_module
from pathlib import Path

import nncf  # type: ignore[import-not-found]  # only in the peer's environment
import numpy as np
import onnx
from nncf.quantization.advanced_parameters import (  # type: ignore[import-not-found]  # likewise
    AdvancedQuantizationParameters,
    AdvancedSmoothQuantParameters,
    OverflowFix,
)
from nncf.quantization.range_estimator import (  # type: ignore[import-not-found]  # likewise
    RangeEstimatorParametersSet,
)

pixels = import_module("pixels")  # beside this script, which mypy does not know
INPUT = "input"


def main() -> None:
    args = _arguments()
    images = np.load(args.calibration)
    quantized = nncf.quantize(
        onnx.load(str(args.onnx)),
        nncf.Dataset(images, partial(_sample, args=args)),
        preset=nncf.QuantizationPreset[args.preset] if args.preset else None,
        subset_size=len(images),
        fast_bias_correction=not args.full_bias_correction,
        advanced_parameters=_advanced(args),
    )
    onnx.save(quantized, str(args.output))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx", type=Path, required=True, help="float ONNX, NCHW")
    parser.add_argument("--calibration", type=Path, required=True, help=".npy, uint8 [N,H,W,3]")
    parser.add_argument("--output", type=Path, required=True)
    pixels.add_arguments(parser)
    parser.add_argument("--preset", choices=["PERFORMANCE", "MIXED"])
    parser.add_argument("--full-range", action="store_true", help="no overflow fix")
    parser.add_argument("--full-bias-correction", action="store_true")
    parser.add_argument("--ranges", help="name of a RangeEstimatorParametersSet, activations")
    parser.add_argument("--smooth-convolutions", type=float, metavar="ALPHA")
    return parser.parse_args()


def _advanced(args: argparse.Namespace) -> object:
    parameters = AdvancedQuantizationParameters()
    if args.ranges:
        chosen = getattr(RangeEstimatorParametersSet, args.ranges)
        parameters.activations_range_estimator_params = chosen
    if args.smooth_convolutions is not None:
        alphas = AdvancedSmoothQuantParameters(convolution=args.smooth_convolutions)
        parameters.smooth_quant_alphas = alphas
    if args.full_range:
        parameters.overflow_fix = OverflowFix.DISABLE
    return parameters


def _sample(image: np.ndarray, args: argparse.Namespace) -> dict[str, np.ndarray]:
    values = pixels.normalised(image, args)
    return {INPUT: np.ascontiguousarray(values.transpose(0, 3, 1, 2))}


if __name__ == "__main__":
    main()
