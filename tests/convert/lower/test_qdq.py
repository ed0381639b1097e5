# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""QDQ graphs become integer TFLite graphs that agree with ONNX Runtime within one step."""

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
images = st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 8), st.integers(1, 8))
SCALE, ZERO = 0.027, 5
BORDERS = {"QUANTIZE": 1}
"""The test's own float input is quantized once; nothing else may be."""


def quantized_input(network, shape, name="x", scale=SCALE, zero=ZERO):
    return network.pair(network.input(shape, name), scale, zero)


def finish(network, y, seed, agree, steps=1):
    """Quantize the result, compare, and return the operators used."""
    q = network.quantized_result(y, seed)
    return agree(network.model(q, dtype=np.int8), network.feeds(seed), steps=steps)


@sampled
@given(images, st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.booleans(), seeds)
def test_conv_with_per_channel_weights(net, agree, shape, kernel, stride, pad, relu, seed):
    assume(min(shape[2:]) + 2 * pad >= kernel)
    network = net()
    x = quantized_input(network, shape)
    weights, scales = network.weights((5, shape[1], kernel, kernel), seed)
    bias = network.bias(scales, SCALE, seed)
    y = network.add("Conv", x, weights, bias, strides=[stride] * 2, pads=[pad] * 4)
    y = network.add("Relu", y) if relu else y
    found = finish(network, y, seed, agree)
    assert set(found) <= {"QUANTIZE", "PAD", "CONV_2D", "DEPTHWISE_CONV_2D", "RESHAPE"}
    assert found["QUANTIZE"] == 1


@sampled
@given(images, st.integers(1, 2), st.integers(1, 2), st.booleans(), seeds)
def test_depthwise_conv_without_a_bias(net, agree, shape, stride, multiplier, relu6, seed):
    assume(shape[1] > 1)
    network = net()
    x = quantized_input(network, shape)
    weights, _ = network.weights((shape[1] * multiplier, 1, 3, 3), seed)
    y = network.add("Conv", x, weights, group=shape[1], strides=[stride] * 2, pads=[1] * 4)
    y = network.add("Clip", y, np.float32(0), np.float32(6)) if relu6 else y
    found = finish(network, y, seed, agree)
    assert found["DEPTHWISE_CONV_2D"] == found["QUANTIZE"] == 1


@sampled
@given(
    st.integers(1, 4),
    st.integers(1, 9),
    st.sampled_from([1, 2, 3, 5, 7]),
    st.integers(0, 3),
    st.integers(1, 4),
    st.booleans(),
    seeds,
)
def test_a_stem_is_computed_over_groups_of_columns(
    net, agree, channels, outs, kernel, pad, groups, per_tensor, seed
):
    assume(pad < kernel)
    network = net()
    x = quantized_input(network, (2, channels, 2 * kernel, 4 * groups))
    weights, scales = network.weights((outs, channels, kernel, kernel), seed)
    if per_tensor:
        stored = np.random.default_rng(seed).integers(-127, 128, (outs, channels, kernel, kernel))
        weights = network.add("DequantizeLinear", stored.astype(np.int8), scales[0], np.int8(0))
    pads = [pad, pad, pad, max(0, kernel - 2 - pad)]
    assume(4 * groups + pads[1] + pads[3] >= kernel)
    y = network.add("Conv", x, weights, strides=[2, 2], pads=pads)
    found = finish(network, y, seed, agree)
    assert found["CONV_2D"] == found["QUANTIZE"] == 1


@pytest.mark.parametrize(("outs", "width", "folds"), [(8, 6, True), (9, 6, False), (8, 7, False)])
def test_a_pointwise_conv_of_few_outputs_is_computed_two_columns_at_a_time(
    net, agree, outs, width, folds
):
    network = net()
    x = quantized_input(network, (1, 16, 5, width))
    weights, scales = network.weights((outs, 16, 1, 1), 0)
    y = network.add("Relu", network.add("Conv", x, weights, network.bias(scales, SCALE, 0)))
    found = finish(network, y, 3, agree)
    assert found == {"QUANTIZE": 1, "CONV_2D": 1, **({"RESHAPE": 2} if folds else {})}


