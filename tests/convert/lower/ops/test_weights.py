"""Weights stored as float16 or int8 and computed in float: one function, a smaller file."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from ghostedge_convert.lower import lower_to_tflite

FORMS = ("float16", "int8", "int8 per tensor", "DequantizeLinear")


def stored(network, shape, form, *, axis=0, seed=1):
    """Weights in one of the forms that ONNX files have; the name of their float32."""
    rng = np.random.default_rng(seed)
    if form == "float16":
        half = rng.standard_normal(shape).astype(np.float16)
        return network.add("Cast", half, to=TensorProto.FLOAT)
    steps = rng.integers(-127, 128, shape, np.int8)
    scale = (rng.uniform(0.5, 2.0, shape[axis]) / 127).astype(np.float32)
    if form == "DequantizeLinear":
        return network.add(
            "DequantizeLinear", steps, scale, np.zeros_like(scale, np.int8), axis=axis
        )
    spread = [1] * len(shape)
    spread[axis] = -1
    scale = scale[0] if form == "int8 per tensor" else scale.reshape(spread)
    return network.add("Mul", network.add("Cast", steps, to=TensorProto.FLOAT), np.float32(scale))


def constant_bytes(data: bytes) -> Counter[str]:
    """Bytes of constants of two axes and more, by type."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)
    names = {code: name for name, code in vars(schema.TensorType).items()}
    found: Counter[str] = Counter()
    for tensor in model.subgraphs[0].tensors:
        held = model.buffers[tensor.buffer].data
        if held is not None and len(tensor.shape) > 1:
            found[names[tensor.type]] += len(held)
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (4, 1, 5, 5), (8, 1, 3, 3), (6, 2, 1, 1)])
def test_a_convolution_computes_in_float_what_its_small_weights_say(
    net, agree, left_outside_xnnpack, form, shape
):
    network = net()
    x = network.input((1, 4, 9, 7))
    bias = np.linspace(-1, 1, shape[0]).astype(np.float32)
    y = network.add("Conv", x, stored(network, shape, form), bias, group=4 // shape[1])
    model = network.model(network.add("Relu", y))
    ops = agree(model, network.feeds(2), tolerance=1e-5)
    assert ops["DEQUANTIZE"] == 1
    assert ops["CONV_2D"] + ops["DEPTHWISE_CONV_2D"] == 1
    data = lower_to_tflite(model).data
    size = np.prod(shape)
    assert constant_bytes(data) == ({"FLOAT16": 2 * size} if form == "float16" else {"INT8": size})
    assert not left_outside_xnnpack(data)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("flipped", [False, True])
def test_a_dense_layer_likewise(net, agree, form, flipped):
    network = net()
    x = network.input((2, 12))
    weights = stored(network, (12, 5) if flipped else (5, 12), form, axis=int(flipped))
    y = network.add("Gemm", x, weights, np.ones(5, np.float32), transB=int(not flipped))
    assert agree(network.model(y), network.feeds(2)) == {"DEQUANTIZE": 1, "FULLY_CONNECTED": 1}


def test_the_features_of_a_flattened_image_are_reordered_in_the_stored_weights(net, agree):
    network = net()
    image = network.add("Relu", network.add("Conv", network.input((1, 3, 4, 4)), kernel(5, 3)))
    weights = stored(network, (7, 80), "int8")
    y = network.add("Gemm", network.add("Flatten", image), weights, transB=1)
    assert agree(network.model(y), network.feeds(2))["TRANSPOSE"] == 0


def kernel(outs, ins):
    return np.random.default_rng(0).standard_normal((outs, ins, 1, 1)).astype(np.float32)


def test_a_factor_on_a_dense_layer_is_multiplied_into_float_weights(net, agree):
    network = net()
    weights = stored(network, (5, 12), "int8")
    y = network.add("Gemm", network.input((2, 12)), weights, transB=1, alpha=0.5)
    assert agree(network.model(y), network.feeds(2)) == {"FULLY_CONNECTED": 1}


@settings(deadline=None, max_examples=30)
@given(outs=st.integers(1, 9), ins=st.integers(1, 9), side=st.integers(1, 4))
def test_any_shape_of_weights_decodes_to_the_same_function(net, agree, outs, ins, side):
    network = net()
    x = network.input((1, ins, 6, 6))
    y = network.add("Conv", x, stored(network, (outs, ins, side, side), "int8", seed=outs))
    agree(network.model(y), network.feeds(ins), tolerance=1e-5)


def test_a_decoded_constant_that_is_not_weights_is_an_ordinary_constant(net, agree):
    """Added to an image, there is nothing to gain from decoding at run time."""
    network = net()
    half = np.random.default_rng(1).standard_normal((1, 4, 1, 1)).astype(np.float16)
    y = network.add("Add", network.input((1, 4, 5, 5)), network.add("Cast", half, to=1))
    assert agree(network.model(y), network.feeds(2)) == {"ADD": 1}


def test_weights_behind_a_zero_point_are_decoded_at_conversion(net, agree):
    """TFLite's symmetric int8 cannot say them; the function matters more than the size."""
    network = net()
    steps = np.random.default_rng(1).integers(-127, 128, (4, 3, 1, 1), np.int8)
    weights = network.add("DequantizeLinear", steps, np.float32(0.01), np.int8(3))
    y = network.add("Conv", network.input((1, 3, 5, 5)), weights)
    assert agree(network.model(y), network.feeds(2)) == {"CONV_2D": 1}


def test_scales_along_two_axes_are_decoded_at_conversion(net, agree):
    network = net()
    steps = network.add("Cast", np.full((4, 3, 1, 1), 2, np.int8), to=1)
    scale = np.random.default_rng(1).uniform(0.1, 1, (4, 3, 1, 1)).astype(np.float32)
    y = network.add("Conv", network.input((1, 3, 5, 5)), network.add("Mul", steps, scale))
    assert agree(network.model(y), network.feeds(2)) == {"CONV_2D": 1}


def test_equal_models_give_equal_bytes(net):
    network = net()
    y = network.add("Conv", network.input((1, 4, 5, 5)), stored(network, (8, 4, 3, 3), "int8"))
    model = network.model(y)
    again = onnx.ModelProto.FromString(model.SerializeToString())
    assert lower_to_tflite(model).data == lower_to_tflite(again).data
    assert numpy_helper.to_array(model.graph.initializer[0]).dtype == np.int8
