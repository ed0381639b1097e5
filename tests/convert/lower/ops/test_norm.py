# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Norms and what they are written with compute what ONNX Runtime computes, in any axis order."""

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
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 2**31 - 1)
sides = st.integers(1, 5)
EPSILON = np.float32(1e-12)


def parameters(seed, *shape):
    """Scale and shift of a normalization."""
    return np.random.default_rng(seed).standard_normal((2, *shape)).astype(np.float32)


def channels_last(network, shape):
    """An input that a 1×1 convolution made channels-last."""
    x = network.input(shape)
    return network.add("Conv", x, np.eye(shape[1], dtype=np.float32)[..., None, None])


def behind_conv(network, shape, seed):
    """An input of this shape that is channels-last because a 1×1 convolution made it."""
    x = network.input(shape)
    if len(shape) != 4:
        return x
    weights = np.random.default_rng(seed).standard_normal((shape[1], shape[1], 1, 1))
    return network.add("Conv", x, weights.astype(np.float32))


def weights_of(seed, *shape):
    return np.random.default_rng(seed + 1).standard_normal(shape).astype(np.float32)


def test_a_vector_of_length_one(net, agree):
    network = net()
    x = network.input((2, 7))
    norm = network.add("ReduceL2", x, np.array([1], np.int64), keepdims=1)
    y = network.add("Div", x, network.add("Clip", norm, EPSILON))
    ops = agree(network.model(y), network.feeds(3))
    assert set(ops) == {"MUL", "SUM", "SQRT", "MAXIMUM", "DIV"}


def test_a_vector_of_length_one_written_with_powers(net, agree):
    network = net()
    x = network.input((2, 7))
    squares = network.add("Pow", x, np.float32(2))
    total = network.add("ReduceSum", squares, np.array([1], np.int64), keepdims=1)
    root = network.add("Pow", network.add("Max", total, EPSILON), np.float32(0.5))
    y = network.add("Mul", x, network.add("Reciprocal", root))
    agree(network.model(y), network.feeds(3))


@sampled
@given(st.integers(1, 2), st.integers(1, 5), st.lists(sides, min_size=1, max_size=3), seeds)
def test_an_instance_norm_of_any_rank(net, agree, batch, channels, space, seed):
    network = net()
    x = network.input((batch, channels, *space))
    scale, shift = parameters(seed, channels)
    y = network.add("InstanceNormalization", x, scale, shift, epsilon=1e-3)
    agree(network.model(y), network.feeds(seed), tolerance=5e-5)


def test_an_instance_norm_moves_no_image(net, agree, left_outside_xnnpack):
    network = net()
    x = channels_last(network, (2, 6, 5, 4))
    y = network.add("Relu", network.add("InstanceNormalization", x, *parameters(1, 6)))
    model = network.model(y)
    found = agree(model, network.feeds(1), tolerance=5e-5)
    assert found.keys() == {"CONV_2D", "MEAN", "SUB", "MUL", "ADD", "RSQRT"}
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


@sampled
@given(st.sampled_from([18, 21]), st.integers(1, 3), st.integers(1, 3), st.booleans(), seeds)
def test_a_group_norm_with_parameters_for_groups_or_channels(
    net, agree, opset, groups, per_group, last, seed
):
    channels = groups * per_group
    network = net()
    shape = (2, channels, 4, 5)
    x = channels_last(network, shape) if last else network.input(shape)
    scale, shift = parameters(seed, groups if opset == 18 else channels)
    y = network.add("GroupNormalization", x, scale, shift, num_groups=groups, epsilon=1e-3)
    found = agree(network.model(y, opset=opset), network.feeds(seed), tolerance=5e-5)
    assert found["TRANSPOSE"] == 0


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_group_norm_as_pytorch_writes_it_moves_no_image(net, agree, groups, int8):
    network = net()
    x = channels_last(network, (2, 6, 5, 4))
    x = network.pair(x, 0.03, 5) if int8 else x
    grouped = network.add("Reshape", x, np.array([0, groups, -1]))
    grouped = network.pair(grouped, 0.03, 5) if int8 else grouped
    ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    normal = network.add("InstanceNormalization", grouped, ones, zeros, epsilon=1e-3)
    whole = network.add("Reshape", normal, np.array([2, 6, 5, 4]))
    scale, shift = parameters(groups, 6, 1, 1)
    y = network.add("Add", network.add("Mul", whole, scale), shift)
    found = agree(network.model(y), network.feeds(1), tolerance=5e-5)
    assert found["TRANSPOSE"] == 0
    assert found["RSQRT"] == 1


@sampled
@given(shapes, st.booleans(), seeds, st.data())
def test_a_layer_norm_from_any_axis_on(net, agree, shape, biased, seed, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    network = net()
    scale, shift = parameters(seed, *shape[axis:])
    y = network.add(
        "LayerNormalization",
        network.input(shape),
        scale,
        *([shift] if biased else []),
        axis=axis,
        epsilon=1e-3,
    )
    agree(network.model(y), network.feeds(seed), tolerance=5e-5)


def test_a_layer_norm_over_the_channels_of_an_image_moves_nothing(net, agree):
    network = net()
    x = channels_last(network, (1, 6, 5, 4))
    last = network.add("Transpose", x, perm=[0, 2, 3, 1])
    y = network.add("LayerNormalization", last, *parameters(3, 6))
    first = network.add("Transpose", y, perm=[0, 3, 1, 2])
    found = agree(
        network.model(network.add("GlobalAveragePool", first)), network.feeds(3), tolerance=5e-5
    )
    assert found["TRANSPOSE"] == 0


def test_a_layer_norm_in_its_parts(net, agree):
    network = net()
    x = network.input((2, 5, 8))
    axes = np.array([-1], np.int64)
    centred = network.add("Sub", x, network.add("ReduceMean", x, axes))
    variance = network.add("ReduceMean", network.add("Pow", centred, np.float32(2)), axes)
    root = network.add("Sqrt", network.add("Add", variance, np.float32(1e-5)))
    agree(network.model(network.add("Div", centred, root)), network.feeds(3), tolerance=5e-5)


@pytest.mark.parametrize(
    ("op", "outputs", "attributes", "message"),
    [
        ("LayerNormalization", 3, {}, "Mean or InvStdDev"),
        ("InstanceNormalization", 1, {}, "scale or bias is computed"),
    ],
)
def test_other_forms_are_refused_by_name(net, op, outputs, attributes, message):
    network = net()
    x = network.input((1, 4, 3, 3))
    scale = network.add("Relu", network.input((4,), "scale"))
    operands = (scale, scale) if op == "InstanceNormalization" else (np.ones(3, np.float32),)
    y = network.add(op, x, *operands, outputs=outputs, **attributes)
    with pytest.raises(UnsupportedOpError, match=message):
        lower_to_tflite(network.model(*([y] if outputs == 1 else y)))


@sampled
@given(shapes, st.booleans(), seeds)
def test_batch_norm_that_stands_alone(net, agree, shape, conv, seed):
    assume(len(shape) > 1)
    network = net()
    x = behind_conv(network, shape, seed) if conv else network.input(shape)
    scale, shift, mean, variance = weights_of(seed, 4, shape[1])
    y = network.add("BatchNormalization", x, scale, shift, mean, np.abs(variance), epsilon=1e-3)
    agree(network.model(y), network.feeds(seed))
