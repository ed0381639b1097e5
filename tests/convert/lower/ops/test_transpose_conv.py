# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Ops that move, pick or spread elements compute what ONNX Runtime computes, float and int8."""

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
images = st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 7), st.integers(1, 7))
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)
SCALE, ZERO = 0.027, 5


def quantized_input(network, shape):
    return network.pair(network.input(shape), SCALE, ZERO)


def finish(network, y, seed, agree, steps=0):
    """Quantize the result as the input is, compare, and return the operators used."""
    q = network.quantize(y, SCALE, ZERO)
    return agree(network.model(q, dtype=np.int8), network.feeds(seed), steps=steps)


def behind_conv(network, shape, seed):
    """An image that is channels-last because a 1×1 convolution made it."""
    weights = np.random.default_rng(seed).standard_normal((shape[1], shape[1], 1, 1))
    return network.add("Conv", network.input(shape), weights.astype(np.float32))


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


@sampled
@given(images, st.integers(1, 3), st.sampled_from(["DCR", "CRD"]), st.booleans(), seeds)
def test_depth_to_space(net, agree, shape, block, mode, integer, seed):
    network = net()
    shape = (shape[0], shape[1] * block**2, *shape[2:])
    x = quantized_input(network, shape) if integer else network.input(shape)
    y = network.add("DepthToSpace", x, blocksize=block, mode=mode)
    if integer:
        assert finish(network, y, seed, agree)["QUANTIZE"] == 1
    else:
        agree(network.model(y), network.feeds(seed), tolerance=0)


@sampled
@given(images, st.integers(1, 3), st.booleans(), seeds)
def test_space_to_depth(net, agree, shape, block, integer, seed):
    network = net()
    shape = (*shape[:2], shape[2] * block, shape[3] * block)
    x = quantized_input(network, shape) if integer else network.input(shape)
    y = network.add("SpaceToDepth", x, blocksize=block)
    if integer:
        assert finish(network, y, seed, agree) == {"QUANTIZE": 1, "SPACE_TO_DEPTH": 1}
    else:
        agree(network.model(y), network.feeds(seed), tolerance=0)


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


@sampled
@given(shapes, st.booleans(), st.booleans(), seeds, st.data())
def test_gather_of_constant_indices(net, agree, shape, conv, integer, seed, data):
    network = net()
    if integer:
        x = quantized_input(network, shape)
    elif conv and len(shape) == 4:
        x = behind_conv(network, shape, seed)
    else:
        x = network.input(shape)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    index = st.integers(-shape[axis], shape[axis] - 1)
    indices = data.draw(
        st.one_of(index, st.lists(index, min_size=1, max_size=6), st.just([[0, -1], [0, 0]]))
    )
    y = network.add("Gather", x, np.asarray(indices, np.int64), axis=axis)
    assume(len(shape) + np.ndim(indices) > 1)
    if integer:
        assert finish(network, y, seed, agree)["QUANTIZE"] == 1
    else:
        agree(network.model(y), network.feeds(seed))


def test_gather_of_what_follows_is_a_slice(net, agree):
    network = net()
    y = network.add("Gather", network.input((1, 8, 3, 3)), np.asarray([2, 3, 4]), axis=1)
    assert agree(network.model(y), network.feeds(0)) == {"SLICE": 1}


@sampled
@given(shapes, st.integers(0, 1), st.booleans(), seeds, st.data())
def test_gather_nd_of_constant_indices(net, agree, shape, batch_dims, integer, seed, data):
    assume(len(shape) > batch_dims)
    network = net()
    x = quantized_input(network, shape) if integer else network.input(shape)
    depth = data.draw(st.integers(1, len(shape) - batch_dims))
    rng = np.random.default_rng(seed)
    sizes = shape[batch_dims : batch_dims + depth]
    indices = rng.integers([-s for s in sizes], sizes, (*shape[:batch_dims], 3, depth))
    y = network.add("GatherND", x, indices, batch_dims=batch_dims)
    if integer:
        assert finish(network, y, seed, agree)["QUANTIZE"] == 1
    else:
        agree(network.model(y), network.feeds(seed))


def test_gather_of_computed_indices_is_refused(net):
    network = net()
    x = network.input((1, 4, 3, 3))
    indices = network.add("Cast", network.input((2,), "i"), to=7)
    y = network.add("Gather", x, indices, axis=1)
    with pytest.raises(UnsupportedOpError):
        lower_to_tflite(network.model(y))


@sampled
@given(images, st.lists(st.integers(0, 4), min_size=4, max_size=4), st.booleans(), seeds)
def test_edge_padding(net, agree, shape, pads, integer, seed):
    network = net()
    x = quantized_input(network, shape) if integer else behind_conv(network, shape, seed)
    top, left, bottom, right = pads
    amounts = np.asarray([0, 0, top, left, 0, 0, bottom, right])
    y = network.add("Pad", x, amounts, mode="edge")
    if integer:
        assert finish(network, y, seed, agree)["QUANTIZE"] == 1
    else:
        agree(network.model(y), network.feeds(seed))


