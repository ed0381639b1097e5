"""Axis order, decided once for the whole graph.

Values that an axis-blind op joins (elementwise, concat, pad, …) must share one order; they form a
component. A component that touches an op which TFLite knows in channels-last form only is
channels-last, every other keeps ONNX's order. Ops between components (Transpose, Reshape, MatMul,
…) compare the orders on both sides and mostly find nothing to move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ghostedge_convert.lower.graph import Graph, Node
from ghostedge_convert.lower.words import CHANNELS_LAST, Array, Order, identity


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
    last = {groups.find(name) for name in images}
    orders = {
        name: CHANNELS_LAST if groups.find(name) in last else identity(value.rank)
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
