# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Transposed convolutions compute what ONNX Runtime computes, float and int8."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_runtime.errors import UnsupportedOpError

sampled = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 2**31 - 1)
SCALE, ZERO = 0.027, 5


def quantized_input(network, shape, name="x", scale=SCALE, zero=ZERO):
    return network.pair(network.input(shape, name), scale, zero)


def weights_of(seed, *shape):
    return np.random.default_rng(seed + 1).standard_normal(shape).astype(np.float32)


@st.composite
def spreads(draw, axes=2):
    """Attributes of a transposed convolution and an input size that leave an output."""
    each = st.integers
    kernel = [draw(each(1, 4)) for _ in range(axes)]
    strides = [draw(each(1, 3)) for _ in range(axes)]
    dilations = draw(st.sampled_from([[1] * axes, [2] * axes]))
    size = [draw(each(1, 5)) for _ in range(axes)]
    extra = [draw(each(0, s - 1)) for s in strides]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    full = [(n - 1) * s + r for n, s, r in zip(size, strides, reach, strict=True)]
    before = [draw(each(0, min(3, f - 1))) for f in full]
    after = [draw(each(0, min(3, f - 1 - b))) for f, b in zip(full, before, strict=True)]
    attributes = {
        "strides": strides,
        "dilations": dilations,
        "output_padding": extra,
        "pads": [*before, *after],
    }
    return kernel, size, attributes


@sampled
@given(spreads(), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.booleans(), seeds)
def test_transposed_conv_of_any_group_stride_padding_and_dilation(
    net, agree, spread, batch, group, per_group, biased, seed
):
    kernel, size, attributes = spread
    network = net()
    x = network.input((batch, 2 * group, *size))
    biases = [weights_of(seed, per_group * group)] if biased else []
    weights = weights_of(seed, 2 * group, per_group, *kernel)
    y = network.add("ConvTranspose", x, weights, *biases, group=group, **attributes)
    found = agree(network.model(y), network.feeds(seed))
    assert found["TRANSPOSE_CONV"] == 1


@sampled
@given(spreads(axes=1), st.integers(1, 3), seeds)
def test_transposed_conv_along_one_axis(net, agree, spread, channels, seed):
    kernel, size, attributes = spread
    network = net()
    x = network.input((2, channels, *size))
    y = network.add("ConvTranspose", x, weights_of(seed, channels, 3, *kernel), **attributes)
    agree(network.model(y), network.feeds(seed))


@sampled
@given(
    st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 5),
    seeds,
)
def test_transposed_conv_with_every_auto_pad(net, agree, auto_pad, kernel, stride, size, seed):
    assume(kernel >= stride)
    network = net()
    weights = weights_of(seed, 2, 3, kernel, kernel)
    strides = [stride, stride]
    x = network.input((1, 2, size, size))
    y = network.add("ConvTranspose", x, weights, strides=strides, auto_pad=auto_pad)
    agree(network.model(y), network.feeds(seed))


def test_a_computed_bias_is_refused(net):
    network = net()
    x, bias = network.input((1, 2, 3, 3)), network.input((3,), "b")
    y = network.add("ConvTranspose", x, weights_of(0, 2, 3, 3, 3), bias)
    with pytest.raises(UnsupportedOpError, match="bias"):
        lower_to_tflite(network.model(y))


def test_transposed_conv_to_a_stated_size(net, agree):
    network = net()
    x = network.input((1, 2, 3, 4))
    weights = weights_of(0, 2, 3, 3, 3)
    y = network.add("ConvTranspose", x, weights, strides=[2, 2], output_shape=[6, 8])
    agree(network.model(y), network.feeds(0))


@pytest.mark.parametrize(
    ("kernel", "pads", "extra", "cuts"),
    [(2, [0] * 4, 0, 0), (4, [1] * 4, 0, 0), (3, [1] * 4, 1, 1), (3, [0] * 4, 0, 0)],
)
@pytest.mark.parametrize("relu", [False, True])
def test_int8_transposed_conv_stays_in_xnnpack(
    net, agree, left_outside_xnnpack, kernel, pads, extra, cuts, relu
):
    network = net()
    x = quantized_input(network, (1, 8, 5, 6))
    rng = np.random.default_rng(0)
    stored = rng.integers(-127, 128, (8, 6, kernel, kernel), np.int8)
    scales = rng.uniform(0.5, 2.0, 6).astype(np.float32) / np.float32(127)
    weights = network.add("DequantizeLinear", stored, scales, np.zeros(6, np.int8), axis=1)
    bias = network.bias(scales, SCALE, 1)
    y = network.add(
        "ConvTranspose", x, weights, bias, strides=[2, 2], pads=pads, output_padding=[extra] * 2
    )
    y = network.add("Relu", y) if relu else y
    q = network.quantized_result(y, 2)
    model = network.model(q, dtype=np.int8)
    assert agree(model, network.feeds(2)) == {
        "QUANTIZE": 1,
        "TRANSPOSE_CONV": 1,
        **({"SLICE": 1} if cuts else {}),
    }
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


@pytest.mark.parametrize(("outs", "axis"), [(1, 0), (3, 1), (3, None)])
def test_int8_transposed_conv_with_groups(net, agree, outs, axis):
    network = net()
    x = quantized_input(network, (1, 4, 3, 3))
    rng = np.random.default_rng(0)
    groups = 4 if outs == 1 else 2
    stored = rng.integers(-127, 128, (4, outs, 2, 2), np.int8)
    scales = rng.uniform(0.5, 2.0, () if axis is None else stored.shape[axis]) / 127
    parameters = np.float32(scales), np.zeros(scales.shape, np.int8)
    place = {} if axis is None else {"axis": axis}
    weights = network.add("DequantizeLinear", stored, *parameters, **place)
    y = network.add("ConvTranspose", x, weights, group=groups, strides=[2, 2])
    q = network.quantized_result(y, 2)
    assert agree(network.model(q, dtype=np.int8), network.feeds(2))["TRANSPOSE_CONV"] == 1


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (4, 1, 2, 2), (2, 1, 2, 2), (2, 3, 2, 2)])
@pytest.mark.parametrize("axis", [0, 1])
def test_int8_weights_with_groups_are_decoded(net, agree, shape, axis):
    network = net()
    stored = np.random.default_rng(0).integers(-127, 128, shape, np.int8)
    spread = tuple(-1 if a == axis else 1 for a in range(4))
    scales = (np.arange(1, shape[axis] + 1, dtype=np.float32) / 127).reshape(spread)
    weights = network.add("Mul", network.add("Cast", stored, to=1), scales)
    x = network.input((1, shape[0], 3, 3))
    y = network.add("ConvTranspose", x, weights, group=2, strides=[2, 2])
    agree(network.model(y), network.feeds(0))
