from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from ghostedge_quantize import calibrate, quantize, unsigned_activations
from ghostedge_quantize.settings import OutputType
from ghostedge_runtime.metadata import Preprocessing

Run = Callable[..., np.ndarray]
Batches = Callable[..., list[np.ndarray]]
PIXELS = list(np.random.default_rng(5).integers(0, 256, (20, 1, 8, 8, 3), np.uint8))


def int8(
    ghost: onnx.ModelProto, batches: Batches, output_type: OutputType = "float32"
) -> onnx.ModelProto:
    ranges = calibrate(ghost, batches(20), method="minmax")
    return quantize(ghost, ranges, preprocessing=Preprocessing(), output_type=output_type)


def test_every_activation_code_moves_by_128_and_weights_stay(
    ghost: onnx.ModelProto, batches: Batches
) -> None:
    signed = int8(ghost, batches)
    before = {i.name: numpy_helper.to_array(i) for i in signed.graph.initializer}
    after = {
        i.name: numpy_helper.to_array(i) for i in unsigned_activations(signed).graph.initializer
    }
    moved = [name for name, array in before.items() if array.dtype == np.int8 and name not in after]
    assert len(moved) == 14  # a zero point for each of 13 scales, and the mean
    for name in moved:
        twin = after[f"{name}_unsigned"]
        assert twin.dtype == np.uint8
        assert np.array_equal(twin.astype(int), before[name].astype(int) + 128)
    for name in set(before) - set(moved):
        assert np.array_equal(before[name], after[name])


@pytest.mark.parametrize("output_type", ["float32", "int8"])
def test_the_function_and_the_signature_stay(
    ghost: onnx.ModelProto, batches: Batches, run: Run, output_type: OutputType
) -> None:
    signed = int8(ghost, batches, output_type)
    unsigned = unsigned_activations(signed)
    assert unsigned.graph.input == signed.graph.input
    assert unsigned.graph.output == signed.graph.output
    expected = run(signed, PIXELS, optimise=False)
    assert np.array_equal(run(unsigned, PIXELS, optimise=False), expected)


def test_onnx_runtime_runs_all_of_it_in_int8_kernels_without_being_told(
    ghost: onnx.ModelProto, batches: Batches, tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    model = unsigned_activations(int8(ghost, batches))
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    ops = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert ops == {
        "Transpose": 1,
        "QLinearAdd": 2,
        "QLinearConv": 6,
        "QLinearConcat": 1,
        "QLinearGlobalAveragePool": 2,
        "QLinearMul": 1,
        "Flatten": 1,
        "QGemm": 1,
        "DequantizeLinear": 1,
    }
