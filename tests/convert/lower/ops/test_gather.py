# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""What picks and places elements computes what ONNX Runtime computes, float and int8."""

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
SCALE, ZERO = 0.027, 5


def quantized_input(network, shape, name="x", scale=SCALE, zero=ZERO):
    return network.pair(network.input(shape, name), scale, zero)


def finish_as_the_input(network, y, seed, agree, steps=0):
    """Quantize the result as the input is, compare, and return the operators used."""
    q = network.quantize(y, SCALE, ZERO)
    return agree(network.model(q, dtype=np.int8), network.feeds(seed), steps=steps)


def behind_conv(network, shape, seed):
    """An image that is channels-last because a 1×1 convolution made it."""
    weights = np.random.default_rng(seed).standard_normal((shape[1], shape[1], 1, 1))
    return network.add("Conv", network.input(shape), weights.astype(np.float32))


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
        assert finish_as_the_input(network, y, seed, agree)["QUANTIZE"] == 1
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
        assert finish_as_the_input(network, y, seed, agree)["QUANTIZE"] == 1
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
