# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Pools, reductions and what finds the extremes compute what ONNX Runtime computes."""

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
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
images = st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
REDUCTIONS = [
    "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceProd", "ReduceSum", "ReduceSumSquare",
]  # fmt: skip
SCALE, ZERO = 0.027, 5


def behind_conv(network, shape, seed):
    """An input of this shape that is channels-last because a 1×1 convolution made it."""
    x = network.input(shape)
    if len(shape) != 4:
        return x
    weights = np.random.default_rng(seed).standard_normal((shape[1], shape[1], 1, 1))
    return network.add("Conv", x, weights.astype(np.float32))


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


def starts_in_padding(window):
    """ceil_mode windows on whose existence ONNX's shape inference and ONNX Runtime disagree."""
    kernel, strides, _, pads, size = window
    return any(
        (-(-(size[a] + pads[a] + pads[a + 2] - kernel[a]) // strides[a])) * strides[a]
        >= size[a] + pads[a]
        for a in (0, 1)
    )


def channels_last(network, shape):
    """An input that a 1×1 convolution made channels-last."""
    x = network.input(shape)
    return network.add("Conv", x, np.eye(shape[1], dtype=np.float32)[..., None, None])


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
@given(shapes, st.booleans(), st.booleans(), st.sampled_from([13, 18]), seeds, st.data())
def test_reduce_mean_over_any_axes(net, agree, shape, keep, conv, opset, seed, data):
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    if opset == 13:
        y = network.add("ReduceMean", x, axes=axes, keepdims=int(keep))
    else:
        y = network.add("ReduceMean", x, np.asarray(axes, np.int64), keepdims=int(keep))
    agree(network.model(y, opset=opset), network.feeds(seed))


@sampled
@given(images, seeds)
def test_global_average_pool(net, agree, shape, seed):
    network = net()
    y = network.add("GlobalAveragePool", network.input(shape))
    assert set(agree(network.model(y), network.feeds(seed))) == {"MEAN"}


@sampled
@given(windows(), st.booleans(), st.booleans(), seeds)
def test_average_pool_with_any_padding(net, agree, window, include, ceil, seed):
    kernel, strides, _, pads, size = window
    assume(all(p < k for p, k in zip(pads, kernel * 2, strict=True)))
    assume(not (ceil and starts_in_padding(window)))
    network = net()
    y = network.add(
        "AveragePool",
        network.input((2, 3, *size)),
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        count_include_pad=int(include),
        ceil_mode=int(ceil),
    )
    agree(network.model(y), network.feeds(seed))


@sampled
@given(windows(), st.booleans(), st.booleans(), seeds)
def test_max_pool_with_any_padding(net, agree, window, relu, ceil, seed):
    kernel, strides, _, pads, size = window
    assume(all(p < k for p, k in zip(pads, kernel * 2, strict=True)))
    assume(not (ceil and starts_in_padding(window)))
    network = net()
    x = behind_conv(network, (2, 3, *size), seed)
    x = network.add("Relu", x) if relu else x
    y = network.add(
        "MaxPool", x, kernel_shape=kernel, strides=strides, pads=pads, ceil_mode=int(ceil)
    )
    agree(network.model(y), network.feeds(seed))


@sampled
@given(
    st.sampled_from(["MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"]),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 1),
    seeds,
)
def test_pools_along_one_axis(net, agree, op, length, kernel, stride, pad, seed):
    assume(length + 2 * pad >= kernel and pad < kernel)
    network = net()
    window = {"kernel_shape": [kernel], "strides": [stride], "pads": [pad, pad]}
    attributes = {} if op.startswith("Global") else window
    y = network.add(op, network.input((2, 3, length)), **attributes)
    agree(network.model(y), network.feeds(seed))


@pytest.mark.parametrize("op", REDUCTIONS)
@sampled
@given(shapes, st.booleans(), seeds, st.data())
def test_a_reduction_over_any_axes(net, agree, op, shape, keep, seed, data):
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True))
    network = net()
    x = network.input(shape)
    y = network.add(op, x, np.asarray(axes, np.int64), keepdims=int(keep))
    agree(network.model(y), network.feeds(seed))


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axes", [[1], [2, 3], [-1], [0, 1]])
def test_a_reduction_of_a_channels_last_image(net, agree, op, keep, axes):
    network = net()
    x = channels_last(network, (2, 3, 4, 5))
    y = network.add(op, x, np.asarray(axes, np.int64), keepdims=keep)
    found = agree(network.model(y), network.feeds(1))
    assert found["TRANSPOSE"] == (axes == [-1] and not keep)


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceProd"])
def test_axes_as_an_attribute(net, agree, op):
    network = net()
    y = network.add(op, channels_last(network, (2, 3, 4, 5)), axes=[1, -1], keepdims=0)
    agree(network.model(y, opset=13), network.feeds(1))


