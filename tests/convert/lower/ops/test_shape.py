# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Each op of the table computes what ONNX Runtime computes, over random shapes and attributes.

Where an op is blind to the axis order it is tried both as it is and behind a convolution, which
makes its tensors channels-last.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

sampled = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 2**31 - 1)
sizes = st.integers(1, 7)
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
images = st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))


def behind_conv(network, shape, seed):
    """An input of this shape that is channels-last because a 1×1 convolution made it."""
    x = network.input(shape)
    if len(shape) != 4:
        return x
    weights = np.random.default_rng(seed).standard_normal((shape[1], shape[1], 1, 1))
    return network.add("Conv", x, weights.astype(np.float32))


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
@given(st.integers(1, 3), sizes, sizes, st.booleans(), st.booleans(), seeds, st.data())
def test_gemm_with_constant_weights(net, agree, n, k, m, trans_a, trans_b, seed, data):
    network = net()
    a = network.input((k, n) if trans_a else (n, k))
    b = weights_of(seed, *((m, k) if trans_b else (k, m)))
    c = data.draw(st.sampled_from([None, (m,), (1, m), (1,), (n, m), (n, 1), ()]))
    beta = 1.0 if c in ((n, m), (n, 1)) and n > 1 else data.draw(st.sampled_from([1.0, 0.5]))
    extra = [] if c is None else [weights_of(seed + 1, *c)]
    y = network.add(
        "Gemm", a, b, *extra, alpha=1.5, beta=beta, transA=int(trans_a), transB=int(trans_b)
    )
    agree(network.model(y), network.feeds(seed))


@sampled
@given(st.integers(1, 3), sizes, sizes, st.booleans(), seeds)
def test_gemm_of_two_activations(net, agree, n, k, m, trans_b, seed):
    network = net()
    a, c = network.input((n, k), "a"), network.input((n, m), "c")
    b = network.input((m, k) if trans_b else (k, m), "b")
    y = network.add("Gemm", a, b, c, transB=int(trans_b))
    agree(network.model(y), network.feeds(seed))


@sampled
@given(st.lists(st.integers(1, 3), max_size=2), sizes, sizes, sizes, st.booleans(), seeds)
def test_matmul_of_any_rank(net, agree, batch, n, k, m, constant, seed):
    network = net()
    a = network.input((*batch, n, k), "a")
    b = weights_of(seed, k, m) if constant else network.input((*batch, k, m), "b")
    agree(network.model(network.add("MatMul", a, b)), network.feeds(seed))


@st.composite
def broadcasts(draw):
    """Two shapes that broadcast, of equal or different rank."""
    full = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    start = draw(st.integers(0, len(full)))
    part = [draw(st.sampled_from([1, s])) for s in full[start:]]
    return tuple(full), tuple(part)


@sampled
@given(st.sampled_from(["Add", "Sub", "Mul", "Div"]), broadcasts(), *[st.booleans()] * 3, seeds)
def test_arithmetic_broadcasts_as_onnx_does(net, agree, op, pair, constant, swapped, conv, seed):
    full, part = pair
    network = net()
    a = behind_conv(network, full, seed) if conv else network.input(full)
    b = np.abs(weights_of(seed, *part)) + 0.5 if constant else network.input(part, "b")
    assume(not (op == "Div" and (swapped or not constant)))
    y = network.add(op, *((b, a) if swapped else (a, b)))
    agree(network.model(y), network.feeds(seed))


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


BOUNDS = [(0, 6), (0, None), (-1, 1), (None, 1), (-0.5, None), (None, None), (0.25, 0.75), (0, 1)]


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


def starts_in_padding(window):
    """ceil_mode windows on whose existence ONNX's shape inference and ONNX Runtime disagree."""
    kernel, strides, _, pads, size = window
    return any(
        (-(-(size[a] + pads[a] + pads[a + 2] - kernel[a]) // strides[a])) * strides[a]
        >= size[a] + pads[a]
        for a in (0, 1)
    )


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


MODES = ["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"]


@sampled
@given(images, st.integers(1, 9), st.integers(1, 9), st.sampled_from(MODES), seeds)
def test_bilinear_resize(net, agree, shape, height, width, mode, seed):
    network = net()
    out = np.asarray([*shape[:2], height, width], np.int64)
    y = network.add(
        "Resize",
        network.input(shape),
        "",
        "",
        out,
        mode="linear",
        coordinate_transformation_mode=mode,
    )
    agree(network.model(y), network.feeds(seed))


@sampled
@given(
    images,
    st.integers(1, 3),
    st.sampled_from([("asymmetric", "floor"), ("half_pixel", "round_prefer_ceil")]),
    st.booleans(),
    seeds,
)
def test_nearest_resize(net, agree, shape, factor, modes, by_scale, seed):
    network = net()
    out = np.asarray([*shape[:2], shape[2] * factor, shape[3] * 2], np.int64)
    size = ("", np.float32(out / shape)) if by_scale else ("", "", out)
    y = network.add(
        "Resize",
        network.input(shape),
        *size,
        mode="nearest",
        coordinate_transformation_mode=modes[0],
        nearest_mode=modes[1],
    )
    agree(network.model(y), network.feeds(seed))


ROUNDINGS = ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]


@sampled
@given(
    images,
    st.floats(0.3, 3.3),
    st.floats(0.3, 3.3),
    st.sampled_from(["linear", *ROUNDINGS]),
    st.sampled_from(MODES),
    seeds,
)
def test_resize_by_any_scale(net, agree, shape, down, across, mode, transform, seed):
    """Whatever no kernel of TFLite's samples is a product of matrices."""
    scales = np.asarray([1, 1, down, across], np.float32)
    assume(min(np.floor(scales * np.asarray(shape, np.float32))) >= 1)
    network = net()
    modes = {"mode": "linear"} if mode == "linear" else {"nearest_mode": mode}
    y = network.add(
        "Resize",
        behind_conv(network, shape, seed),
        "",
        scales,
        coordinate_transformation_mode=transform,
        **modes,
    )
    agree(network.model(y), network.feeds(seed))


@sampled
@given(shapes, st.booleans(), seeds)
def test_batch_norm_that_stands_alone(net, agree, shape, conv, seed):
    assume(len(shape) > 1)
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    scale, shift, mean, variance = weights_of(seed, 4, shape[1])
    y = network.add("BatchNormalization", x, scale, shift, mean, np.abs(variance), epsilon=1e-3)
    agree(network.model(y), network.feeds(seed))
