# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Norms and what they are written with compute what ONNX Runtime computes, in any axis order."""

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
EPSILON = np.float32(1e-12)


def channels_last(network, shape):
    """An input that a 1×1 convolution made channels-last."""
    x = network.input(shape)
    return network.add("Conv", x, np.eye(shape[1], dtype=np.float32)[..., None, None])


@sampled
@given(shapes, st.sampled_from(["ReduceL2", "ReduceSum"]), st.booleans(), seeds, st.data())
def test_norms_and_sums_over_any_axes(net, agree, shape, op, keep, seed, data):
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True))
    network = net()
    x = network.input(shape)
    y = network.add(op, x, np.asarray(axes, np.int64), keepdims=int(keep))
    agree(network.model(y), network.feeds(seed))


@pytest.mark.parametrize("op", ["ReduceL2", "ReduceSum"])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axes", [[1], [2, 3], [-1], [0, 1]])
def test_norms_and_sums_of_a_channels_last_image(net, agree, op, keep, axes):
    network = net()
    x = channels_last(network, (2, 3, 4, 5))
    y = network.add(op, x, np.asarray(axes, np.int64), keepdims=keep)
    agree(network.model(y), network.feeds(1))


@pytest.mark.parametrize("op", ["ReduceL2", "ReduceSum"])
def test_no_axes_leave_each_element_alone_where_asked(net, agree, op):
    network = net()
    axes = np.zeros(0, np.int64)
    y = network.add(op, network.input((2, 3)), axes, noop_with_empty_axes=1)
    absolute = network.add("Add", y, np.float32(1)) if op == "ReduceSum" else y
    agree(network.model(absolute), network.feeds(1))


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


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_the_larger_and_the_smaller_of_two(net, agree, op):
    network = net()
    x = channels_last(network, (1, 3, 4, 5))
    other = network.add("Mul", x, np.float32(-0.5))
    agree(network.model(network.add(op, x, other)), network.feeds(5))


def test_the_square_root(net, agree):
    network = net()
    x = network.input((3, 4))
    y = network.add("Sqrt", network.add("Mul", x, x))
    assert set(agree(network.model(y), network.feeds(5))) == {"MUL", "SQRT"}


@pytest.mark.parametrize(
    ("op", "operands", "message"),
    [
        ("Pow", [np.float32(3)], "an exponent other than 2 and 0.5"),
        ("Pow", [np.array([2, 2, 2, 2], np.float32)], "an exponent other than 2 and 0.5"),
        ("Max", [np.float32(3), np.float32(2)], "3 operands"),
    ],
)
def test_other_forms_are_refused_by_name(net, op, operands, message):
    network = net()
    y = network.add(op, network.input((2, 4)), *operands)
    with pytest.raises(UnsupportedOpError, match=message):
        lower_to_tflite(network.model(y))
