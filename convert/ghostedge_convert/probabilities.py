"""Whether a network ends in probabilities, so that nobody takes their softmax again."""

from __future__ import annotations

import onnx

_ENDS = ("Sigmoid", "Softmax")
_KEEPS_VALUES = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")


def gives_probabilities(model: onnx.ModelProto) -> bool:
    """Whether a softmax or sigmoid makes the first output of a model."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    node = made_by.get(model.graph.output[0].name)
    while node is not None and node.op_type in _KEEPS_VALUES:
        node = made_by.get(node.input[0])
    return node is not None and node.op_type in _ENDS
