"""The parts of a network that are float or int8 as a whole: what lies between two cuts.

A cut is where one tensor alone connects what comes before with what comes after, so that changing
the precision there costs one conversion of one tensor. A block with a shortcut is one part, a chain
of convolutions one part each; where there are too many to be tried one by one, the cheapest
neighbours are joined.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from ghostedge.records.recipe import common_start

MOST_SEGMENTS = 24


@dataclass(frozen=True)
class Segment:
    """A part of the network.

    Attributes:
        layers: Names of its layers with weights, in graph order; at least one.
    """

    layers: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its layers' names have in common up to a dot or slash, else its first layer's."""
        common = common_start(self.layers) if len(self.layers) > 1 else ""
        end = max(common.rfind("."), common.rfind("/"))
        return common[:end] if end > 0 else self.layers[0]


def segments_of(
    model: onnx.ModelProto, layers: Collection[str], prices: Mapping[str, float]
) -> tuple[Segment, ...]:
    """Cut a network where one tensor connects two parts.

    Args:
        model: The float graph.
        layers: Names of its nodes that can be left float.
        prices: What each of them costs, in any unit; it only chooses which parts are joined.

    Returns:
        At most `MOST_SEGMENTS` parts that hold every layer once, in graph order.
    """
    parts = [part for part in _parts(model.graph, layers) if part]
    while len(parts) > MOST_SEGMENTS:
        costs = [sum(prices.get(layer, 0.0) for layer in part) for part in parts]
        pairs = [costs[at] + costs[at + 1] for at in range(len(parts) - 1)]
        at = pairs.index(min(pairs))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return tuple(Segment(tuple(part)) for part in parts)


def _parts(graph: onnx.GraphProto, layers: Collection[str]) -> Iterator[list[str]]:
    """The layers between cuts, in graph order; nodes stand in topological order in ONNX."""
    last_use = _last_uses(graph)
    live = {value.name for value in graph.input if value.name in last_use}
    part = list[str]()
    for place, node in enumerate(graph.node):
        if node.name in layers:
            part.append(node.name)
        computed = any(name in live for name in node.input)
        live |= {name for name in node.output if last_use.get(name, -1) > place and computed}
        live = {name for name in live if last_use[name] > place}
        if len(live) == 1:
            yield part
            part = []
    yield part


def _last_uses(graph: onnx.GraphProto) -> dict[str, int]:
    """Tensor → place of the last node that reads it, behind all nodes for outputs; no weights."""
    weights = {tensor.name for tensor in graph.initializer}
    uses = {
        name: place
        for place, node in enumerate(graph.node)
        for name in node.input
        if name and name not in weights
    }
    return uses | {value.name: len(graph.node) for value in graph.output}


def layers_of(segments: Sequence[Segment], chosen: Collection[int]) -> tuple[str, ...]:
    """The layers of the segments of these indices, in graph order."""
    return tuple(layer for index in sorted(chosen) for layer in segments[index].layers)
