"""How much of a ``.tflite`` graph the interpreter's delegate took, read from its nodes.

TFLite keeps the file's operators as they are and appends a ``DELEGATE`` node for every piece that a
delegate took over, with the piece's outer tensors as its inputs and outputs. Walking back from a
delegate's outputs to its inputs finds the operators in between. An operator whose output nobody
reads is not found so; converters drop such operators.

Interpreters show their nodes through a private method alone; it is called here and nowhere else,
and where it is missing, what was delegated is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ghostedge_runtime.record import Delegation

_NONE = "none"
_DELEGATE = "DELEGATE"


@dataclass(frozen=True)
class Node:
    """An operator, or a delegate's piece of the graph: tensors by index."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def delegation_of(nodes: Sequence[Node], delegate: str = "XNNPACK") -> Delegation:
    """Count what a delegate took.

    Args:
        nodes: The file's operators in order, then the delegate's nodes.
        delegate: Its name; the nodes do not tell.
    """
    operators = [node for node in nodes if node.name != _DELEGATE]
    pieces = [node for node in nodes if node.name == _DELEGATE]
    taken = set[int]().union(*(_inside(piece, operators) for piece in pieces))
    left = Counter(op.name for index, op in enumerate(operators) if index not in taken)
    return Delegation(
        delegate=delegate if pieces else _NONE,
        ops=len(taken),
        ops_total=len(operators),
        partitions=len(pieces),
        left=dict(left.most_common()),
    )


def _inside(piece: Node, operators: Sequence[Node]) -> set[int]:
    """Places of the operators between a piece's inputs and its outputs."""
    producer = {tensor: index for index, op in enumerate(operators) for tensor in op.outputs}
    outer, inside = set(piece.inputs), set[int]()
    ahead = list(piece.outputs)
    while ahead:
        tensor = ahead.pop()
        index = producer.get(tensor)
        if index is None or index in inside or tensor in outer:
            continue
        inside.add(index)
        ahead.extend(operators[index].inputs)
    return inside


def interpreter_nodes(interpreter: Any) -> tuple[Node, ...] | None:
    """The nodes of a ready TFLite interpreter; None where it does not show them."""
    try:
        details = interpreter._get_ops_details()
        return tuple(
            Node(node["op_name"], _indices(node["inputs"]), _indices(node["outputs"]))
            for node in details
        )
    # Gone, of another form, or a tensor among them that it cannot describe.
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _indices(tensors: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(tensor) for tensor in tensors)
