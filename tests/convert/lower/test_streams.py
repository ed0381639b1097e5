# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""What networks of plain layers bring: large kernels, max pools, attention, dense classifiers.

Each in float32 within 1e-5 and in int8 within one step of ONNX Runtime, on all of LiteRT's kernels.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ghostedge_convert.lower import lower_to_tflite

SCALE, ZERO = 0.02, 7
seeds = st.integers(0, 2**32 - 1)
sampled = settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def image(network, shape, int8, name="x"):
    x = network.input(shape, name)
    return network.pair(x, SCALE, ZERO) if int8 else x


def conv(network, x, outs, ins, kernel, seed, int8, **attributes):
    if not int8:
        weights = np.random.default_rng(seed).normal(size=(outs, ins, kernel, kernel))
        bias = np.linspace(-1, 1, outs, dtype=np.float32)
        small = (weights / (kernel * ins**0.5)).astype(np.float32)
        return network.add("Conv", x, small, bias, **attributes)
    weights, scales = network.weights((outs, ins, kernel, kernel), seed)
    return network.add("Conv", x, weights, network.bias(scales, SCALE, seed), **attributes)


def compare(network, y, seed, agree, int8):
    """Operators of the lowered model, once LiteRT and ONNX Runtime agree; and the model."""
    if int8:
        model = network.model(network.quantized_result(y, seed), dtype=np.int8)
    else:
        model = network.model(y)
    return agree(model, network.feeds(seed)), model


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [
        (5, 1, (2, 2, 2, 2)),
        (5, 2, (1, 1, 2, 2)),
        (7, 2, (3, 3, 3, 3)),
        (7, 2, (2, 2, 3, 3)),
        (11, 4, (2, 2, 2, 2)),
        (11, 4, (3, 3, 4, 4)),
    ],
)
def test_a_large_kernel_with_even_and_uneven_padding(
    net, agree, left_outside_xnnpack, kernel, stride, pads, int8
):
    """AlexNet's 11×11, ResNet's 7×7, and what TensorFlow's 'same' makes of them."""
    network = net()
    x = image(network, (1, 3, 32, 32), int8)
    y = conv(network, x, 8, 3, kernel, 1, int8, strides=[stride] * 2, pads=pads)
    found, model = compare(network, network.add("Relu", y), 1, agree, int8)
    assert set(found) <= {"QUANTIZE", "PAD", "CONV_2D", "RESHAPE"}
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


@sampled
@given(
    st.tuples(*[st.integers(4, 9)] * 2),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.integers(1, 2),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.booleans(),
    seeds,
)
def test_an_int8_max_pool_with_any_padding(net, agree, size, kernel, stride, pads, relu, seed):
    """Padding never wins, also where all values are below the zero that int8 pads with."""
    assume(all(p < k for p, k in zip(pads, kernel * 2, strict=True)))
    network = net()
    x = image(network, (1, 3, *size), int8=True)
    if relu:
        x = network.pair(conv(network, x, 4, 3, 1, seed, True), 0.01, -128)
    else:
        two = network.add("DequantizeLinear", np.int8(100), np.float32(SCALE), np.int8(0))
        x = network.pair(network.add("Sub", x, two), SCALE, 127)
    y = network.add("MaxPool", x, kernel_shape=kernel, strides=[stride] * 2, pads=pads)
    stored = network.quantize(y, *((0.01, -128) if relu else (SCALE, 127)))
    found = agree(network.model(stored, dtype=np.int8), network.feeds(seed))
    assert found["MAX_POOL_2D"] == 1
    assert found["DEQUANTIZE"] == 0


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"), [(3, 1, (1, 1, 1, 1)), (2, 1, (0, 0, 1, 1)), (3, 2, (0, 0, 1, 1))]
)
def test_a_max_pool_that_keeps_the_size_costs_no_padding(
    net, agree, left_outside_xnnpack, kernel, stride, pads, int8
):
    network = net()
    x = image(network, (1, 6, 8, 8), int8)
    y = network.add("MaxPool", x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)
    if int8:
        model = network.model(network.quantize(y, SCALE, ZERO), dtype=np.int8)
    else:
        model = network.model(y)
    found = agree(model, network.feeds(0), steps=0)
    assert set(found) <= {"QUANTIZE", "MAX_POOL_2D"}
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


