"""Quantize a float TFLite model to int8 with ai-edge-quantizer, by a recipe of choice.

The recipe is its ``static_wi8_ai8`` (per-channel int8 weights, int8 activations whose ranges are
its moving average over the calibration images). ``--algorithm`` sets how tensors' scales are found
where the quantizer has that algorithm for the op; the others keep min-max, which is its way of
mixing recipes (a later rule overrides an earlier one). The float model is a given TFLite or, with
``--checkpoint``, what litert-torch makes of GhostNet's weights. Runs inside the environment that
``litert_torch.txt`` describes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import (  # type: ignore[import-not-found]  # only in the peer's environment
    algorithm_manager,
    qtyping,
    quantizer,
    recipe,
    recipe_manager,
)

pixels = import_module("pixels")  # beside this script, which mypy does not know
MIN_MAX = algorithm_manager.AlgorithmName.MIN_MAX_UNIFORM_QUANT
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tflite", type=Path, help="float TFLite, NHWC")
    source.add_argument("--checkpoint", type=Path, help="torch state_dict, or a .pt2")
    parser.add_argument("--calibration", type=Path, required=True, help=".npy, uint8 [N,H,W,3]")
    parser.add_argument("--output", type=Path, required=True)
    pixels.add_arguments(parser)
    parser.add_argument("--algorithm", default="MIN_MAX_UNIFORM_QUANT", help="an AlgorithmName")
    args = parser.parse_args()
    images = np.load(args.calibration)
    with tempfile.TemporaryDirectory() as folder:
        float_model = args.tflite or Path(folder) / "float.tflite"
        if args.checkpoint:
            _convert(args.checkpoint, images.shape[1:3], float_model)
        tool = quantizer.Quantizer(str(float_model), _recipe(args.algorithm))
        calibrated = tool.calibrate(
            _samples(float_model, images, args),
            num_threads=len(os.sched_getaffinity(0)),  # its default of 16 is slower on fewer cores
        )
        tool.quantize(calibrated).export_model(str(args.output), overwrite=True)


def _convert(checkpoint: Path, size: tuple[int, int], output: Path) -> None:
    """As the other benchmarks' peer does it; imported late because it brings torch and jax."""
    peer = import_module("litert_torch_int8")  # beside this script, which mypy does not know

    peer.convert(peer.load(checkpoint), size, output)


def _recipe(algorithm: str) -> list[dict[str, object]]:
    chosen = algorithm_manager.AlgorithmName[algorithm]
    if chosen == MIN_MAX:
        return list(recipe.static_wi8_ai8())
    granularity = qtyping.QuantGranularity.CHANNELWISE
    rules = recipe_manager.RecipeManager()
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    rules.add_static_config(".*", everything, 8, 8, granularity, MIN_MAX)
    for name in WEIGHTED:
        operation = qtyping.TFLOperationName[name]
        if algorithm_manager.is_op_registered(chosen, operation):
            rules.add_static_config(".*", operation, 8, 8, granularity, chosen)
    return list(rules.get_quantization_recipe())


def _samples(
    model: Path, images: np.ndarray, args: argparse.Namespace
) -> dict[str, list[dict[str, np.ndarray]]]:
    """By signature, each image normalised; a list, because it is iterated twice."""
    ((signature, tensors),) = Interpreter(str(model)).get_signature_list().items()
    (name,) = tensors["inputs"]
    samples = [{name: pixels.normalised(image, args)} for image in images]
    return {signature: samples}


if __name__ == "__main__":
    main()
