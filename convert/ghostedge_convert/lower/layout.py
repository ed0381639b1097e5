"""Axis order, decided once for the whole graph.

Values that an axis-blind op joins (elementwise, concat, pad, …) must share one order; they form a
component. A component that touches an op which TFLite knows in channels-last form only is
channels-last. Inner components that a Transpose or Reshape ties to such a one take the order that
makes this op free; every other keeps ONNX's order. Ops between components (Transpose, Reshape,
MatMul, …) compare the orders on both sides and mostly find nothing to move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ghostedge_convert.lower.graph import Graph, Node
from ghostedge_convert.lower.program import (
    CHANNELS_LAST,
    LINE,
    Array,
    Order,
    identity,
    memory,
    order_of,
)


class Rule(Enum):
    """What an op asks of the axis order of its tensors."""

    SAME = "all tensors of the output's rank share one order"
    CHANNELS_LAST = "image in and out, channels last"
    FREE = "input and output may differ"


@dataclass(frozen=True)
class Layouts:
    """The orders of a graph's values.

    Attributes:
        orders: Axis order of each value.
        features: For a flattened image that only constant matrices read: where each of its
            features is in ONNX's order (``tflite = onnx[:, features]``).
    """

    orders: Mapping[str, Order]
    features: Mapping[str, Array]


def decide_layouts(graph: Graph, rule_of: Callable[[Node], Rule]) -> Layouts:
    """Choose the axis order of every value.

    Args:
        graph: The graph.
        rule_of: The op table's rule for a node.
    """
    groups = _Groups()
    images: list[str] = []
    lines: list[str] = []
    for node in graph.nodes:
        rule = rule_of(node)
        if rule is Rule.FREE:
            continue
        rank = graph.values[node.outputs[0]].rank
        read = node.inputs if rule is Rule.SAME else node.inputs[:1]
        peers = [
            name
            for name in (*node.outputs, *(n for n in read if n and not graph.is_constant(n)))
            if name and graph.values[name].rank == rank
        ]
        for name in peers[1:]:
            groups.join(peers[0], name)
        if rule is Rule.CHANNELS_LAST and rank == len(CHANNELS_LAST):
            images.append(peers[0])
        elif rule is Rule.CHANNELS_LAST and rank == len(LINE):
            lines.append(peers[0])
    decided = {groups.find(n): identity(graph.values[n].rank) for n in _interface(graph)}
    decided.update((groups.find(name), CHANNELS_LAST) for name in images)
    for name in lines:
        decided.setdefault(groups.find(name), LINE)
    _follow(graph, groups, decided)
    orders = {
        name: decided.get(groups.find(name), identity(value.rank))
        for name, value in graph.values.items()
    }
    return Layouts(orders, _flattened_images(graph, orders))


class _Groups:
    """Union-find over value names."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        root = name
        while (above := self._parent.get(root, root)) != root:
            root = above
        self._parent[name] = root
        return root

    def join(self, a: str, b: str) -> None:
        self._parent[self.find(a)] = self.find(b)


def _interface(graph: Graph) -> tuple[str, ...]:
    """What callers see keeps ONNX's order unless an image op decides otherwise."""
    return (*graph.inputs, *graph.outputs)


def _follow(graph: Graph, groups: _Groups, decided: dict[str, Order]) -> None:
    """Give undecided components the order that makes the Transpose or Reshape beside them free."""
    moves = [n for n in graph.nodes if n.op == "Transpose" or n.op in _RESHAPES]
    for node in moves:
        source, target = groups.find(node.inputs[0]), groups.find(node.outputs[0])
        order = decided.get(source)
        if target not in decided and order is not None and order != identity(len(order)):
            free = _free_after(graph, node, order)
            decided.update({} if free is None else {target: free})
    for node in reversed(moves):
        source, target = groups.find(node.inputs[0]), groups.find(node.outputs[0])
        order = decided.get(target)
        if source not in decided and order is not None and order != identity(len(order)):
            free = _free_before(graph, node, order)
            decided.update({} if free is None else {source: free})


_RESHAPES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")


def permutation_of(graph: Graph, node: Node) -> Order:
    """The axes of a Transpose's input in the order of its output."""
    rank = graph.values[node.inputs[0]].rank
    return tuple(node.attributes.get("perm", reversed(range(rank))))


def _free_after(graph: Graph, node: Node, order: Order) -> Order | None:
    """The output order that moves nothing, given the input's."""
    if node.op == "Transpose":
        perm = permutation_of(graph, node)
        return tuple(perm.index(axis) for axis in order)
    old, new = (graph.values[n].shape for n in (node.inputs[0], node.outputs[0]))
    return order_of(new, memory(old, order))


def _free_before(graph: Graph, node: Node, order: Order) -> Order | None:
    """The input order that moves nothing, given the output's."""
    if node.op == "Transpose":
        perm = permutation_of(graph, node)
        return tuple(perm[axis] for axis in order)
    old, new = (graph.values[n].shape for n in (node.inputs[0], node.outputs[0]))
    return order_of(old, memory(new, order))


def _flattened_images(graph: Graph, orders: Mapping[str, Order]) -> dict[str, Array]:
    """Flattened channels-last images whose readers can take the features in any order.

    Permuting the rows of the constant matrices that read them saves the transpose.
    """
    features: dict[str, Array] = {}
    for node in graph.nodes:
        if node.op not in ("Flatten", "Reshape"):
            continue
        image, flat = graph.values[node.inputs[0]], graph.values[node.outputs[0]]
        order = orders[image.name]
        if order != CHANNELS_LAST or flat.shape != (image.shape[0], int(np.prod(image.shape[1:]))):
            continue
        readers = graph.consumers.get(flat.name, ())
        if flat.name in graph.outputs or not all(_is_linear(graph, r, flat.name) for r in readers):
            continue
        positions = np.arange(flat.shape[1]).reshape(image.shape[1:])
        features[flat.name] = positions.transpose([a - 1 for a in order[1:]]).reshape(-1)
    return features


def _is_linear(graph: Graph, node: Node, name: str) -> bool:
    if node.op not in ("Gemm", "MatMul") or node.attributes.get("transA", 0):
        return False
    weights = graph.values[node.inputs[1]]
    return node.inputs[0] == name and weights.data is not None and weights.rank == 2
