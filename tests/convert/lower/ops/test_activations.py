# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Activations compute what ONNX Runtime computes, in float and between int8 pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ghostedge_convert.lower import lower_to_tflite

sampled = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 2**31 - 1)
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
BOUNDS = [(0, 6), (0, None), (-1, 1), (None, 1), (-0.5, None), (None, None), (0.25, 0.75), (0, 1)]
SHAPE = (1, 6, 5, 4)
SLOPES = np.linspace(-0.5, 0.9, 6, dtype=np.float32).reshape(6, 1, 1)
IMAGE_SCALE, IMAGE_ZERO = 0.02, -9
AFTER = [(0.04, 5), (0.03, -70)]
SCALE, ZERO = 0.027, 5


def behind_conv(network, shape, seed):
    """An input of this shape that is channels-last because a 1×1 convolution made it."""
    x = network.input(shape)
    if len(shape) != 4:
        return x
    weights = np.random.default_rng(seed).standard_normal((shape[1], shape[1], 1, 1))
    return network.add("Conv", x, weights.astype(np.float32))


def behind_float_or_int8_conv(network, int8):
    """Channels last, so that slopes per channel have to follow."""
    x = network.input(SHAPE)
    if int8:
        x = network.pair(x, IMAGE_SCALE, IMAGE_ZERO)
        weights, scales = network.weights((6, 6, 1, 1), 1)
        y = network.add("Conv", x, weights, network.bias(scales, IMAGE_SCALE, 1))
        return network.pair(y, 0.04, 5)
    weights = np.random.default_rng(1).normal(size=(6, 6, 1, 1)).astype(np.float32)
    return network.add("Conv", x, weights)


def quantized_input(network, shape, name="x", scale=SCALE, zero=ZERO):
    return network.pair(network.input(shape, name), scale, zero)


@sampled
@given(st.sampled_from(["Relu", "Sigmoid", "HardSwish", "Identity"]), shapes, st.booleans(), seeds)
def test_activations(net, agree, op, shape, conv, seed):
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    agree(network.model(network.add(op, x)), network.feeds(seed))


@sampled
@given(shapes, st.booleans(), seeds)
def test_silu_as_exported(net, agree, shape, conv, seed):
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    y = network.add("Mul", x, network.add("Sigmoid", x))
    assert agree(network.model(y), network.feeds(seed))["LOGISTIC"] == 1


@pytest.mark.parametrize(("low", "high"), BOUNDS)
@pytest.mark.parametrize("conv", [False, True])
def test_clip_with_any_bounds(net, agree, low, high, conv):
    network = net()
    x = behind_conv(network, (1, 3, 4, 5), 0) if conv else network.input((2, 9))
    limits = ["" if v is None else np.float32(v) for v in (low, high)]
    agree(network.model(network.add("Clip", x, *limits)), network.feeds(7))


@sampled
@given(shapes, st.sampled_from([(1 / 6, 0.5), (0.2, 0.5), (0.5, 0.1)]), st.booleans(), seeds)
def test_hard_sigmoid_of_any_slope(net, agree, shape, slope, conv, seed):
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    y = network.add("HardSigmoid", x, alpha=slope[0], beta=slope[1])
    agree(network.model(y), network.feeds(seed))


@sampled
@given(shapes, st.integers(-4, 3), st.booleans(), seeds)
def test_softmax_along_any_axis(net, agree, shape, axis, conv, seed):
    assume(-len(shape) <= axis < len(shape))
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    agree(network.model(network.add("Softmax", x, axis=axis)), network.feeds(seed))


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "builtin"),
    [
        ("LeakyRelu", (), {"alpha": 0.1}, "LEAKY_RELU"),
        ("LeakyRelu", (), {}, "LEAKY_RELU"),
        ("PRelu", (SLOPES,), {}, "PRELU"),
        ("PRelu", (np.float32([0.25]),), {}, "PRELU"),
        ("Tanh", (), {}, "TANH"),
        ("GlobalMaxPool", (), {}, "MAX_POOL_2D"),
    ],
)
def test_it_computes_what_onnx_runtime_does(
    net, agree, left_outside_xnnpack, op, operands, attributes, builtin
):
    network = net()
    y = network.add(op, behind_float_or_int8_conv(network, False), *operands, **attributes)
    model = network.model(y)
    assert agree(model, network.feeds(1)) == {"CONV_2D": 1, builtin: 1}
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize(
    ("op", "operands", "attributes", "builtin"),
    [
        ("LeakyRelu", (), {"alpha": 0.1}, "LEAKY_RELU"),
        ("Abs", (), {}, "LEAKY_RELU"),
        ("Neg", (), {}, "MUL"),
        ("Elu", (), {}, "ELU"),
        ("ReduceMean", (np.array([1]),), {}, "MEAN"),
    ],
)
def test_what_has_a_range_of_its_own_is_int8(
    net, agree, left_outside_xnnpack, op, operands, attributes, builtin, after
):
    network = net()
    y = network.add(op, behind_float_or_int8_conv(network, True), *operands, **attributes)
    model = network.model(network.quantize(y, *after), dtype=np.int8)
    found = agree(model, network.feeds(1), without=["reference"] if op == "Elu" else [])
    assert (found[builtin], found["QUANTIZE"], found["DEQUANTIZE"]) == (1, 1, 0)
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


