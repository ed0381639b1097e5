# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Ops that move, join, cut and repeat elements compute what ONNX Runtime computes."""

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
sizes = st.integers(1, 7)
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
images = st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
SCALE, ZERO = 0.027, 5
PASSED_THROUGH = {
    "Reshape": ((np.asarray([2, -1], np.int64),), {}),
    "Flatten": ((), {"axis": 2}),
    "Transpose": ((), {"perm": [0, 3, 2, 1]}),
    "Slice": (
        (np.asarray([1, -1]), np.asarray([3, -9]), np.asarray([1, 2]), np.asarray([1, -1])),
        {},
    ),
    "Pad": ((np.asarray([0, 0, 1, 2, 0, 1, 0, 0], np.int64),), {}),
    "MaxPool": ((), {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}),
    "Identity": ((), {}),
}


def behind_conv(network, shape, seed):
    """An input of this shape that is channels-last because a 1×1 convolution made it."""
    x = network.input(shape)
    if len(shape) != 4:
        return x
    weights = np.random.default_rng(seed).standard_normal((shape[1], shape[1], 1, 1))
    return network.add("Conv", x, weights.astype(np.float32))


def weights_of(seed, *shape):
    return np.random.default_rng(seed + 1).standard_normal(shape).astype(np.float32)


def quantized_input(network, shape, name="x", scale=SCALE, zero=ZERO):
    return network.pair(network.input(shape, name), scale, zero)


def finish_as_the_input(network, y, seed, agree, steps=0):
    """Quantize the result as the input is, compare, and return the operators used."""
    q = network.quantize(y, SCALE, ZERO)
    return agree(network.model(q, dtype=np.int8), network.feeds(seed), steps=steps)


@sampled
@given(shapes, st.integers(-4, 3), st.integers(1, 4), st.booleans(), seeds)
def test_concat_along_any_axis(net, agree, shape, axis, count, conv, seed):
    assume(-len(shape) <= axis < len(shape))
    network = net()
    parts = [behind_conv(network, shape, seed) if conv else network.input(shape)]
    for i in range(count):
        part = list(shape)
        part[axis] = i + 1
        parts.append(network.input(part, f"p{i}"))
    part[axis] = 2
    parts.append(weights_of(seed, *part))
    agree(network.model(network.add("Concat", *parts, axis=axis)), network.feeds(seed))


@sampled
@given(shapes, st.booleans(), seeds, st.data())
def test_slice_from_either_end_with_any_step(net, agree, shape, conv, seed, data):
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    rows = []
    for axis in axes:
        size = shape[axis]
        step = data.draw(st.sampled_from([1, 1, 2, -1, -2]))
        start = data.draw(st.integers(0, size - 1))
        end = data.draw(
            st.integers(start + 1, size + 2) if step > 0 else st.integers(-1, start - 1)
        )
        if end < 0 or data.draw(st.booleans()):  # counted from the end
            start, end = start - size, end - size if end < size else end
        rows.append((start, end, axis if data.draw(st.booleans()) else axis - len(shape), step))
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    y = network.add("Slice", x, *np.asarray(rows, np.int64).T)
    agree(network.model(y), network.feeds(seed))


@sampled
@given(shapes, st.integers(-4, 3), st.booleans(), st.booleans(), seeds)
def test_split_into_equal_and_unequal_parts(net, agree, shape, axis, equal, conv, seed):
    assume(-len(shape) <= axis < len(shape))
    parts = [2, 2] if equal else [1, 3, 2]
    shape = list(shape)
    shape[axis] = sum(parts)
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    sizes = np.asarray(parts, np.int64)
    ys = network.add("Split", x, sizes, outputs=len(parts), axis=axis)
    agree(network.model(*ys), network.feeds(seed))


@sampled
@given(shapes, st.sampled_from([0.0, 1.5, -3.0]), st.booleans(), seeds, st.data())
def test_pad_with_a_constant(net, agree, shape, value, conv, seed, data):
    pads = data.draw(st.lists(st.integers(0, 3), min_size=2 * len(shape), max_size=2 * len(shape)))
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    y = network.add("Pad", x, np.asarray(pads, np.int64), np.float32(value))
    agree(network.model(y), network.feeds(seed))


@sampled
@given(images, st.booleans(), seeds, st.data())
def test_pad_by_reflection_of_some_axes(net, agree, shape, conv, seed, data):
    assume(min(shape[2:]) > 1)
    pads = [data.draw(st.integers(0, s - 1)) for s in shape[2:] * 2]
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    y = network.add(
        "Pad", x, np.asarray(pads, np.int64), "", np.asarray([2, -1], np.int64), mode="reflect"
    )
    agree(network.model(y), network.feeds(seed))


@sampled
@given(shapes, st.booleans(), seeds, st.data())
def test_reshape_to_any_factors(net, agree, shape, conv, seed, data):
    count = int(np.prod(shape))
    first = data.draw(st.sampled_from([d for d in range(1, count + 1) if count % d == 0]))
    new = data.draw(st.permutations([first, -1, 1]))[: data.draw(st.integers(2, 3))]
    assume(-1 in new and first in new)
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    y = network.add("Reshape", x, np.asarray(new, np.int64))
    agree(network.model(y), network.feeds(seed))


