"""Clamps move into the op before them, in float and between int8 pairs."""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.lower import lower_to_tflite


def conv(network, x, size, **attributes):
    channels, kernel = size
    weights = np.random.default_rng(0).standard_normal((channels, channels, kernel, kernel))
    return network.add("Conv", x, weights.astype(np.float32), **attributes)


def clamped(net, op, *bounds, after=0.02, twice=False):
    """Conv → pair → clamp → pair; ``twice``: something else reads the first pair too."""
    rng = np.random.default_rng(0)
    network = net()
    x = network.pair(network.input((1, 4, 6, 6)), 0.03, 0)
    weights = network.real(rng.integers(-127, 128, (8, 4, 1, 1), np.int8), 0.01, 0)
    x = network.pair(network.add("Conv", x, weights), 0.02, -5)
    y = network.pair(network.add(op, x, *bounds), after, -5)
    if twice:
        y = network.pair(network.add("Add", x, y), 0.04, 0)
    return network, network.model(y)


@pytest.mark.parametrize("op", ["Relu", "Clip"])
def test_an_activation_moves_into_its_producer(net, agree, op):
    network = net()
    y = conv(network, network.input((1, 2, 4, 5)), (2, 1))
    limits = [np.float32(0), np.float32(6)] if op == "Clip" else []
    y = network.add(op, y, *limits)
    assert agree(network.model(y), network.feeds(0)) == {"CONV_2D": 1}


def test_an_activation_stays_where_its_input_has_another_reader(net, agree):
    network = net()
    x = conv(network, network.input((1, 2, 4, 5)), (2, 1))
    y = network.add("Add", x, network.add("Relu", x))
    assert agree(network.model(y), network.feeds(0)) == {"CONV_2D": 1, "RELU": 1, "ADD": 1}


def test_an_activation_stays_where_its_input_is_an_output(net, agree):
    network = net()
    x = conv(network, network.input((1, 2, 4, 5)), (2, 1))
    y = network.add("Relu", x)
    assert agree(network.model(x, y), network.feeds(0)) == {"CONV_2D": 1, "RELU": 1}


def test_an_activation_behind_a_batched_product_is_an_op(net, agree):
    network = net()
    y = network.add("MatMul", network.input((2, 3, 4), "a"), network.input((2, 4, 5), "b"))
    y = network.add("Relu", y)
    assert agree(network.model(y), network.feeds(0)) == {"BATCH_MATMUL": 1, "RELU": 1}


@pytest.mark.parametrize(
    "clamp", [("Relu",), ("Clip", np.float32(0), np.float32(6)), ("Clip", np.float32(0))]
)
@pytest.mark.parametrize("after", [0.02, 0.013])
def test_a_clamp_costs_no_op_of_its_own(net, agree, left_outside_xnnpack, clamp, after):
    network, model = clamped(net, *clamp, after=after)
    # one step of the conv can be two of the finer pair behind the clamp
    found = agree(model, network.feeds(1), tolerance=0.0265)
    assert not {"RELU", "RELU6"} & set(found)
    assert left_outside_xnnpack(lower_to_tflite(model).data) == {}


def test_a_clamp_whose_input_others_read_stays(net, agree):
    network, model = clamped(net, "Relu", twice=True)
    assert agree(model, network.feeds(1), tolerance=0.0404)["RELU"] == 1
