"""What no op can be lowered from is refused with the node, the op and what can be done."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_runtime.errors import UnsupportedOpError


def refusal(model) -> UnsupportedOpError:
    with pytest.raises(UnsupportedOpError) as caught:
        lower_to_tflite(model)
    assert caught.value.remedy
    return caught.value


def test_other_number_types_are_refused():
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT16, [1, 4]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "half")], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    error = refusal(model)
    assert "float16" in str(error)
    assert "'half'" in str(error)


def test_an_image_that_is_a_constant_is_refused(net):
    network = net()
    image = network.add("DequantizeLinear", np.ones((1, 2, 4, 4), np.int8), np.float32(1))
    y = network.add("Conv", image, np.ones((2, 2, 1, 1), np.float32))
    z = network.add("Add", network.input((1, 2, 4, 4)), y)
    assert "fold constants" in str(refusal(network.model(z)).remedy)


def test_weights_that_the_graph_computes_are_refused(net):
    network = net()
    weights = network.input((2, 2, 1, 1), "w")
    y = network.add("Conv", network.input((1, 2, 4, 4)), weights)
    assert "weights are computed" in str(refusal(network.model(y)))
