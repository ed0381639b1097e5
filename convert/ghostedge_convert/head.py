"""The end of a network: the op that makes its first output, and what its last layers are called."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

_PROBABILITIES = ("Sigmoid", "Softmax")
_KEEPS_VALUES = (
    *("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
    *("DequantizeLinear", "QuantizeLinear"),
)
_WITH_WEIGHTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_MOST_NODES = 12  # from the output back to the last layer with weights


@dataclass(frozen=True)
class Head:
    """The end of a network, seen from its first output.

    Attributes:
        op: What makes the output's values; None where the output is an input.
        output: The output's name.
        names: Of nodes, weights and tensors from there back to the last layer with weights.
    """

    op: str | None
    output: str
    names: tuple[str, ...]


def head_of(model: onnx.ModelProto) -> Head:
    """Look at the end of a network, float or quantized in the QDQ format."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    weights = {tensor.name for tensor in model.graph.initializer}
    output = model.graph.output[0].name
    op: str | None = None
    names: list[str] = []
    tensor = output
    for _ in range(_MOST_NODES):
        node = made_by.get(tensor)
        if node is None:
            break
        if op is None and node.op_type not in _KEEPS_VALUES:
            op = node.op_type
        names += [node.name, *(name for name in (*node.input, *node.output) if name in weights)]
        names += [name for name in node.output if name != output]
        if node.op_type in _WITH_WEIGHTS:
            break
        computed = [name for name in node.input if name and name not in weights]
        if not computed:
            break
        tensor = computed[0]
    return Head(op, output, tuple(dict.fromkeys(filter(None, names))))


def gives_probabilities(model: onnx.ModelProto) -> bool:
    """Whether a softmax or sigmoid makes the first output of a model."""
    return head_of(model).op in _PROBABILITIES
