"""What the op table has, and how an op or an attribute outside it is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_convert.lower.table import ROWS, TABLE, register
from ghostedge_runtime.errors import UnsupportedOpError

REQUIRED = {
    "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "Div", "Flatten",
    "Gemm", "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity", "MatMul", "MaxPool",
    "Mul", "Pad", "ReduceMean", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Softmax",
    "Split", "Squeeze", "Sub", "Transpose", "Unsqueeze",
}  # fmt: skip
REFUSED = {
    "3 axes in space": ("Conv", (1, 2, 9, 9, 9), (np.ones((2, 2, 3, 3, 3), np.float32),), {}),
    "negative pads": ("Pad", (1, 4), (np.asarray([0, -1, 0, 0]),), {}),
    "Indices": ("MaxPool", (1, 2, 8, 8), (), {"kernel_shape": [2, 2], "outputs": 2}),
}


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
