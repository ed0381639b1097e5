"""The gains that noise is predicted to have, against noise put in and measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from ghostedge_quantize.equalization.gains import (
    channel_stats,
    grouped_weights,
    noise_gains,
    power_of,
)
from ghostedge_quantize.graph.canonical import canonical_ir

_COUNT = 1500


def _weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)


@pytest.fixture
def linear(toy: Callable[..., onnx.ModelProto]) -> onnx.ModelProto:
    """Layers, an addition, a concat, a mean and a flattened tensor; linear, and no
    noise meets itself behind the sum, so gains are exact there."""
    return toy(
        """
        one = Conv(input, w1)
        two = Conv(one, w2)
        wide = Conv(one, w3)
        sum = Add(two, one)
        both = Concat<axis=1>(sum, wide)
        mixed = Conv<group=10>(both, w4)
        mean = GlobalAveragePool(mixed)
        short = Flatten(mean)
        long = Flatten(both)
        a = Gemm<transB=1>(short, w5)
        b = Gemm<transB=1>(long, w6)
        logits = Add(a, b)
        """,
        {
            "w1": _weight(4, 3, 1, 1),
            "w2": np.diag([0.5, 1, 2, 3]).reshape(4, 4, 1, 1),
            "w3": np.eye(6, 4).reshape(6, 4, 1, 1) * 0,
            "w4": np.linspace(0.3, 3, 10).reshape(10, 1, 1, 1),
            "w5": _weight(10, 10),
            "w6": np.zeros((10, 160)),
        },
        shape=(1, 3, 4, 4),
    )


def _injected(
    model: onnx.ModelProto, tensor: str, channels: int, run: Callable[..., np.ndarray]
) -> np.ndarray:
    """float64 [C]: summed power at the logits of unit noise on each channel of a tensor."""
    noisy = onnx.ModelProto.FromString(model.SerializeToString())
    graph = noisy.graph
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == tensor:
                node.input[index] = "noisy"
    place = next(i for i, node in enumerate(graph.node) if tensor in node.output)
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("noise", 1, ["n", channels, 4, 4]))
    zero = helper.make_node("ConstantOfShape", ["input_shape"], ["input"])
    shape = onnx.numpy_helper.from_array(np.array([_COUNT, 3, 4, 4], np.int64), "input_shape")
    graph.initializer.append(shape)
    graph.node.insert(place + 1, helper.make_node("Add", [tensor, "noise"], ["noisy"]))
    graph.node.insert(0, zero)
    del graph.output[:], graph.value_info[:]
    graph.output.append(helper.make_tensor_value_info("logits", 1, ["n", 10]))
    random, powers = np.random.default_rng(0), np.zeros(channels)
    for channel in range(channels):
        noise = np.zeros((_COUNT, channels, 4, 4), np.float32)
        noise[:, channel] = random.normal(size=(_COUNT, 4, 4))
        powers[channel] = np.square(run(noisy, [noise])).sum(axis=1).mean()
    return powers


@pytest.mark.parametrize(("tensor", "channels"), [("mixed", 10), ("both", 10), ("sum", 4)])
def test_gains_are_what_injected_noise_shows(
    tensor: str, channels: int, linear: onnx.ModelProto, run: Callable[..., np.ndarray]
) -> None:
    gains = noise_gains(canonical_ir(linear).graph, {})
    measured = _injected(linear, tensor, channels, run)
    np.testing.assert_allclose(gains[tensor], measured, rtol=0.15)


def test_a_flattened_channel_gains_what_all_its_positions_do(
    toy: Callable[..., onnx.ModelProto], run: Callable[..., np.ndarray]
) -> None:
    model = toy(
        "one = Conv(input, w1) long = Flatten(one) logits = Gemm<transB=1>(long, w)",
        {"w1": _weight(4, 3, 1, 1), "w": _weight(10, 64) * np.repeat([1, 2, 3, 4], 16)},
        shape=(1, 3, 4, 4),
    )
    gains = noise_gains(canonical_ir(model).graph, {})
    np.testing.assert_allclose(gains["one"], _injected(model, "one", 4, run), rtol=0.15)


def test_a_channel_gains_from_the_slices_that_take_it(
    toy: Callable[..., onnx.ModelProto],
) -> None:
    model = toy(
        """one = Conv(input, w1) a = Slice(one, start, middle, axis)
        b = Slice(one, middle, end, axis) both = Concat<axis=1>(a, b, b)
        mean = GlobalAveragePool(both) short = Flatten(mean) logits = Gemm<transB=1>(short, w)""",
        {
            "w1": _weight(4, 3, 1, 1),
            "start": np.array([0]),
            "middle": np.array([1]),
            "end": np.array([3]),
            "axis": np.array([1]),
            "w": np.eye(10, 5) * np.arange(1, 6),
        },
        shape=(1, 3, 4, 4),
    )
    gains = noise_gains(canonical_ir(model).graph, {})["one"]
    np.testing.assert_allclose(gains * 16, [1, 4 + 16, 9 + 25, 0])


def test_where_branches_part_their_noise_adds_up_in_power(linear: onnx.ModelProto) -> None:
    """``one`` reaches the sum directly and through ``two``, whose weights are 0.5, 1, 2 and 3."""
    gains = noise_gains(canonical_ir(linear).graph, {})
    expected = gains["sum"] * (1 + np.square([0.5, 1, 2, 3]))
    np.testing.assert_allclose(gains["one"], expected, rtol=1e-6)


def test_a_relu_hands_on_the_share_that_is_active(
    toy: Callable[..., onnx.ModelProto], batches: Callable[..., list[np.ndarray]]
) -> None:
    model = toy(
        """a = Conv(input, w, b) r = Relu(a) m = GlobalAveragePool(r) f = Flatten(m)
        logits = Gemm<transB=1>(f, d)""",
        {
            "w": np.full((3, 3, 1, 1), 0.1),
            "b": [9, -9, 0],
            "d": np.ones((10, 3)),
        },
    )
    graph = canonical_ir(model)
    stats = channel_stats(graph, ["r"], batches(20))
    gains = noise_gains(graph.graph, stats)
    np.testing.assert_allclose(gains["a"] / gains["r"], [1, 0, 0.5], atol=0.05)
    np.testing.assert_allclose(gains["r"], 10 / 64)


def test_a_gate_hands_on_the_power_of_the_other_side(
    toy: Callable[..., onnx.ModelProto], batches: Callable[..., list[np.ndarray]]
) -> None:
    model = toy(
        """a = Conv(input, w) p = GlobalAveragePool(input) g = Conv(p, v, b) y = Mul(a, g)
        m = GlobalAveragePool(y) f = Flatten(m) logits = Gemm<transB=1>(f, d)""",
        {
            "w": np.eye(3).reshape(3, 3, 1, 1),
            "v": np.zeros((3, 3, 1, 1)),
            "b": [1, 2, 3],
            "d": np.ones((10, 3)),
        },
    )
    graph = canonical_ir(model)
    stats = channel_stats(graph, ["a", "g"], batches(20))
    gains = noise_gains(graph.graph, stats)
    np.testing.assert_allclose(gains["a"] / gains["y"], [1, 4, 9], rtol=1e-6)
    np.testing.assert_allclose(gains["g"] / gains["y"], stats["a"].power, rtol=1e-6)


def test_weights_are_grouped_as_the_convolution_reads_them(
    toy: Callable[..., onnx.ModelProto],
) -> None:
    weight = np.arange(8 * 2 * 3 * 3, dtype=np.float32).reshape(8, 2, 3, 3)
    model = toy(
        """a = Conv(input, w) b = Conv<group=2>(a, g) m = GlobalAveragePool(b) f = Flatten(m)
        logits = Gemm<transB=1>(f, d)""",
        {"w": _weight(4, 3, 1, 1), "g": weight, "d": _weight(10, 8)},
    )
    node = [n for n in canonical_ir(model).graph if n.op_type == "Conv"][1]
    grouped = grouped_weights(node)
    assert grouped.shape == (2, 4, 2, 9)
    np.testing.assert_array_equal(grouped[1, 2, 1], weight[6, 1].reshape(-1))


def test_statistics_of_channels_are_those_of_all_images(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]], run: Callable[..., np.ndarray]
) -> None:
    arrays = batches(6)
    stats = channel_stats(canonical_ir(ghost), ["linear"], arrays)["linear"]
    values = run(ghost, arrays, outputs=["linear"]).astype(np.float64)
    np.testing.assert_allclose(stats.high, values.max(axis=(0, 2, 3)).clip(0), rtol=1e-5)
    np.testing.assert_allclose(stats.low, (-values.min(axis=(0, 2, 3))).clip(0), rtol=1e-5)
    np.testing.assert_allclose(stats.power, np.square(values).mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(stats.active, (values > 0).mean(axis=(0, 2, 3)), rtol=1e-5)


def test_power_of_a_concat_is_that_of_its_parts(
    ghost: onnx.ModelProto, batches: Callable[..., list[np.ndarray]]
) -> None:
    graph = canonical_ir(ghost)
    stats = channel_stats(graph, ["primary", "cheap"], batches(2))
    both = next(node for node in graph.graph if node.op_type == "Concat").outputs[0]
    expected = np.concatenate([stats["primary"].power, stats["cheap"].power])
    np.testing.assert_array_equal(power_of(both, stats), expected)


def test_power_of_a_slice_is_that_of_the_channels_it_takes(
    toy: Callable[..., onnx.ModelProto], batches: Callable[..., list[np.ndarray]]
) -> None:
    model = toy(
        """one = Conv(input, w1) part = Slice(one, start, end, axis)
        mean = GlobalAveragePool(part) short = Flatten(mean) logits = Gemm<transB=1>(short, w)""",
        {
            "w1": _weight(4, 3, 1, 1),
            "start": np.array([1]),
            "end": np.array([3]),
            "axis": np.array([1]),
            "w": _weight(10, 2),
        },
    )
    graph = canonical_ir(model)
    stats = channel_stats(graph, ["one"], batches(2))
    part = next(node for node in graph.graph if node.op_type == "Slice").outputs[0]
    np.testing.assert_array_equal(power_of(part, stats), stats["one"].power[1:3])
