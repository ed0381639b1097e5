"""QDQ models that ONNX Runtime's own quantizer made lower to integer graphs too."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_runtime.errors import UnsupportedOpError


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
