# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Functions of single elements compute what ONNX Runtime computes, in any axis order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_runtime.errors import UnsupportedOpError

sampled = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 2**31 - 1)
FUNCTIONS = {
    "Neg": [{}],
    "Abs": [{}],
    "Exp": [{}],
    "Sin": [{}],
    "Cos": [{}],
    "Sign": [{}],
    "Floor": [{}],
    "Ceil": [{}],
    "Round": [{}],
    "Erf": [{}],
    "Elu": [{}, {"alpha": 0.3}],
    "Selu": [{}, {"alpha": 2.0, "gamma": 0.5}],
    "Celu": [{}, {"alpha": 0.3}],
    "Softplus": [{}],
    "Softsign": [{}],
    "Mish": [{}],
    "ThresholdedRelu": [{}, {"alpha": 0.25}],
    "Gelu": [{}, {"approximate": "tanh"}],
}
CASES = [(op, attributes) for op, each in FUNCTIONS.items() for attributes in each]
WITHOUT = dict.fromkeys(("Ceil", "Round", "Elu", "Selu", "Celu"), ("reference",))
"""Operators that LiteRT's reference kernels lack."""
OUTSIDE = {"Sign": {"SIGN"}, "ThresholdedRelu": {"GREATER", "SELECT_V2"}}
"""What XNNPACK does not have."""
sampled_more = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
images = st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
SCALE, ZERO = 0.027, 5


def behind_conv(network, shape):
    """An input, channels-last where it is an image; some values are far from zero."""
    x = network.input(shape)
    if len(shape) != 4:
        return network.add("Mul", x, np.float32(4))
    weights = 4 * np.eye(shape[1], dtype=np.float32)[..., None, None]
    return network.add("Conv", x, weights)


def mixed_by_a_conv(network, shape, seed):
    """An input of this shape that is channels-last because a 1×1 convolution made it."""
    x = network.input(shape)
    if len(shape) != 4:
        return x
    weights = np.random.default_rng(seed).standard_normal((shape[1], shape[1], 1, 1))
    return network.add("Conv", x, weights.astype(np.float32))


def weights_of(seed, *shape):
    return np.random.default_rng(seed + 1).standard_normal(shape).astype(np.float32)


@st.composite
def broadcasts(draw):
    """Two shapes that broadcast, of equal or different rank."""
    full = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    start = draw(st.integers(0, len(full)))
    part = [draw(st.sampled_from([1, s])) for s in full[start:]]
    return tuple(full), tuple(part)


def quantized_input(network, shape, name="x", scale=SCALE, zero=ZERO):
    return network.pair(network.input(shape, name), scale, zero)


def finish(network, y, seed, agree, steps=1):
    """Quantize the result, compare, and return the operators used."""
    q = network.quantized_result(y, seed)
    return agree(network.model(q, dtype=np.int8), network.feeds(seed), steps=steps)


@pytest.mark.parametrize(("op", "attributes"), CASES)
@sampled
@given(shapes, seeds)
def test_a_function_of_each_element(net, agree, op, attributes, shape, seed):
    network = net()
    y = network.add(op, behind_conv(network, shape), **attributes)
    agree(network.model(y, opset=20), network.feeds(seed), without=WITHOUT.get(op, ()))


@pytest.mark.parametrize(("op", "attributes"), CASES)
def test_xnnpack_takes_it(net, left_outside_xnnpack, op, attributes):
    network = net()
    y = network.add(op, behind_conv(network, (1, 3, 4, 5)), **attributes)
    data = lower_to_tflite(network.model(y, opset=20)).data
    assert set(left_outside_xnnpack(data)) == OUTSIDE.get(op, set())


@pytest.mark.parametrize(
    "op", ["Celu", "Elu", "Erf", "Gelu", "Mish", "Selu", "Softplus", "Softsign", "LogSoftmax"]
)
def test_large_numbers_overflow_nothing(net, agree, op):
    network = net()
    x = network.input((1, 8))
    y = network.add(op, network.add("Mul", x, np.float32(100)))
    agree(network.model(y, opset=20), network.feeds(3), without=WITHOUT.get(op, ()))


@pytest.mark.parametrize("op", ["Sqrt", "Log"])
def test_functions_of_positive_numbers(net, agree, op):
    network = net()
    positive = network.add("Add", network.add("Abs", network.input((3, 4))), np.float32(0.1))
    agree(network.model(network.add(op, positive)), network.feeds(5))