@sampled
@given(images, seeds)
def test_grouped_conv(net, agree, shape, seed):
    network = net()
    x = quantized_input(network, (shape[0], 6, *shape[2:]))
    weights, scales = network.weights((4, 3, 1, 1), seed)
    y = network.add("Conv", x, weights, network.bias(scales, SCALE, seed), group=2)
    assert finish(network, y, seed, agree)["CONV_2D"] == 1


@sampled
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), seeds)
def test_gemm_with_per_channel_weights(net, agree, n, k, m, seed):
    network = net()
    x = quantized_input(network, (n, k))
    weights, scales = network.weights((m, k), seed)
    y = network.add("Gemm", x, weights, network.bias(scales, SCALE, seed), transB=1)
    assert finish(network, y, seed, agree) == {**BORDERS, "FULLY_CONNECTED": 1}


@sampled
@given(st.sampled_from(["Add", "Sub", "Mul"]), images, st.booleans(), st.booleans(), seeds)
def test_arithmetic_with_broadcasting(net, agree, op, shape, per_channel, constant, seed):
    network = net()
    a = quantized_input(network, shape)
    part = (1, shape[1], 1, 1) if per_channel else shape
    if constant:
        stored = np.random.default_rng(seed).integers(-128, 128, part, np.int8)
        b = network.add("DequantizeLinear", stored, np.float32(0.011), np.int8(-7))
    else:
        b = quantized_input(network, part, "b", 0.013, -20)
    found = finish(network, network.add(op, a, b), seed, agree)
    assert found == {"QUANTIZE": 1 if constant else 2, op.upper(): 1}


@sampled
@given(images, st.booleans(), seeds)
def test_mean_over_the_image(net, agree, shape, keep, seed):
    network = net()
    x = quantized_input(network, shape)
    y = network.add("ReduceMean", x, np.asarray([2, 3], np.int64), keepdims=int(keep))
    found = finish(network, y, seed, agree)
    assert found["MEAN"] == found["QUANTIZE"] == 1


@sampled
@given(images, st.integers(0, 3), seeds)
def test_concat_of_equal_parameters_needs_no_quantize(net, agree, shape, axis, seed):
    network = net()
    parts = [quantized_input(network, shape, name) for name in "abc"]
    y = network.quantize(network.add("Concat", *parts, axis=axis), SCALE, ZERO)
    found = agree(network.model(y, dtype=np.int8), network.feeds(seed), steps=0)
    assert found == {"QUANTIZE": 3, "CONCATENATION": 1}


@sampled
@given(images, seeds)
def test_concat_of_unequal_parameters_is_requantized(net, agree, shape, seed):
    network = net()
    parts = [
        quantized_input(network, shape, "a"),
        quantized_input(network, shape, "b", 0.05, -9),
    ]
    y = network.quantize(network.add("Concat", *parts, axis=1), 0.05, -9)
    found = agree(network.model(y, dtype=np.int8), network.feeds(seed))
    assert found == {"QUANTIZE": 3, "CONCATENATION": 1}


PASSED_THROUGH = {
    "Reshape": ((np.asarray([2, -1], np.int64),), {}),
    "Flatten": ((), {"axis": 2}),
    "Transpose": ((), {"perm": [0, 3, 2, 1]}),
    "Slice": (
        (np.asarray([1, -1]), np.asarray([3, -9]), np.asarray([1, 2]), np.asarray([1, -1])),
        {},
    ),
    "Pad": ((np.asarray([0, 0, 1, 2, 0, 1, 0, 0], np.int64),), {}),
    "MaxPool": ((), {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}),
    "Identity": ((), {}),
}


