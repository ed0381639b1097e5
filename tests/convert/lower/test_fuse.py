"""Activations move into their producer, and padding stays where it computes the same."""

from __future__ import annotations

import numpy as np
import pytest


def conv(network, x, size, **attributes):
    channels, kernel = size
    weights = np.random.default_rng(0).standard_normal((channels, channels, kernel, kernel))
    return network.add("Conv", x, weights.astype(np.float32), **attributes)


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


def test_max_pooling_what_is_never_negative_pads_with_zero(net, agree):
    network = net()
    x = network.add("Relu", conv(network, network.input((1, 2, 8, 8)), (2, 1)))
    y = network.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    found = agree(network.model(y), network.feeds(0))
    assert found == {"CONV_2D": 1, "PAD": 1, "MAX_POOL_2D": 1}