def test_narrow_edge_padding_stays_in_xnnpack(net, left_outside_xnnpack):
    network = net()
    x = quantized_input(network, (1, 4, 5, 5))
    y = network.add("Pad", x, np.asarray([0, 0, 1, 1, 0, 0, 2, 1]), mode="edge")
    model = network.model(network.quantize(y, SCALE, ZERO), dtype=np.int8)
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


def test_padding_by_the_other_edge(net, agree):
    network = net()
    amounts = np.asarray([0, 0, 1, 3, 0, 0, 0, 2])
    y = network.add("Pad", network.input((1, 2, 3, 4)), amounts, mode="wrap")
    agree(network.model(y, opset=19), network.feeds(0), tolerance=0)


@sampled
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.booleans(), seeds)
def test_split_into_any_parts(net, agree, sizes, conv, seed):
    network = net()
    shape = (1, sum(sizes), 3, 2)
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    parts = network.add("Split", x, np.asarray(sizes), outputs=len(sizes), axis=1)
    parts = [parts] if isinstance(parts, str) else parts
    model = network.model(*[network.add("Relu", part) for part in parts])
    agree(model, network.feeds(seed))


@pytest.mark.parametrize("sizes", [[2, 6], [2, 2, 2, 1, 1], [4, 4]])
def test_split_stays_in_xnnpack(net, left_outside_xnnpack, sizes):
    network = net()
    x = behind_conv(network, (1, 8, 3, 2), 0)
    parts = network.add("Split", x, np.asarray(sizes), outputs=len(sizes), axis=1)
    model = network.model(network.add("Concat", *parts[::-1], axis=1))
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


@sampled
@given(shapes, seeds, st.data())
def test_scatter_nd_into_a_slice_or_anywhere(net, agree, shape, seed, data):
    network = net()
    x = network.input(shape)
    if data.draw(st.booleans()):  # y[..., start:end] = update, as torch exports it
        end = data.draw(st.integers(1, shape[-1]))
        start = data.draw(st.integers(0, end - 1))
        places = np.indices((*shape[:-1], end - start))
        places[-1] += start
        indices = np.moveaxis(places, 0, -1)
    else:
        depth = data.draw(st.integers(1, len(shape)))
        count = data.draw(st.integers(1, np.prod(shape[:depth])))
        chosen = np.random.default_rng(seed).permutation(np.prod(shape[:depth]))[:count]
        indices = np.stack(np.unravel_index(chosen, shape[:depth]), axis=-1)
    update = network.input((*indices.shape[:-1], *shape[indices.shape[-1] :]), "update")
    y = network.add("ScatterND", x, indices.astype(np.int64), update)
    agree(network.model(y), network.feeds(seed), tolerance=0)


@sampled
@given(shapes, st.integers(0, 3), st.integers(0, 1), st.integers(0, 1), seeds)
def test_cumulative_sum(net, agree, shape, axis, exclusive, reverse, seed):
    network = net()
    x = network.input(shape)
    flags = {"exclusive": exclusive, "reverse": reverse}
    y = network.add("CumSum", x, np.asarray(axis % len(shape)), **flags)
    agree(network.model(y), network.feeds(seed))


@sampled
@given(shapes, st.booleans(), seeds, st.data())
def test_expand_and_tile(net, agree, shape, integer, seed, data):
    network = net()
    x = quantized_input(network, shape) if integer else network.input(shape)
    if data.draw(st.booleans()):
        wide = [data.draw(st.integers(1, 3)) if s == 1 else s for s in shape]
        start = data.draw(st.integers(0, 4 - len(shape)))
        y = network.add("Expand", x, np.asarray([2] * start + wide))
    else:
        times = [data.draw(st.integers(1, 3)) for _ in shape]
        y = network.add("Tile", x, np.asarray(times))
    if integer:
        assert finish(network, y, seed, agree)["QUANTIZE"] == 1
    else:
        agree(network.model(y), network.feeds(seed), tolerance=0)


@sampled
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3)),
    st.booleans(),
    seeds,
    st.data(),
)
def test_every_other_element_is_a_column(net, agree, shape, strides, integer, seed, data):
    network = net()
    shape = (shape[0], *(s * t for s, t in zip(shape[1:], strides, strict=True)))
    x = quantized_input(network, shape) if integer else behind_conv(network, shape, seed)
    starts = np.asarray([data.draw(st.integers(0, t - 1)) for t in strides])
    ends, axes = np.asarray(shape[1:]), np.asarray([1, 2, 3])
    y = network.add("Slice", x, starts, ends, axes, np.asarray(strides))
    if integer:
        found = finish(network, y, seed, agree)
    else:
        y = network.add("Conv", y, weights_of(seed, 2, shape[1] // strides[0], 1, 1))
        found = agree(network.model(y), network.feeds(seed))
    assert "STRIDED_SLICE" not in found