@sampled
@given(shapes, st.integers(0, 4), st.booleans(), seeds)
def test_flatten_at_any_axis(net, agree, shape, axis, conv, seed):
    assume(axis <= len(shape))
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    agree(network.model(network.add("Flatten", x, axis=axis)), network.feeds(seed))


@sampled
@given(st.integers(1, 3), st.integers(1, 5), st.booleans(), seeds)
def test_squeeze_and_unsqueeze(net, agree, n, c, conv, seed):
    network = net()
    x = behind_conv(network, (n, c, 1, 1), seed) if conv else network.input((n, c, 1, 1))
    flat = network.add("Squeeze", x, np.asarray([2, -1], np.int64))
    y = network.add("Unsqueeze", network.add("Sigmoid", flat), np.asarray([-1, 2], np.int64))
    found = agree(network.model(flat, y), network.feeds(seed))
    assert found["TRANSPOSE"] == 0


@sampled
@given(shapes, st.booleans(), seeds, st.data())
def test_transpose_by_any_permutation(net, agree, shape, conv, seed, data):
    perm = data.draw(st.permutations(range(len(shape))))
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    agree(network.model(network.add("Transpose", x, perm=perm)), network.feeds(seed))


@sampled
@given(images, st.integers(1, 3), st.sampled_from(["DCR", "CRD"]), st.booleans(), seeds)
def test_depth_to_space(net, agree, shape, block, mode, integer, seed):
    network = net()
    shape = (shape[0], shape[1] * block**2, *shape[2:])
    x = quantized_input(network, shape) if integer else network.input(shape)
    y = network.add("DepthToSpace", x, blocksize=block, mode=mode)
    if integer:
        assert finish_as_the_input(network, y, seed, agree)["QUANTIZE"] == 1
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
        assert finish_as_the_input(network, y, seed, agree) == {"QUANTIZE": 1, "SPACE_TO_DEPTH": 1}
    else:
        agree(network.model(y), network.feeds(seed), tolerance=0)


@sampled
@given(images, st.lists(st.integers(0, 4), min_size=4, max_size=4), st.booleans(), seeds)
def test_edge_padding(net, agree, shape, pads, integer, seed):
    network = net()
    x = quantized_input(network, shape) if integer else behind_conv(network, shape, seed)
    top, left, bottom, right = pads
    amounts = np.asarray([0, 0, top, left, 0, 0, bottom, right])
    y = network.add("Pad", x, amounts, mode="edge")
    if integer:
        assert finish_as_the_input(network, y, seed, agree)["QUANTIZE"] == 1
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
        assert finish_as_the_input(network, y, seed, agree)["QUANTIZE"] == 1
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
        found = finish_as_the_input(network, y, seed, agree)
    else:
        y = network.add("Conv", y, weights_of(seed, 2, shape[1] // strides[0], 1, 1))
        found = agree(network.model(y), network.feeds(seed))
    assert "STRIDED_SLICE" not in found


@sampled
@given(images, st.integers(0, 3), seeds)
def test_concat_of_equal_parameters_needs_no_quantize(net, agree, shape, axis, seed):
    network = net()
    parts = [quantized_input(network, shape, name) for name in "abc"]
    y = network.quantize(network.add("Concat", *parts, axis=axis), SCALE, ZERO)
    found = agree(network.model(y, dtype=np.int8), network.feeds(seed), steps=0)
    assert found == {"QUANTIZE": 3, "CONCATENATION": 1}


@sampled
@given(images, seeds)
def test_concat_of_unequal_parameters_is_requantized(net, agree, shape, seed):
    network = net()
    parts = [
        quantized_input(network, shape, "a"),
        quantized_input(network, shape, "b", 0.05, -9),
    ]
    y = network.quantize(network.add("Concat", *parts, axis=1), 0.05, -9)
    found = agree(network.model(y, dtype=np.int8), network.feeds(seed))
    assert found == {"QUANTIZE": 3, "CONCATENATION": 1}


@pytest.mark.parametrize("op", PASSED_THROUGH)
@pytest.mark.parametrize("same", [True, False])
def test_ops_that_keep_parameters(net, agree, op, same):
    """Their kernels cannot rescale: a difference is one QUANTIZE behind them."""
    operands, attributes = PASSED_THROUGH[op]
    network = net()
    x = quantized_input(network, (2, 4, 5, 6))
    y = network.add(op, x, *operands, **attributes)
    q = network.quantize(y, SCALE, ZERO) if same else network.quantize(y, 0.031, -12)
    found = agree(network.model(q, dtype=np.int8), network.feeds(3))
    assert found["QUANTIZE"] == (1 if same else 2)
    assert found["DEQUANTIZE"] == 0


def test_split_in_int8(net, agree):
    network = net()
    x = quantized_input(network, (1, 6, 4, 5))
    sizes = np.asarray([2, 4], np.int64)
    parts = network.add("Split", x, sizes, outputs=2, axis=1)
    qs = [network.quantize(part, SCALE, ZERO) for part in parts]
    found = agree(network.model(*qs, dtype=np.int8), network.feeds(3), steps=0)
    assert found == {"QUANTIZE": 1, "SLICE": 2}