@pytest.mark.parametrize("int8", [False, True])
def test_streams_side_by_side_are_flattened_into_a_dense_layer_without_a_transpose(
    net, agree, int8
):
    """The dense layer's weights follow the image's order instead."""
    network = net()
    x = image(network, (1, 3, 8, 8), int8)
    streams = []
    for seed in (1, 2, 3):
        y = network.add("Relu", conv(network, x, 5, 3, 3, seed, int8, pads=[1] * 4))
        y = network.pair(y, SCALE, ZERO) if int8 else y
        y = network.add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
        streams.append(network.pair(y, SCALE, ZERO) if int8 else y)
    both = network.add("Concat", *streams, axis=1)
    both = network.pair(both, SCALE, ZERO) if int8 else both
    flat = network.add("Flatten", both)
    flat = network.pair(flat, SCALE, ZERO) if int8 else flat
    if int8:
        weights, scales = network.weights((10, 15 * 16), 4)
        y = network.add("Gemm", flat, weights, network.bias(scales, SCALE, 4), transB=1)
    else:
        weights = np.random.default_rng(4).normal(size=(10, 15 * 16)).astype(np.float32)
        y = network.add("Gemm", flat, weights, np.ones(10, np.float32), transB=1)
    found, _ = compare(network, y, 5, agree, int8)
    assert found["TRANSPOSE"] == 0
    assert found["FULLY_CONNECTED"] == 1


@pytest.mark.parametrize("int8", [False, True])
def test_dense_layers_on_each_stream_and_on_their_join(net, agree, int8):
    """Flattened first and joined then: the join is in ONNX's order, whatever lies before it."""
    network = net()
    x = image(network, (1, 4, 3, 5), int8)
    y = conv(network, x, 4, 4, 1, 1, int8)
    y = network.pair(y, SCALE, ZERO) if int8 else y
    flats = [network.add("Flatten", each) for each in (x, y)]
    flats = [network.pair(flat, SCALE, ZERO) for flat in flats] if int8 else flats
    joined = network.add("Concat", *flats, axis=1)
    joined = network.pair(joined, SCALE, ZERO) if int8 else joined
    if int8:
        weights, _ = network.weights((7, 120), 4)
        y = network.add("Gemm", joined, weights, transB=1)
    else:
        weights = np.random.default_rng(4).normal(size=(7, 120)).astype(np.float32)
        y = network.add("Gemm", joined, weights, transB=1)
    compare(network, y, 5, agree, int8)


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("pooled", [False, True])
def test_attention_over_channels_weighs_a_stream_in_xnnpack(
    net, agree, left_outside_xnnpack, pooled, int8
):
    """At every pixel, or one weight per channel of the whole image."""
    network = net()
    x = image(network, (1, 8, 6, 6), int8)

    def step(value, scale, zero):
        return network.pair(value, scale, zero) if int8 else value

    source = step(network.add("GlobalAveragePool", x), SCALE, ZERO) if pooled else x
    attention = step(conv(network, source, 8, 8, 1, 2, int8), 0.05, 0)
    weights = step(network.add("Softmax", attention, axis=1), 1 / 300, -128)
    weighted = step(network.add("Mul", x, weights), 0.01, 0)
    model = network.model(
        *([network.quantize(weighted, 0.01, 0)] if int8 else [weighted]),
        dtype=np.int8 if int8 else np.float32,
    )
    found = agree(model, network.feeds(3))
    assert found["TRANSPOSE"] == 0
    assert found["SOFTMAX"] == 1
    assert not left_outside_xnnpack(lower_to_tflite(model).data)
