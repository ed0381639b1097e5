"""Quantize a float ONNX model with NNCF's OpenVINO backend and answer the test images with it.

NNCF's full bias correction fails on GhostNet in its ONNX backend (a KeyError where it cuts the
graph at a residual's tensor), so it is measured where it works. What it writes is OpenVINO's own
format, which neither ONNX Runtime nor LiteRT reads: the output here is the logits that OpenVINO's
CPU plugin gives, float32 [N, classes] as .npy. Runs inside the environment that
``nncf_openvino.txt`` describes.
"""

from __future__ import annotations

import argparse
from functools import partial
from importlib import import_module
from pathlib import Path

import nncf  # type: ignore[import-not-found]  # only in the peer's environment
import numpy as np
import openvino
from nncf.quantization.advanced_parameters import (  # type: ignore[import-not-found]  # likewise
    AdvancedQuantizationParameters,
)
from nncf.quantization.range_estimator import (  # type: ignore[import-not-found]  # likewise
    RangeEstimatorParametersSet,
)

pixels = import_module("pixels")  # beside this script, which mypy does not know


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx", type=Path, required=True, help="float ONNX, NCHW")
    parser.add_argument("--calibration", type=Path, required=True, help=".npy, uint8 [N,H,W,3]")
    parser.add_argument("--test", type=Path, required=True, help=".npz with such pixels")
    parser.add_argument("--output", type=Path, required=True)
    pixels.add_arguments(parser)
    parser.add_argument("--preset", choices=["PERFORMANCE", "MIXED"])
    parser.add_argument("--full-bias-correction", action="store_true")
    parser.add_argument("--ranges", help="name of a RangeEstimatorParametersSet, activations")
    args = parser.parse_args()
    advanced = AdvancedQuantizationParameters()
    if args.ranges:
        chosen = getattr(RangeEstimatorParametersSet, args.ranges)
        advanced.activations_range_estimator_params = chosen
    images, sample = np.load(args.calibration), partial(_sample, args=args)
    quantized = nncf.quantize(
        openvino.convert_model(str(args.onnx)),
        nncf.Dataset(images, sample),
        preset=nncf.QuantizationPreset[args.preset] if args.preset else None,
        subset_size=len(images),
        fast_bias_correction=not args.full_bias_correction,
        advanced_parameters=advanced,
    )
    compiled = openvino.Core().compile_model(quantized, "CPU")
    with np.load(args.test) as arrays:
        logits = [compiled(sample(image))[0][0] for image in arrays["pixels"]]
    np.save(args.output, np.stack(logits).astype(np.float32))


def _sample(image: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    values = pixels.normalised(image, args)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


if __name__ == "__main__":
    main()
