"""What cannot be read is refused with its place and what can be done."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_runtime.errors import ModelFileError, UnsupportedOpError


def refusal(model) -> UnsupportedOpError:
    with pytest.raises(UnsupportedOpError) as caught:
        lower_to_tflite(model)
    assert caught.value.remedy
    return caught.value


def test_an_op_of_another_domain_is_named():
    node = helper.make_node("Gelu", ["x"], ["y"], "gelu", domain="com.microsoft")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in "xy")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "g", [x], [y])
    error = refusal(helper.make_model(graph, opset_imports=opsets))
    assert "com.microsoft" in str(error)
    assert "'gelu'" in str(error)


@pytest.mark.parametrize("shape", [("batch", 3, 8, 8), (None, 3, 8, 8)])
def test_a_dynamic_dimension_is_named_with_its_axis(shape):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(ModelFileError, match="dimension 0 is dynamic"):
        lower_to_tflite(model)


def test_an_old_operator_set_is_refused_with_a_way_out(net):
    network = net()
    model = network.model(network.add("Relu", network.input((1, 4))), opset=11)
    with pytest.raises(ModelFileError, match="older than 13") as caught:
        lower_to_tflite(model)
    assert "version_converter" in str(caught.value.remedy)


def test_shapes_that_contradict_each_other_are_refused(net):
    network = net()
    y = network.add("Add", network.input((1, 4)), np.ones((1, 3), np.float32))
    with pytest.raises(ModelFileError, match="contradict"):
        lower_to_tflite(network.model(y))


def test_random_numbers_are_not_folded_into_constants(net):
    network = net()
    y = network.add("Add", network.input((1, 4)), network.add("RandomNormal", shape=[1, 4]))
    assert "RandomNormal" in str(refusal(network.model(y)))


def test_shapes_computed_from_static_shapes_are_no_hindrance(net, agree):
    """Exporters write Shape → Gather → Concat → Reshape; with static shapes it is a constant."""
    network = net()
    x = network.input((2, 3, 4))
    batch = network.add("Gather", network.add("Shape", x), np.asarray([0], np.int64))
    shape = network.add("Concat", batch, np.asarray([-1], np.int64), axis=0)
    model = network.model(network.add("Reshape", x, shape))
    assert agree(model, network.feeds(0)) == {"RESHAPE": 1}
