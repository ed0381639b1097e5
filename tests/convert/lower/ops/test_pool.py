# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Reductions and what finds the extremes compute what ONNX Runtime does, in any axis order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_runtime.errors import UnsupportedOpError

sampled = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 2**31 - 1)
REDUCTIONS = [
    "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceProd", "ReduceSum", "ReduceSumSquare",
]  # fmt: skip


def channels_last(network, shape):
    """An input that a 1×1 convolution made channels-last."""
    x = network.input(shape)
    return network.add("Conv", x, np.eye(shape[1], dtype=np.float32)[..., None, None])


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
