"""QDQ graphs become integer graphs that agree with ONNX Runtime, other quantizers' too."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_runtime.errors import UnsupportedOpError

SCALE, ZERO = 0.027, 5


def quantized_input(network, shape, name="x", scale=SCALE, zero=ZERO):
    return network.pair(network.input(shape, name), scale, zero)


def finish(network, y, seed, agree, steps=1):
    """Quantize the result, compare, and return the operators used."""
    q = network.quantized_result(y, seed)
    return agree(network.model(q, dtype=np.int8), network.feeds(seed), steps=steps)


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


class Samples(CalibrationDataReader):
    """Random inputs for calibration."""

    def __init__(self, network):
        self._feeds = iter([network.feeds(seed) for seed in range(8)])

    def get_next(self):
        return next(self._feeds, None)


def block(net):
    """A ghost module, its gate and a classifier."""
    rng = np.random.default_rng(0)

    def weights(*shape):
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    network = net()
    x = network.add("Conv", network.input((1, 3, 9, 9)), weights(12, 3, 3, 3), weights(12))
    x = network.add("Relu", x)
    y = network.add("Conv", x, weights(12, 1, 3, 3), weights(12), group=12, pads=[1] * 4)
    x = network.add("Concat", x, y, axis=1)
    gate = network.add("Conv", network.add("GlobalAveragePool", x), weights(24, 24, 1, 1))
    x = network.add("Mul", x, network.add("Sigmoid", gate))
    x = network.add("Flatten", network.add("GlobalAveragePool", x))
    return network, network.add("Gemm", x, weights(10, 24), weights(10), transB=1)


def quantized(net, folder, activations, weights):
    network, y = block(net)
    onnx.save(network.model(y), folder / "float.onnx")
    quantize_static(
        folder / "float.onnx",
        folder / "int8.onnx",
        Samples(network),
        quant_format=QuantFormat.QDQ,
        per_channel=weights == QuantType.QInt8,
        activation_type=activations,
        weight_type=weights,
    )
    return network, onnx.load(folder / "int8.onnx")


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


@pytest.mark.parametrize("activations", [QuantType.QInt8, QuantType.QUInt8])
def test_the_quantizer_of_onnx_runtime(net, agree, tmp_path, activations):
    network, model = quantized(net, tmp_path, activations, QuantType.QInt8)
    found = agree(model, network.feeds(3), tolerance=0.05)
    assert found["DEQUANTIZE"] == 1
    assert found["CONV_2D"] + found["DEPTHWISE_CONV_2D"] == 3


def test_asymmetric_weights_are_refused(net, tmp_path):
    _, model = quantized(net, tmp_path, QuantType.QUInt8, QuantType.QUInt8)
    with pytest.raises(UnsupportedOpError, match="zero point"):
        lower_to_tflite(model)