@pytest.mark.parametrize("op", sorted({*REDUCTIONS} - {"ReduceMean"}))
def test_no_axes_are_all_or_none(net, agree, op):
    network = net()
    x = network.input((2, 3))
    none = network.add("Add", network.add(op, x, noop_with_empty_axes=1), np.float32(1))
    agree(network.model(none, network.add(op, x)), network.feeds(1))


@pytest.mark.parametrize("op", REDUCTIONS)
def test_xnnpack_takes_every_reduction_but_products(net, left_outside_xnnpack, op):
    network = net()
    y = network.add(op, channels_last(network, (1, 3, 4, 5)), np.array([1], np.int64))
    outside = left_outside_xnnpack(lower_to_tflite(network.model(y)).data)
    assert set(outside) == ({"REDUCE_PROD"} if op == "ReduceProd" else set())


@sampled
@given(st.sampled_from(["ArgMax", "ArgMin"]), shapes, st.booleans(), seeds, st.data())
def test_the_place_of_an_extreme(net, agree, op, shape, keep, seed, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    network = net()
    y = network.add(op, network.input(shape), axis=axis, keepdims=int(keep))
    agree(network.model(y, dtype=np.int64), network.feeds(seed), steps=0)


@pytest.mark.parametrize("keep", [0, 1])
def test_the_label_of_each_pixel(net, agree, keep):
    network = net()
    y = network.add("ArgMax", channels_last(network, (2, 3, 4, 5)), axis=1, keepdims=keep)
    real = network.add("Cast", y, to=1)
    found = agree(network.model(real), network.feeds(1))
    assert (found["ARG_MAX"], found["CAST"], found["TRANSPOSE"]) == (1, 1, 0)


@sampled
@given(shapes, st.booleans(), st.booleans(), seeds, st.data())
def test_the_largest_and_the_smallest_few(net, agree, shape, largest, last, seed, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    count = data.draw(st.integers(1, shape[axis]))
    network = net()
    x = channels_last(network, shape) if last and len(shape) == 4 else network.input(shape)
    values, places = network.add(
        "TopK", x, np.array([count], np.int64), outputs=2, axis=axis, largest=int(largest)
    )
    real = network.add("Cast", places, to=1)
    agree(network.model(values, real), network.feeds(seed))


def test_the_last_of_equal_values_is_refused(net):
    network = net()
    y = network.add("ArgMax", network.input((2, 4)), select_last_index=1)
    with pytest.raises(UnsupportedOpError, match="select_last_index"):
        lower_to_tflite(network.model(y, dtype=np.int64))


@sampled
@given(shapes, st.integers(0, 3), st.integers(0, 1), st.integers(0, 1), seeds)
def test_cumulative_sum(net, agree, shape, axis, exclusive, reverse, seed):
    network = net()
    x = network.input(shape)
    flags = {"exclusive": exclusive, "reverse": reverse}
    y = network.add("CumSum", x, np.asarray(axis % len(shape)), **flags)
    agree(network.model(y), network.feeds(seed))


@sampled
@given(images, st.booleans(), seeds)
def test_mean_over_the_image(net, agree, shape, keep, seed):
    network = net()
    x = quantized_input(network, shape)
    y = network.add("ReduceMean", x, np.asarray([2, 3], np.int64), keepdims=int(keep))
    found = finish(network, y, seed, agree)
    assert found["MEAN"] == found["QUANTIZE"] == 1


@pytest.mark.parametrize("same", [True, False])
def test_an_average_pool_between_pairs_is_computed_in_float(net, agree, left_outside_xnnpack, same):
    """XNNPACK has no int8 kernel, and LiteRT's own is slower than the way through float."""
    network = net()
    x = quantized_input(network, (1, 4, 6, 6))
    y = network.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    q = network.quantize(y, SCALE, ZERO) if same else network.quantize(y, 0.031, -12)
    model = network.model(q, dtype=np.int8)
    assert agree(model, network.feeds(3))["AVERAGE_POOL_2D"] == 1
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


def test_max_pooling_what_is_never_negative_pads_with_zero(net, agree):
    network = net()
    x = network.add("Relu", conv(network, network.input((1, 2, 8, 8)), (2, 1)))
    y = network.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    found = agree(network.model(y), network.feeds(0))
    assert found == {"CONV_2D": 1, "PAD": 1, "MAX_POOL_2D": 1}
