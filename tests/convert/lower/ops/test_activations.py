# ruff: noqa: PLR0917 - fixtures arrive by name
"""Activations besides ReLU, and pooling to one value, in float and between int8 pairs."""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.lower import lower_to_tflite

SHAPE = (1, 6, 5, 4)
SLOPES = np.linspace(-0.5, 0.9, 6, dtype=np.float32).reshape(6, 1, 1)
SCALE, ZERO = 0.02, -9


def behind_conv(network, int8):
    """Channels last, so that slopes per channel have to follow."""
    x = network.input(SHAPE)
    if int8:
        x = network.pair(x, SCALE, ZERO)
        weights, scales = network.weights((6, 6, 1, 1), 1)
        y = network.add("Conv", x, weights, network.bias(scales, SCALE, 1))
        return network.pair(y, 0.04, 5)
    weights = np.random.default_rng(1).normal(size=(6, 6, 1, 1)).astype(np.float32)
    return network.add("Conv", x, weights)


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
    y = network.add(op, behind_conv(network, False), *operands, **attributes)
    model = network.model(y)
    assert agree(model, network.feeds(1)) == {"CONV_2D": 1, builtin: 1}
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


AFTER = [(0.04, 5), (0.03, -70)]


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
    y = network.add(op, behind_conv(network, True), *operands, **attributes)
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
    y = network.add(op, behind_conv(network, True), *operands)
    model = network.model(network.quantize(y, 0.04, 5), dtype=np.int8)
    found = agree(model, network.feeds(1))
    assert (found[builtin], found["QUANTIZE"], found["DEQUANTIZE"]) == (1, 1, 0)
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


@pytest.mark.parametrize("after", [(1 / 128, 0), (0.01, 5)])
def test_a_tanh_is_int8(net, agree, left_outside_xnnpack, after):
    network = net()
    y = network.add("Tanh", behind_conv(network, True))
    model = network.model(network.quantize(y, *after), dtype=np.int8)
    found = agree(model, network.feeds(1), steps=1)
    assert (found["TANH"], found["DEQUANTIZE"]) == (1, 0)
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_the_place_of_an_extreme_is_sought_among_the_integers(net, agree, op):
    network = net()
    y = network.add(op, behind_conv(network, True), axis=1)
    found = agree(network.model(y, dtype=np.int64), network.feeds(1), steps=0)
    assert found["DEQUANTIZE"] == 0


@pytest.mark.parametrize(
    ("op", "operands"), [("PRelu", (SLOPES,)), ("Exp", ()), ("Elu", ()), ("ReduceSum", ())]
)
def test_what_gains_nothing_from_int8_is_computed_in_float(net, agree, op, operands):
    network = net()
    attributes = {"alpha": 0.5} if op == "Elu" else {}
    y = network.add(op, behind_conv(network, True), *operands, **attributes)
    model = network.model(network.quantize(y, 0.02, 0), dtype=np.int8)
    found = agree(model, network.feeds(1), without=["reference"] if op == "Elu" else [])
    assert found["DEQUANTIZE"] == 1
