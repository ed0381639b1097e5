"""Noise that is measured by quantizing one sharing group in an otherwise float graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from ghostedge_quantize.codes import QuantParams, Range, affine
from ghostedge_quantize.equalization.output_noise import OutputNoise, with_pairs
from ghostedge_quantize.graph.canonical import canonical_ir


def _codes(values: np.ndarray, params: QuantParams) -> np.ndarray:
    steps = np.rint(values / params.scale) + params.zero_point
    return np.asarray((np.clip(steps, -128, 127) - params.zero_point) * params.scale, np.float32)


def test_the_graph_itself_makes_no_noise(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]
) -> None:
    assert OutputNoise(canonical_ir(ghost), batches(3)).of(ghost) == 0


def test_a_pair_at_the_output_makes_the_noise_of_rounding_it(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]], run: Callable[..., np.ndarray]
) -> None:
    arrays, params = batches(5), affine(Range(-2.0, 3.0))
    noise = OutputNoise(canonical_ir(ghost), arrays)
    measured = noise.of_pairs({"out": ["logits"]}, {"out": params})
    exact = run(ghost, arrays).astype(np.float64)
    errors = np.sqrt(np.square(_codes(exact, params) - exact).mean(axis=1))
    assert measured["out"] == pytest.approx(errors.mean() ** 2 / np.square(exact).mean(), rel=1e-3)


def test_every_reader_gets_a_quantized_tensor_and_the_names_stay(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]], run: Callable[..., np.ndarray]
) -> None:
    canonical, params = onnx.ModelProto(), affine(Range(0.0, 4.0))
    canonical.CopyFrom(ghost)
    paired = with_pairs(canonical, ["primary", "cheap"], params)
    readers = [node for node in paired.graph.node if "primary" in node.input]
    assert [node.op_type for node in readers] == ["QuantizeLinear"]
    arrays = batches(2)
    expected = _codes(run(ghost, arrays, outputs=["both"]), params)
    np.testing.assert_array_equal(run(paired, arrays, outputs=["both"])[:, :4], expected[:, :4])
    assert canonical == ghost


def test_the_input_can_be_quantized_too(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]], run: Callable[..., np.ndarray]
) -> None:
    arrays, params = batches(3), affine(Range(-4.0, 4.0))
    paired = with_pairs(ghost, ["input"], params)
    actual = run(paired, arrays, outputs=["logits"])
    expected = run(ghost, [_codes(array, params) for array in arrays])
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_coarser_steps_make_more_noise_group_by_group(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]
) -> None:
    noise = OutputNoise(canonical_ir(ghost), batches(8))
    groups = {"fine": ["linear"], "coarse": ["linear"]}
    params = {"fine": affine(Range(-8.0, 8.0)), "coarse": affine(Range(-64.0, 64.0))}
    measured = noise.of_pairs(groups, params)
    assert 20 < measured["coarse"] / measured["fine"] < 200


def test_one_image_of_outliers_counts_as_one_image(
    toy: Callable[..., onnx.ModelProto],
) -> None:
    """The mean over images of the root of the error, not of the error."""
    model = toy(
        "m = GlobalAveragePool(input) f = Flatten(m) logits = Gemm<transB=1>(f, w)",
        {"w": np.eye(10, 3)},
    )
    images = [np.full((1, 3, 8, 8), value, np.float32) for value in (1, 1, 1, 101)]
    noise = OutputNoise(canonical_ir(model), images)
    params = {"g": QuantParams(np.float32(1), 26)}
    measured = noise.of_pairs({"g": ["logits"]}, params)["g"]
    share = np.sqrt(3 / 10)
    power = np.mean(np.square([1, 1, 1, 101])) * share**2
    assert _codes(np.float32([101]), params["g"]).tolist() == [101]
    assert measured == 0
    clipped = noise.of_pairs({"g": ["logits"]}, {"g": QuantParams(np.float32(1), 66)})["g"]
    assert clipped == pytest.approx((40 * share / 4) ** 2 / power, rel=1e-6)


def test_every_output_counts_alike_however_large_it_is(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]
) -> None:
    arrays, params = batches(3), affine(Range(-2.0, 3.0))
    alone = OutputNoise(canonical_ir(ghost), arrays).of_pairs({"g": ["logits"]}, {"g": params})
    two = onnx.ModelProto()
    two.CopyFrom(ghost)
    two.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1000), "thousand"))
    two.graph.node.append(onnx.helper.make_node("Mul", ["stem", "thousand"], ["huge"]))
    size = onnx.helper.make_tensor_value_info("huge", onnx.TensorProto.FLOAT, [1, 8, 4, 4])
    two.graph.output.append(size)
    both = OutputNoise(canonical_ir(two), arrays).of_pairs({"g": ["logits"]}, {"g": params})
    assert both["g"] == pytest.approx(alone["g"] / 2)
