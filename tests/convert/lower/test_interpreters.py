"""The files load and compute the same in the three interpreters that devices have.

ai-edge-litert 2.x is in the test environment. TensorFlow's interpreter comes with the extra
``keras``. tflite-runtime 2.14 needs numpy 1 and Python 3.11 at most, so it lives in an environment
of its own whose interpreter ``GHOSTEDGE_TFLITE_RUNTIME_PYTHON`` names.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from onnx import TensorProto

from ghostedge_convert.lower import lower_to_tflite

SCRIPT = """
import sys
import numpy as np
if sys.argv[1] == "tflite_runtime":
    from tflite_runtime.interpreter import Interpreter
elif sys.argv[1] == "tensorflow":
    from tensorflow.lite.python.interpreter import Interpreter
else:
    from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[2])
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.load(sys.argv[3]))
interpreter.invoke()
np.save(sys.argv[4], interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
"""


def python_with(package):
    """The Python that has an interpreter package, else skip saying what is missing."""
    if package == "tflite_runtime":
        python = os.environ.get("GHOSTEDGE_TFLITE_RUNTIME_PYTHON")
        return python or pytest.skip(
            "needs tflite-runtime 2.14: set GHOSTEDGE_TFLITE_RUNTIME_PYTHON to a Python that has it"
        )
    if find_spec(package) is None:
        pytest.skip(f"needs {package} (pip install 'ghostedge[keras]')")
    return sys.executable


def as_float32(network, weights):
    return weights


def as_float16(network, weights):
    return network.add("Cast", weights.astype(np.float16), to=TensorProto.FLOAT)


def as_int8(network, weights):
    scale = np.abs(weights).max(axis=(*range(1, weights.ndim),), keepdims=True) / 127
    steps = network.add("Cast", np.rint(weights / scale).astype(np.int8), to=TensorProto.FLOAT)
    return network.add("Mul", steps, scale)


def ghost_network(net, store=as_float32):
    """A float network with every op of a GhostNet block: ghost module, gate, shortcut, head."""
    rng = np.random.default_rng(0)

    def weights(*shape):
        normal = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return store(network, normal.astype(np.float32))

    network = net()
    x = network.input((1, 3, 16, 16))
    conv = {"pads": [1] * 4, "strides": [2, 2]}
    x = network.add("Relu", network.add("Conv", x, weights(8, 3, 3, 3), **conv))
    cheap = network.add("Conv", x, weights(8, 1, 3, 3), pads=[1] * 4, group=8)
    x = network.add("Concat", x, network.add("Relu", cheap), axis=1)
    pooled = network.add("GlobalAveragePool", x)
    gate = network.add("Conv", pooled, weights(16, 16, 1, 1), np.full(16, 3, np.float32))
    x = network.add("Mul", x, network.add("Clip", gate, np.float32(0), np.float32(6)))
    short = network.add("Conv", x, weights(16, 1, 3, 3), group=16, **conv)
    x = network.add("Add", network.add("Conv", x, weights(16, 16, 1, 1), strides=[2, 2]), short)
    x = network.add("Flatten", network.add("GlobalAveragePool", x))
    return network, network.add("Gemm", x, weights(10, 16), np.ones(10, np.float32), transB=1)


def float16_network(net):
    """The same with its weights stored as float16."""
    return ghost_network(net, as_float16)


def dynamic_network(net):
    """The same with its weights stored as int8."""
    return ghost_network(net, as_int8)


def int8_network(net):
    """uint8 pixels, a convolution, a depthwise one, a concat, a mean, a classifier, float out."""
    network = net()
    image = network.input((1, 16, 16, 3), "image", np.uint8)
    pixels = network.real(network.add("Transpose", image, perm=[0, 3, 1, 2]), 1 / 255, 0, np.uint8)
    x = network.pair(pixels, 1 / 255, -128)
    weights, scales = network.weights((8, 3, 3, 3), 1)
    bias = network.bias(scales, 1 / 255, 1)
    x = network.add("Conv", x, weights, bias, strides=[2, 2], pads=[1] * 4)
    x = network.pair(network.add("Relu", x), 0.03, -128)
    weights, scales = network.weights((8, 1, 3, 3), 2)
    y = network.add("Conv", x, weights, network.bias(scales, 0.03, 2), group=8, pads=[1] * 4)
    y = network.pair(network.add("Relu", y), 0.03, -128)
    x = network.pair(network.add("Concat", x, y, axis=1), 0.03, -128)
    x = network.pair(network.add("Mul", x, x), 0.05, -128)
    x = network.pair(network.add("GlobalAveragePool", x), 0.03, -128)
    x = network.pair(network.add("Flatten", x), 0.03, -128)
    weights, scales = network.weights((10, 16), 3)
    x = network.add("Gemm", x, weights, network.bias(scales, 0.03, 3), transB=1)
    return network, network.pair(x, 0.1, 0)


@pytest.mark.parametrize("package", ["ai_edge_litert", "tensorflow", "tflite_runtime"])
@pytest.mark.parametrize("build", [ghost_network, float16_network, dynamic_network, int8_network])
def test_an_interpreter_agrees_with_onnx_runtime(net, run_onnx, tmp_path, package, build):
    """Float to rounding; int8 within two output steps of 0.1 after five layers."""
    tolerance = 0.201 if build is int8_network else 1e-5
    python = python_with(package)
    network, y = build(net)
    model = network.model(y)
    feeds = network.feeds(0)
    lowered = lower_to_tflite(model)
    ((name, value),) = feeds.items()
    (tmp_path / "net.tflite").write_bytes(lowered.data)
    np.save(tmp_path / "x.npy", value.transpose(lowered.input_layouts[name]))
    files = [str(tmp_path / name) for name in ("net.tflite", "x.npy", "y.npy")]
    done = subprocess.run(
        [python, "-c", SCRIPT, package, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wanted,) = run_onnx(model, feeds)
    assert np.ptp(wanted) > 1
    np.testing.assert_allclose(np.load(files[2]), wanted, rtol=0, atol=tolerance)
