"""What makes a network's first output, and what its last layers are called."""

from __future__ import annotations

import onnx
import onnx.parser
import pytest

from ghostedge_convert import gives_probabilities, head_of


def network(tail: str) -> onnx.ModelProto:
    """A dense layer of four features and what follows it."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> '
        f"g (float[1, 4] x) => (float y) <float[4, 2] w = {{1,2,3,4,5,6,7,8}}> "
        f"{{ before = Relu(x) d = MatMul(before, w) {tail} }}"
    )
    for node in model.graph.node:
        node.name = f"{node.output[0]}_node"
    return model


@pytest.mark.parametrize(
    ("tail", "op", "probabilities"),
    [
        ("y = Softmax(d)", "Softmax", True),
        ("s = Sigmoid(d) y = Identity(s)", "Sigmoid", True),
        ("s = Softmax(d) y = Neg(s)", "Neg", False),
        ("y = Identity(d)", "MatMul", False),
    ],
)
def test_the_op_that_makes_the_values_is_found_behind_those_that_keep_them(tail, op, probabilities):
    assert head_of(network(tail)).op == op
    assert gives_probabilities(network(tail)) == probabilities


def test_names_reach_back_to_the_last_layer_with_weights_and_no_further():
    head = head_of(network("s = Softmax(d) y = Identity(s)"))
    assert head.output == "y"
    assert head.names == ("y_node", "s_node", "s", "d_node", "w", "d")
