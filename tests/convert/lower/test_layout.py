"""Axis order is decided once: what must move moves at conversion time, not in the graph.

Shapes have a different size on every axis and values count up, so that a wrong axis shows.
"""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.lower import lower_to_tflite

COUNTING = np.arange(1 * 2 * 3 * 5, dtype=np.float32).reshape(1, 2, 3, 5)
SAME_CHANNELS = np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1)


def convolved(network):
    """A counting image behind a convolution that changes nothing, so channels-last."""
    return network.add("Conv", network.input(COUNTING.shape), SAME_CHANNELS)


def test_an_image_goes_in_and_out_channels_last(net, agree):
    network = net()
    model = network.model(convolved(network))
    assert agree(model, {"x": COUNTING}, tolerance=0) == {"CONV_2D": 1}
    lowered = lower_to_tflite(model)
    assert lowered.input_layouts == {"x": (0, 2, 3, 1)}
    assert list(lowered.output_layouts.values()) == [(0, 2, 3, 1)]


def test_what_no_image_op_touches_keeps_its_order(net, agree):
    network = net()
    y = network.add("Sigmoid", network.add("Add", network.input(COUNTING.shape), COUNTING))
    model = network.model(y)
    assert agree(model, {"x": COUNTING}) == {"ADD": 1, "LOGISTIC": 1}
    assert lower_to_tflite(model).input_layouts == {"x": (0, 1, 2, 3)}


def test_the_transposes_of_a_channels_last_network_vanish(net, agree):
    network = net()
    x = network.add("Transpose", network.input((1, 3, 5, 2)), perm=[0, 3, 1, 2])
    y = network.add("Transpose", network.add("Conv", x, SAME_CHANNELS), perm=[0, 2, 3, 1])
    model = network.model(y)
    feeds = {"x": COUNTING.transpose(0, 2, 3, 1)}
    assert agree(model, feeds, tolerance=0) == {"CONV_2D": 1}
    assert lower_to_tflite(model).input_layouts == {"x": (0, 1, 2, 3)}


def test_a_transpose_that_moves_axes_of_size_one_is_no_transpose(net, agree):
    network = net()
    x = network.add("GlobalAveragePool", network.input(COUNTING.shape))
    y = network.add("Transpose", x, perm=[2, 1, 0, 3])
    assert agree(network.model(y), {"x": COUNTING})["TRANSPOSE"] == 0


@pytest.mark.parametrize("op", ["Flatten", "Reshape"])
def test_flattening_an_image_permutes_the_weights_that_read_it(net, agree, op):
    network = net()
    shape = () if op == "Flatten" else (np.asarray([1, -1], np.int64),)
    flat = network.add(op, convolved(network), *shape)
    y = network.add("Gemm", flat, np.eye(30, dtype=np.float32) * 2, transB=1)
    z = network.add("MatMul", flat, np.eye(30, dtype=np.float32))
    found = agree(network.model(y, z), {"x": COUNTING}, tolerance=0)
    assert found == {"CONV_2D": 1, "RESHAPE": 1, "FULLY_CONNECTED": 2}


def test_flattening_an_image_for_anything_else_is_one_transpose(net, agree):
    network = net()
    flat = network.add("Flatten", convolved(network))
    found = agree(network.model(flat), {"x": COUNTING}, tolerance=0)
    assert found == {"CONV_2D": 1, "TRANSPOSE": 1, "RESHAPE": 1}


def test_flattening_a_pooled_image_is_a_reshape(net, agree):
    network = net()
    flat = network.add("Flatten", network.add("GlobalAveragePool", network.input(COUNTING.shape)))
    assert agree(network.model(flat), {"x": COUNTING}) == {"MEAN": 1, "RESHAPE": 1}


def test_a_mean_that_drops_the_image_axes_needs_nothing(net, agree):
    network = net()
    axes = np.asarray([2, 3], np.int64)
    y = network.add("ReduceMean", convolved(network), axes, keepdims=0)
    assert agree(network.model(y), {"x": COUNTING}) == {"CONV_2D": 1, "MEAN": 1}


def test_a_squeeze_and_excite_gate_needs_no_transpose(net, agree):
    network = net()
    x = convolved(network)
    pooled = network.add("Flatten", network.add("GlobalAveragePool", x))
    gate = network.add("Gemm", pooled, np.eye(2, dtype=np.float32))
    gate = network.add("Reshape", gate, np.asarray([1, 2, 1, 1], np.int64))
    y = network.add("Mul", x, network.add("Sigmoid", gate))
    found = agree(network.model(y), {"x": COUNTING})
    assert found["TRANSPOSE"] == 0


def test_a_channel_vector_of_lower_rank_is_aligned_right(net, agree):
    network = net()
    vector = network.input((2, 1, 1), "v")
    y = network.add("Add", convolved(network), vector)
    feeds = {"x": COUNTING, "v": np.float32([100, 200]).reshape(2, 1, 1)}
    found = agree(network.model(y), feeds, tolerance=0)
    assert found == {"CONV_2D": 1, "RESHAPE": 1, "ADD": 1}


def test_joined_images_are_laid_out_together(net, agree):
    """One part is touched by a convolution, the other is not: the concat ties them."""
    network = net()
    other = network.input(COUNTING.shape, "other")
    y = network.add("Concat", convolved(network), network.add("Sigmoid", other), axis=1)
    found = agree(network.model(y), {"x": COUNTING, "other": COUNTING + 7})
    assert found == {"CONV_2D": 1, "LOGISTIC": 1, "CONCATENATION": 1}


def test_an_output_that_is_the_input_is_copied(net, agree):
    network = net()
    y = network.add("Identity", network.input(COUNTING.shape))
    assert agree(network.model(y), {"x": COUNTING}, tolerance=0) == {"RESHAPE": 1}


def test_two_outputs_of_one_tensor_are_two_tensors(net, agree):
    network = net()
    y = convolved(network)
    same = network.add("Identity", y)
    assert agree(network.model(y, same), {"x": COUNTING}, tolerance=0) == {
        "CONV_2D": 1,
        "RESHAPE": 1,
    }


def test_a_channel_shuffle_is_one_transpose(net, agree):
    network = net()
    image = np.arange(6 * 3 * 5, dtype=np.float32).reshape(1, 6, 3, 5)
    weights = np.eye(6, dtype=np.float32).reshape(6, 6, 1, 1)
    x = network.add("Conv", network.input(image.shape), weights)
    x = network.add("Reshape", x, np.asarray([1, 2, 3, 3, 5], np.int64))
    x = network.add("Transpose", x, perm=[0, 2, 1, 3, 4])
    x = network.add("Reshape", x, np.asarray([1, 6, 3, 5], np.int64))
    y = network.add("Conv", x, weights)
    found = agree(network.model(y), {"x": image}, tolerance=0)
    assert found["TRANSPOSE"] == 1


def test_image_patches_become_a_sequence_without_a_transpose(net, agree):
    network = net()
    x = network.add("Reshape", convolved(network), np.asarray([1, 2, 15], np.int64))
    x = network.add("Transpose", x, perm=[0, 2, 1])
    y = network.add("MatMul", x, np.eye(2, dtype=np.float32))
    assert agree(network.model(y), {"x": COUNTING}, tolerance=0)["TRANSPOSE"] == 0