@sampled
@given(shapes, seeds, st.data())
def test_log_softmax_along_any_axis(net, agree, shape, seed, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    network = net()
    y = network.add("LogSoftmax", behind_conv(network, shape), axis=axis)
    assert agree(network.model(y), network.feeds(seed))["TRANSPOSE"] == 0


@pytest.mark.parametrize("exponent", [1, 2, 3, 4, 5, 6, 7, 8, 9, -1, -2, 0])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_whole_powers_of_any_number(net, agree, exponent, dtype):
    network = net()
    y = network.add("Pow", behind_conv(network, (1, 3, 4, 5)), dtype(exponent))
    agree(network.model(y), network.feeds(5))


@pytest.mark.parametrize("exponent", [0.5, -0.5, 2.97, 1 / 3, np.float32([[0.5], [3], [2.5]])])
def test_other_powers_of_positive_numbers(net, agree, exponent):
    network = net()
    positive = network.add("Add", network.add("Abs", network.input((3, 4))), np.float32(0.1))
    y = network.add("Pow", positive, np.float32(exponent))
    agree(network.model(y), network.feeds(5))


def test_a_power_that_is_computed(net, agree):
    network = net()
    positive = network.add("Add", network.add("Abs", network.input((3, 4))), np.float32(0.1))
    agree(network.model(network.add("Pow", positive, network.input((3, 4), "b"))), network.feeds(5))


@pytest.mark.parametrize("op", ["Max", "Min"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_extremes_of_several(net, agree, op, count):
    network = net()
    x = behind_conv(network, (1, 3, 4, 5))
    others = [
        network.add("Mul", x, np.float32(-0.5)),
        np.float32([0.1, 0.2, 0, 0, 1]),
        np.float32(0),
    ]
    agree(network.model(network.add(op, x, *others[: count - 1])), network.feeds(5))


@sampled
@given(
    st.sampled_from(["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]), shapes, seeds
)
def test_comparisons_choose_between_two(net, agree, op, shape, seed):
    network = net()
    x = network.add("Round", behind_conv(network, shape))
    y = network.add("Where", network.add(op, x, np.float32(1)), x, np.float32(-2))
    agree(network.model(y), network.feeds(seed), without=["reference"])


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_conditions_are_joined_and_turned(net, agree, op):
    network = net()
    x = behind_conv(network, (1, 3, 4, 5))
    one, other = (network.add("Greater", x, np.float32(t)) for t in (-1, 1))
    y = network.add("Not", network.add(op, one, network.add("Not", other)))
    agree(network.model(y, dtype=np.bool_), network.feeds(5), steps=0)


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (3, 4, 5), (4, 1), ()])
def test_a_constant_mask(net, agree, shape):
    network = net()
    mask = np.random.default_rng(1).random(shape) > 0.5
    masked = network.add("Where", mask, behind_conv(network, (1, 3, 4, 5)), np.float32(-np.inf))
    agree(network.model(network.add("Exp", masked)), network.feeds(5))


@pytest.mark.parametrize("kind", [6, 7, 9])
def test_a_type_and_back(net, agree, kind):
    network = net()
    y = network.add("Cast", behind_conv(network, (1, 3, 4, 5)), to=kind)
    agree(network.model(network.add("Cast", y, to=1)), network.feeds(5))


def test_arithmetic_on_integers_is_refused_by_name(net):
    network = net()
    x = network.add("Cast", network.input((2, 4)), to=7)
    with pytest.raises(UnsupportedOpError, match="computes on int64"):
        lower_to_tflite(network.model(network.add("Add", x, np.int64(1)), dtype=np.int64))


def test_a_negative_alpha_of_celu_is_refused(net):
    network = net()
    y = network.add("Celu", network.input((2, 4)), alpha=-1.0)
    with pytest.raises(UnsupportedOpError, match="alpha=-1"):
        lower_to_tflite(network.model(y))


@sampled_more
@given(st.sampled_from(["Add", "Sub", "Mul", "Div"]), broadcasts(), *[st.booleans()] * 3, seeds)
def test_arithmetic_broadcasts_as_onnx_does(net, agree, op, pair, constant, swapped, conv, seed):
    full, part = pair
    network = net()
    a = mixed_by_a_conv(network, full, seed) if conv else network.input(full)
    b = np.abs(weights_of(seed, *part)) + 0.5 if constant else network.input(part, "b")
    assume(not (op == "Div" and (swapped or not constant)))
    y = network.add(op, *((b, a) if swapped else (a, b)))
    agree(network.model(y), network.feeds(seed))


@sampled_more
@given(st.sampled_from(["Add", "Sub", "Mul"]), images, st.booleans(), st.booleans(), seeds)
def test_arithmetic_with_broadcasting(net, agree, op, shape, per_channel, constant, seed):
    network = net()
    a = quantized_input(network, shape)
    part = (1, shape[1], 1, 1) if per_channel else shape
    if constant:
        stored = np.random.default_rng(seed).integers(-128, 128, part, np.int8)
        b = network.add("DequantizeLinear", stored, np.float32(0.011), np.int8(-7))
    else:
        b = quantized_input(network, part, "b", 0.013, -20)
    found = finish(network, network.add(op, a, b), seed, agree)
    assert found == {"QUANTIZE": 1 if constant else 2, op.upper(): 1}
