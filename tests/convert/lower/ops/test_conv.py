# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Conv and its folded int8 form compute what ONNX Runtime computes, float and int8."""

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
images = st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
SCALE, ZERO = 0.027, 5


def weights_of(seed, *shape):
    return np.random.default_rng(seed + 1).standard_normal(shape).astype(np.float32)


@st.composite
def windows(draw):
    """Kernel, strides, dilations and pads of a 2-D window and an image it fits into."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilations = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (2, 2)]))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [max(1, r) + draw(st.integers(0, 6)) for r in reach]
    return kernel, strides, dilations, pads, size


def quantized_input(network, shape, name="x", scale=SCALE, zero=ZERO):
    return network.pair(network.input(shape, name), scale, zero)


def finish(network, y, seed, agree, steps=1):
    """Quantize the result, compare, and return the operators used."""
    q = network.quantized_result(y, seed)
    return agree(network.model(q, dtype=np.int8), network.feeds(seed), steps=steps)


def conv(network, x, size, **attributes):
    channels, kernel = size
    weights = np.random.default_rng(0).standard_normal((channels, channels, kernel, kernel))
    return network.add("Conv", x, weights.astype(np.float32), **attributes)


@sampled
@given(windows(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), seeds, st.data())
def test_conv_of_any_group_stride_dilation_and_padding(
    net, agree, window, batch, group, per_group, seed, data
):
    kernel, strides, dilations, pads, size = window
    outs = data.draw(st.integers(1, 3)) * group
    network = net()
    x = network.input((batch, group * per_group, *size))
    operands = [x, weights_of(seed, outs, per_group, *kernel)]
    if data.draw(st.booleans()):
        operands.append(weights_of(seed, outs))
    y = network.add("Conv", *operands, group=group, strides=strides, dilations=dilations, pads=pads)
    agree(network.model(y), network.feeds(seed))


@sampled
@given(windows(), st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]), seeds)
def test_conv_with_every_auto_pad(net, agree, window, auto_pad, seed):
    kernel, strides, _, _, size = window
    network = net()
    weights = weights_of(seed, 3, 2, *kernel)
    y = network.add(
        "Conv", network.input((1, 2, *size)), weights, strides=strides, auto_pad=auto_pad
    )
    agree(network.model(y), network.feeds(seed))


@sampled
@given(windows(), st.integers(2, 5), st.integers(1, 3), seeds)
def test_depthwise_conv_with_any_multiplier(net, agree, window, channels, multiplier, seed):
    kernel, strides, dilations, pads, size = window
    network = net()
    y = network.add(
        "Conv",
        network.input((1, channels, *size)),
        weights_of(seed, channels * multiplier, 1, *kernel),
        group=channels,
        strides=strides,
        dilations=dilations,
        pads=pads,
    )
    assert agree(network.model(y), network.feeds(seed))["DEPTHWISE_CONV_2D"] == 1


@sampled
@given(images, st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.booleans(), seeds)
def test_conv_with_per_channel_weights(net, agree, shape, kernel, stride, pad, relu, seed):
    assume(min(shape[2:]) + 2 * pad >= kernel)
    network = net()
    x = quantized_input(network, shape)
    weights, scales = network.weights((5, shape[1], kernel, kernel), seed)
    bias = network.bias(scales, SCALE, seed)
    y = network.add("Conv", x, weights, bias, strides=[stride] * 2, pads=[pad] * 4)
    y = network.add("Relu", y) if relu else y
    found = finish(network, y, seed, agree)
    assert set(found) <= {"QUANTIZE", "PAD", "CONV_2D", "DEPTHWISE_CONV_2D", "RESHAPE"}
    assert found["QUANTIZE"] == 1


@sampled
@given(images, st.integers(1, 2), st.integers(1, 2), st.booleans(), seeds)
def test_depthwise_conv_without_a_bias(net, agree, shape, stride, multiplier, relu6, seed):
    assume(shape[1] > 1)
    network = net()
    x = quantized_input(network, shape)
    weights, _ = network.weights((shape[1] * multiplier, 1, 3, 3), seed)
    y = network.add("Conv", x, weights, group=shape[1], strides=[stride] * 2, pads=[1] * 4)
    y = network.add("Clip", y, np.float32(0), np.float32(6)) if relu6 else y
    found = finish(network, y, seed, agree)
    assert found["DEPTHWISE_CONV_2D"] == found["QUANTIZE"] == 1


@sampled
@given(
    st.integers(1, 4),
    st.integers(1, 9),
    st.sampled_from([1, 2, 3, 5, 7]),
    st.integers(0, 3),
    st.integers(1, 4),
    st.booleans(),
    seeds,
)
def test_a_stem_is_computed_over_groups_of_columns(
    net, agree, channels, outs, kernel, pad, groups, per_tensor, seed
):
    assume(pad < kernel)
    network = net()
    x = quantized_input(network, (2, channels, 2 * kernel, 4 * groups))
    weights, scales = network.weights((outs, channels, kernel, kernel), seed)
    if per_tensor:
        stored = np.random.default_rng(seed).integers(-127, 128, (outs, channels, kernel, kernel))
        weights = network.add("DequantizeLinear", stored.astype(np.int8), scales[0], np.int8(0))
    pads = [pad, pad, pad, max(0, kernel - 2 - pad)]
    assume(4 * groups + pads[1] + pads[3] >= kernel)
    y = network.add("Conv", x, weights, strides=[2, 2], pads=pads)
    found = finish(network, y, seed, agree)
    assert found["CONV_2D"] == found["QUANTIZE"] == 1


@pytest.mark.parametrize(("outs", "width", "folds"), [(8, 6, True), (9, 6, False), (8, 7, False)])
def test_a_pointwise_conv_of_few_outputs_is_computed_two_columns_at_a_time(
    net, agree, outs, width, folds
):
    network = net()
    x = quantized_input(network, (1, 16, 5, width))
    weights, scales = network.weights((outs, 16, 1, 1), 0)
    y = network.add("Relu", network.add("Conv", x, weights, network.bias(scales, SCALE, 0)))
    found = finish(network, y, 3, agree)
    assert found == {"QUANTIZE": 1, "CONV_2D": 1, **({"RESHAPE": 2} if folds else {})}


@sampled
@given(images, seeds)
def test_grouped_conv(net, agree, shape, seed):
    network = net()
    x = quantized_input(network, (shape[0], 6, *shape[2:]))
    weights, scales = network.weights((4, 3, 1, 1), seed)
    y = network.add("Conv", x, weights, network.bias(scales, SCALE, seed), group=2)
    assert finish(network, y, seed, agree)["CONV_2D"] == 1


@sampled
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 2),
    st.integers(0, 2),
    st.booleans(),
    seeds,
)
def test_conv_along_one_axis(net, agree, batch, group, length, kernel, stride, pad, deep, seed):
    assume(length + 2 * pad >= kernel)
    network = net()
    shape = (batch, 2 * group, length)
    weights = weights_of(seed, 2 * group, 1 if deep else 2, kernel)
    group = 2 * group if deep else group
    attributes = {"group": group, "strides": [stride], "pads": [pad, pad]}
    y = network.add(
        "Conv", network.input(shape), weights, weights_of(seed, len(weights)), **attributes
    )
    agree(network.model(network.add("Relu", y)), network.feeds(seed))


def test_efficient_channel_attention_is_reshapes_around_a_conv(net, agree, left_outside_xnnpack):
    network = net()
    x = quantized_input(network, (1, 16, 4, 4))
    pooled = network.pair(network.add("GlobalAveragePool", x), 0.01, 0)
    row = network.pair(network.add("Squeeze", pooled, np.asarray([3])), 0.01, 0)
    row = network.pair(network.add("Transpose", row, perm=[0, 2, 1]), 0.01, 0)
    weights, _ = network.weights((1, 1, 3), 0)
    row = network.pair(network.add("Conv", row, weights, pads=[1, 1]), 0.02, 3)
    row = network.pair(network.add("Transpose", row, perm=[0, 2, 1]), 0.02, 3)
    column = network.pair(network.add("Unsqueeze", row, np.asarray([3])), 0.02, 3)
    gate = network.pair(network.add("Sigmoid", column), 1 / 256, -128)
    q = network.quantized_result(network.add("Mul", x, gate), 1)
    model = network.model(q, dtype=np.int8)
    found = agree(model, network.feeds(1))
    assert not {"TRANSPOSE", "DEQUANTIZE"} & set(found)
    assert found["QUANTIZE"] == 1
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


def test_symmetric_padding_at_stride_one_is_same(net, agree):
    network = net()
    y = conv(network, network.input((1, 2, 6, 7)), (2, 3), pads=[1, 1, 1, 1])
    assert agree(network.model(y), network.feeds(0)) == {"CONV_2D": 1}


def test_symmetric_padding_at_stride_two_of_an_even_image_is_pad_and_valid(net, agree):
    network = net()
    x = network.input((1, 2, 8, 6))
    y = conv(network, x, (2, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    assert agree(network.model(y), network.feeds(0)) == {"PAD": 1, "CONV_2D": 1}


def test_symmetric_padding_at_stride_two_of_an_odd_image_is_same(net, agree):
    network = net()
    x = network.input((1, 2, 7, 5))
    y = conv(network, x, (2, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    assert agree(network.model(y), network.feeds(0)) == {"CONV_2D": 1}