@pytest.mark.parametrize("op", PASSED_THROUGH)
@pytest.mark.parametrize("same", [True, False])
def test_ops_that_keep_parameters(net, agree, op, same):
    """Their kernels cannot rescale: a difference is one QUANTIZE behind them."""
    operands, attributes = PASSED_THROUGH[op]
    network = net()
    x = quantized_input(network, (2, 4, 5, 6))
    y = network.add(op, x, *operands, **attributes)
    q = network.quantize(y, SCALE, ZERO) if same else network.quantize(y, 0.031, -12)
    found = agree(network.model(q, dtype=np.int8), network.feeds(3))
    assert found["QUANTIZE"] == (1 if same else 2)
    assert found["DEQUANTIZE"] == 0


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_keeps_parameters(net, agree, mode):
    network = net()
    x = quantized_input(network, (1, 3, 4, 5))
    size = np.asarray([1, 3, 8, 10], np.int64)
    y = network.add(
        "Resize",
        x,
        "",
        "",
        size,
        mode=mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    q = network.quantize(y, SCALE, ZERO)
    assert agree(network.model(q, dtype=np.int8), network.feeds(3))["QUANTIZE"] == 1


def test_split_in_int8(net, agree):
    network = net()
    x = quantized_input(network, (1, 6, 4, 5))
    sizes = np.asarray([2, 4], np.int64)
    parts = network.add("Split", x, sizes, outputs=2, axis=1)
    qs = [network.quantize(part, SCALE, ZERO) for part in parts]
    found = agree(network.model(*qs, dtype=np.int8), network.feeds(3), steps=0)
    assert found == {"QUANTIZE": 1, "SLICE": 2}


@pytest.mark.parametrize(
    ("op", "scale", "zero"),
    [("Sigmoid", 1 / 256, -128), ("Sigmoid", 0.005, -100), ("Softmax", 1 / 256, -128)],
)
def test_probabilities_leave_their_kernel_at_one_256th(net, agree, op, scale, zero):
    network = net()
    y = network.add(op, quantized_input(network, (2, 9)))
    q = network.quantize(y, scale, zero)
    found = agree(network.model(q, dtype=np.int8), network.feeds(3))
    assert found["QUANTIZE"] == (1 if zero == -128 else 2)


def test_a_softmax_of_finer_steps_than_its_kernel_has_is_computed_in_float(
    net, agree, left_outside_xnnpack
):
    """64 probabilities of about 1/64 each: four of the kernel's steps, but 100 of the pair's."""
    network = net()
    x = quantized_input(network, (1, 64, 5, 6))
    y = network.pair(network.add("Softmax", x, axis=1), 0.1 / 256, -128)
    model = network.model(network.quantize(network.add("Mul", x, y), 0.001, 0), dtype=np.int8)
    found = agree(model, network.feeds(3))
    assert found == {"QUANTIZE": 2, "TRANSPOSE": 2, "DEQUANTIZE": 1, "SOFTMAX": 1, "MUL": 1}
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


@pytest.mark.parametrize("same", [True, False])
def test_an_average_pool_between_pairs_is_computed_in_float(net, agree, left_outside_xnnpack, same):
    """XNNPACK has no int8 kernel, and LiteRT's own is slower than the way through float."""
    network = net()
    x = quantized_input(network, (1, 4, 6, 6))
    y = network.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    q = network.quantize(y, SCALE, ZERO) if same else network.quantize(y, 0.031, -12)
    model = network.model(q, dtype=np.int8)
    assert agree(model, network.feeds(3))["AVERAGE_POOL_2D"] == 1
    assert not left_outside_xnnpack(lower_to_tflite(model).data)


def test_a_relu_that_quantization_repeats_disappears(net, agree):
    network = net()
    x = quantized_input(network, (1, 3, 4, 5))
    q = network.quantize(network.add("Relu", x), 0.02, -128)
    assert agree(network.model(q, dtype=np.int8), network.feeds(3)) == {"QUANTIZE": 2}


def test_a_relu_that_quantization_does_not_repeat_stays(net, agree):
    network = net()
    x = quantized_input(network, (1, 3, 4, 5))
    q = network.quantize(network.add("Relu", x), 0.03, -20)
    found = agree(network.model(q, dtype=np.int8), network.feeds(3))
    assert found == {"QUANTIZE": 1, "RELU": 1}


def test_an_op_without_integer_form_is_computed_in_float(net, agree):
    network = net()
    a = quantized_input(network, (1, 3, 4, 5), "a")
    y = network.add("HardSigmoid", a)
    found = finish(network, y, 3, agree)
    assert found["DEQUANTIZE"] == 1
    assert found["QUANTIZE"] == 2


def test_what_stays_outside_a_pair_stays_float(net, agree):
    """Mixed precision: a float conv between two integer ones, weights of int8 all the same."""
    network = net()
    x = quantized_input(network, (1, 3, 7, 7))
    weights, scales = network.weights((4, 3, 1, 1), 1)
    x = network.pair(network.add("Conv", x, weights, network.bias(scales, SCALE, 1)), 0.1, 0)
    inner, _ = network.weights((4, 4, 1, 1), 2)
    x = network.add("Sigmoid", network.add("Conv", x, inner))
    found = agree(network.model(x), network.feeds(3), tolerance=0.05)
    # One DEQUANTIZE of the activation, one of the float conv's weights, which are stored as int8.
    assert found == {"QUANTIZE": 1, "CONV_2D": 2, "DEQUANTIZE": 2, "LOGISTIC": 1}


def test_a_float_output_is_dequantized_once(net, agree):
    network = net()
    x = quantized_input(network, (1, 3, 7, 7))
    weights, scales = network.weights((4, 3, 1, 1), 1)
    y = network.pair(network.add("Conv", x, weights, network.bias(scales, SCALE, 1)), 0.1, 0)
    found = agree(network.model(y), network.feeds(3), tolerance=0.1)
    assert found == {"QUANTIZE": 1, "CONV_2D": 1, "DEQUANTIZE": 1}


def raw_image_network(net):
    """uint8 NHWC pixels, normalised inside: the input side of our own int8 models."""
    network = net()
    image = network.input((1, 6, 8, 3), "image", np.uint8)
    pixels = network.real(network.add("Transpose", image, perm=[0, 3, 1, 2]), 1 / 255, 0, np.uint8)
    x = network.pair(pixels, 1 / 255, -128)
    shift = np.broadcast_to(np.int8([[-100], [20], [127]]).reshape(1, 3, 1, 1), (1, 3, 1, 8))
    mean = network.add("DequantizeLinear", shift, np.float32(0.004), np.int8(0))
    x = network.pair(network.add("Add", x, mean), 0.007, 3)
    weights, scales = network.weights((4, 3, 3, 3), 1)
    y = network.add(
        "Conv", x, weights, network.bias(scales, 0.007, 1), strides=[2, 2], pads=[1] * 4
    )
    return network, y


def test_raw_pixels_enter_as_uint8_nhwc_without_a_transpose(net, agree, left_outside_xnnpack):
    network, y = raw_image_network(net)
    found = finish(network, y, 3, agree)
    assert found == {
        "DEQUANTIZE": 1,
        "QUANTIZE": 1,
        "ADD": 1,
        "RESHAPE": 1,
        "PAD": 1,
        "CONV_2D": 1,
    }
    model = network.model(network.quantized_result(y, 3), dtype=np.int8)
    lowered = lower_to_tflite(model)
    assert lowered.input_layouts == {"image": (0, 1, 2, 3)}
    assert not left_outside_xnnpack(lowered.data)


def test_uint8_activations_of_other_quantizers_become_int8(net, agree):
    network = net()
    x = network.pair(network.input((1, 3, 7, 7)), 0.02, 120, np.uint8)
    weights, scales = network.weights((4, 3, 1, 1), 1)
    y = network.add("Relu", network.add("Conv", x, weights, network.bias(scales, 0.02, 1)))
    y = network.pair(y, 0.03, 0, np.uint8)
    found = agree(network.model(y), network.feeds(3), tolerance=0.03)
    assert found == {"QUANTIZE": 1, "CONV_2D": 1, "DEQUANTIZE": 1}


def test_weights_with_a_zero_point_are_refused(net):
    network = net()
    x = quantized_input(network, (1, 3, 7, 7))
    stored = np.ones((4, 3, 1, 1), np.int8)
    weights = network.add("DequantizeLinear", stored, np.float32(0.1), np.int8(3))
    y = network.quantize(network.add("Conv", x, weights), 0.1, 0)
    with pytest.raises(UnsupportedOpError, match="zero point of 3"):
        lower_to_tflite(network.model(y, dtype=np.int8))


def test_per_channel_activations_are_refused(net):
    network = net()
    scales, zeros = np.float32([0.1, 0.2, 0.3]), np.zeros(3, np.int8)
    q = network.add("QuantizeLinear", network.input((1, 3, 7, 7)), scales, zeros, axis=1)
    y = network.add("DequantizeLinear", q, scales, zeros, axis=1)
    with pytest.raises(UnsupportedOpError, match="per-channel quantization of an activation"):
        lower_to_tflite(network.model(y))
