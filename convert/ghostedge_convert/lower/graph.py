"""The ONNX graph as lowering sees it: nodes with plain attributes, values with static shapes.

Passes over it are functions from :class:`Graph` to :class:`Graph`. Shapes are in ONNX's axis
order throughout; :mod:`.layout` says how each value is laid out in TFLite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from ghostedge_convert.lower.program import Array, Quant, Shape
from ghostedge_runtime.errors import UnsupportedOpError

QUANTIZE = "QuantizeLinear"
DEQUANTIZE = "DequantizeLinear"


@dataclass(frozen=True)
class Value:
    """A tensor of the ONNX graph.

    Attributes:
        name: Its ONNX name.
        shape: Static, in ONNX's axis order.
        dtype: Element type as stored: int8 for a quantized value.
        quant: How stored integers stand for reals, if they do.
        data: Contents of a constant.
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    quant: Quant | None = None
    data: Array | None = None

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)


@dataclass(frozen=True)
class Node:
    """An operation of the ONNX graph.

    Attributes:
        op: ONNX op type.
        name: For messages; the first output's name where the model gives none.
        inputs: Value names, ``""`` for an absent optional input.
        outputs: Value names.
        attributes: Plain Python values; tensors as arrays.
        activation: TFLite activation that was fused into this node.
        integer: Whether it computes on quantized values.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    activation: str | None = None
    integer: bool = False

    def input(self, position: int) -> str | None:
        """The value at an input position, None where it is absent."""
        return (self.inputs[position] or None) if position < len(self.inputs) else None

    def refuse(self, what: str, remedy: str) -> NoReturn:
        """Raise the error for a form of this op that lowering does not cover."""
        raise UnsupportedOpError(what, where=f"node {self.name!r} ({self.op})", remedy=remedy)


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order and the values between them."""

    name: str
    nodes: tuple[Node, ...]
    values: Mapping[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read each value."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(n for n in node.inputs if n):
                readers.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """The node that makes each value."""
        return {name: node for node in self.nodes for name in node.outputs}

    def only_reader(self, name: str) -> Node | None:
        """The single node that reads a value, None if it has more uses or is a graph output."""
        readers = self.consumers.get(name, ())
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def constant(self, node: Node, position: int) -> Array | None:
        """The contents of a constant input, None where it is absent or computed."""
        name = node.input(position)
        return None if name is None else self.values[name].data

    def is_constant(self, name: str) -> bool:
        """Whether a value is known at conversion time."""
        return self.values[name].data is not None


def without_dead_nodes(graph: Graph) -> Graph:
    """Drop the nodes whose results nothing reads."""
    needed = set(graph.outputs)
    alive: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            alive.append(node)
            needed.update(node.inputs)
    return Graph(graph.name, tuple(reversed(alive)), graph.values, graph.inputs, graph.outputs)