@pytest.mark.parametrize(
    ("op", "operands", "builtin"),
    [
        ("GlobalMaxPool", (), "MAX_POOL_2D"),
        ("ReduceMax", (np.array([1]),), "REDUCE_MAX"),
        ("ReduceMin", (np.array([1]),), "REDUCE_MIN"),
        ("ReduceMax", (np.array([2, 3]),), "REDUCE_MAX"),
    ],
)
def test_extremes_are_int8(net, agree, left_outside_xnnpack, op, operands, builtin):
    network = net()
    y = network.add(op, behind_float_or_int8_conv(network, True), *operands)
    model = network.model(network.quantize(y, 0.04, 5), dtype=np.int8)
    found = agree(model, network.feeds(1))
    assert (found[builtin], found["QUANTIZE"], found["DEQUANTIZE"]) == (1, 1, 0)
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


@pytest.mark.parametrize("after", [(1 / 128, 0), (0.01, 5)])
def test_a_tanh_is_int8(net, agree, left_outside_xnnpack, after):
    network = net()
    y = network.add("Tanh", behind_float_or_int8_conv(network, True))
    model = network.model(network.quantize(y, *after), dtype=np.int8)
    found = agree(model, network.feeds(1), steps=1)
    assert (found["TANH"], found["DEQUANTIZE"]) == (1, 0)
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_the_place_of_an_extreme_is_sought_among_the_integers(net, agree, op):
    network = net()
    y = network.add(op, behind_float_or_int8_conv(network, True), axis=1)
    found = agree(network.model(y, dtype=np.int64), network.feeds(1), steps=0)
    assert found["DEQUANTIZE"] == 0


@pytest.mark.parametrize(
    ("op", "operands"), [("PRelu", (SLOPES,)), ("Exp", ()), ("Elu", ()), ("ReduceSum", ())]
)
def test_what_gains_nothing_from_int8_is_computed_in_float(net, agree, op, operands):
    network = net()
    attributes = {"alpha": 0.5} if op == "Elu" else {}
    y = network.add(op, behind_float_or_int8_conv(network, True), *operands, **attributes)
    model = network.model(network.quantize(y, 0.02, 0), dtype=np.int8)
    found = agree(model, network.feeds(1), without=["reference"] if op == "Elu" else [])
    assert found["DEQUANTIZE"] == 1


@pytest.mark.parametrize(
    ("op", "scale", "zero"),
    [("Sigmoid", 1 / 256, -128), ("Sigmoid", 0.005, -100), ("Softmax", 1 / 256, -128)],
)
def test_probabilities_leave_their_kernel_at_one_256th(net, agree, op, scale, zero):
    network = net()
    y = network.add(op, quantized_input(network, (2, 9)))
    q = network.quantize(y, scale, zero)
    found = agree(network.model(q, dtype=np.int8), network.feeds(3))
    assert found["QUANTIZE"] == (1 if zero == -128 else 2)


def test_a_softmax_of_finer_steps_than_its_kernel_has_is_computed_in_float(
    net, agree, left_outside_xnnpack
):
    """64 probabilities of about 1/64 each: four of the kernel's steps, but 100 of the pair's."""
    network = net()
    x = quantized_input(network, (1, 64, 5, 6))
    y = network.pair(network.add("Softmax", x, axis=1), 0.1 / 256, -128)
    model = network.model(network.quantize(network.add("Mul", x, y), 0.001, 0), dtype=np.int8)
    found = agree(model, network.feeds(3))
    assert found == {"QUANTIZE": 2, "TRANSPOSE": 2, "DEQUANTIZE": 1, "SOFTMAX": 1, "MUL": 1}
    assert not left_outside_xnnpack(lower_to_tflite(model).data)
