"""A Relu or Clip between two pairs moves into the op that wrote the integers it clamps.

Quantizers that want symmetric activations, or do not know the fusion, put a pair between a conv and
its Relu. LiteRT has an integer RELU, but XNNPACK has none. The fused activation clamps at the same
integer, so the conv may do it; where the second pair has other parameters, a QUANTIZE follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ghostedge_convert.lower.fuse import FUSABLE, bounds
from ghostedge_convert.lower.graph import QUANTIZE, Graph, Node

_CLAMPS = ("Relu", "Clip")


def fuse_integer_clamps(graph: Graph, takes_activation: Callable[[Node], bool]) -> Graph:
    """Move integer clamps into their producers.

    Args:
        graph: The graph, quantization already folded.
        takes_activation: Whether the op table gives a node's op a fused activation.
    """
    clamping: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        activation = _activation(graph, node, takes_activation)
        if activation is None:
            nodes.append(node)
            continue
        source, target = node.inputs[0], node.outputs[0]
        clamping[source] = activation
        same = graph.values[source].quant == graph.values[target].quant
        op = "Identity" if same else QUANTIZE
        nodes.append(Node(op, node.name, (source,), (target,), integer=same))
    fused = (
        replace(n, activation=clamping[n.outputs[0]]) if n.outputs[0] in clamping else n
        for n in nodes
    )
    return replace(graph, nodes=tuple(fused))


def _activation(graph: Graph, node: Node, takes_activation: Callable[[Node], bool]) -> str | None:
    """What the producer of a clamp's integers could do in its place."""
    if node.op not in _CLAMPS or not node.integer:
        return None
    producer = graph.producers.get(node.inputs[0])
    if producer is None or not producer.integer or producer.activation is not None:
        return None
    if not takes_activation(producer) or graph.only_reader(node.inputs[0]) is None:
        return None
    return FUSABLE.get(bounds(graph, node))
