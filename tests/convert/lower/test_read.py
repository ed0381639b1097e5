"""What cannot be lowered is refused with the node, the op and what can be done."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_convert.lower.table import ROWS, TABLE, register
from ghostedge_runtime.errors import ModelFileError, UnsupportedOpError

REQUIRED = {
    "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "Div", "Flatten",
    "Gemm", "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity", "MatMul", "MaxPool",
    "Mul", "Pad", "ReduceMean", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Softmax",
    "Split", "Squeeze", "Sub", "Transpose", "Unsqueeze",
}  # fmt: skip


def refusal(model) -> UnsupportedOpError:
    with pytest.raises(UnsupportedOpError) as caught:
        lower_to_tflite(model)
    assert caught.value.remedy
    return caught.value


def test_the_table_covers_what_classifiers_use():
    assert set(TABLE) >= REQUIRED


def test_a_second_row_for_an_op_is_refused():
    with pytest.raises(ValueError, match="Conv has two rows"):
        register([*ROWS, next(row for row in ROWS if row.op == "Conv")])


def test_an_op_outside_the_table_is_named(net):
    network = net()
    error = refusal(network.model(network.add("Atan", network.input((1, 4)))))
    assert "'Atan0'" in str(error)
    assert "'Atan'" in str(error)
    assert "Sigmoid" in str(error.remedy)


def test_an_attribute_outside_the_table_is_named(net):
    network = net()
    y = network.add("MaxPool", network.input((1, 2, 8, 8)), kernel_shape=[2, 2], dilations=[2, 2])
    assert "dilations" in str(refusal(network.model(y)))


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


REFUSED = {
    "3 axes in space": ("Conv", (1, 2, 9, 9, 9), (np.ones((2, 2, 3, 3, 3), np.float32),), {}),
    "negative pads": ("Pad", (1, 4), (np.asarray([0, -1, 0, 0]),), {}),
    "Indices": ("MaxPool", (1, 2, 8, 8), (), {"kernel_shape": [2, 2], "outputs": 2}),
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_form_without_equal_in_tflite_is_refused(net, words):
    op, shape, operands, attributes = REFUSED[words]
    network = net()
    y = network.add(op, network.input(shape), *operands, **attributes)
    outputs = (y,) if isinstance(y, str) else y[:1]
    model = network.model(*outputs)
    error = refusal(model)
    assert words in str(error)
    assert op in str(error.where)


def test_other_number_types_are_refused():
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT16, [1, 4]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "half")], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    error = refusal(model)
    assert "float16" in str(error)
    assert "'half'" in str(error)


def test_shapes_that_contradict_each_other_are_refused(net):
    network = net()
    y = network.add("Add", network.input((1, 4)), np.ones((1, 3), np.float32))
    with pytest.raises(ModelFileError, match="contradict"):
        lower_to_tflite(network.model(y))


def test_random_numbers_are_not_folded_into_constants(net):
    network = net()
    y = network.add("Add", network.input((1, 4)), network.add("RandomNormal", shape=[1, 4]))
    assert "RandomNormal" in str(refusal(network.model(y)))


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


def test_shapes_computed_from_static_shapes_are_no_hindrance(net, agree):
    """Exporters write Shape → Gather → Concat → Reshape; with static shapes it is a constant."""
    network = net()
    x = network.input((2, 3, 4))
    batch = network.add("Gather", network.add("Shape", x), np.asarray([0], np.int64))
    shape = network.add("Concat", batch, np.asarray([-1], np.int64), axis=0)
    model = network.model(network.add("Reshape", x, shape))
    assert agree(model, network.feeds(0)) == {"RESHAPE": 1}
