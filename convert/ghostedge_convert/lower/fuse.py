"""Nodes that TFLite computes inside a neighbour, or not at all.

Graph edits, all exact: a clamp in front of a QuantizeLinear that clamps at least as hard is
dropped, a clamp that alone reads an op's result moves into that op, in float and in int8, and a
group norm in its parts becomes one node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ghostedge_convert.lower.graph import (
    DEQUANTIZE,
    QUANTIZE,
    Graph,
    Node,
    Value,
    without_dead_nodes,
)

FUSABLE = {(0.0, np.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}
"""Clamps that TFLite knows as activations, by their bounds."""

_CLAMPS = ("Relu", "Clip")
_HALF_STEP = 0.5


def bounds(graph: Graph, node: Node) -> tuple[float, float]:
    """Lower and upper bound of a Relu or Clip, infinite where it has none.

    Raises:
        UnsupportedOpError: A bound of the Clip is computed by the graph.
    """
    if node.op == "Relu":
        return 0.0, float("inf")
    limits = [-float("inf"), float("inf")]
    for position in (1, 2):
        if node.input(position) is None:
            continue
        limit = graph.constant(node, position)
        if limit is None:
            node.refuse(
                "its bounds are computed by the graph",
                "make min and max constants before lowering",
            )
        limits[position - 1] = float(limit.reshape(-1)[0])
    return limits[0], limits[1]


def drop_implied_clamps(graph: Graph) -> Graph:
    """Drop clamps that the quantization after them repeats.

    A quantized value cannot leave [(qmin - zp) * scale, (qmax - zp) * scale]; where that range
    lies inside the clamp's, the clamp changes nothing.
    """
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op in _CLAMPS and _is_implied(graph, node):
            source = node.inputs[0]
            renamed[node.outputs[0]] = renamed.get(source, source)
            continue
        nodes.append(replace(node, inputs=tuple(renamed.get(n, n) for n in node.inputs)))
    return replace(graph, nodes=tuple(nodes))


def _is_implied(graph: Graph, node: Node) -> bool:
    readers = graph.consumers.get(node.outputs[0], ())
    if not readers or node.outputs[0] in graph.outputs:
        return False
    low, high = bounds(graph, node)
    return all(r.op == QUANTIZE and _stays_within(graph, r, low, high) for r in readers)


def _stays_within(graph: Graph, quantize: Node, low: float, high: float) -> bool:
    scale = graph.constant(quantize, 1)
    if scale is None or scale.size != 1:
        return False
    zero = graph.constant(quantize, 2)
    dtype = graph.values[quantize.outputs[0]].dtype
    limits = np.iinfo(dtype)
    zero_point = 0 if zero is None else int(zero.reshape(-1)[0])
    step = float(scale.reshape(-1)[0])
    # Half a step: a bound between two grid points still rounds onto the outermost one.
    return (limits.min - zero_point) * step >= low - step * _HALF_STEP * (1 - 1e-6) and (
        limits.max - zero_point
    ) * step <= high + step * _HALF_STEP * (1 - 1e-6)


def fuse_activations(graph: Graph, takes_activation: Callable[[Node], bool]) -> Graph:
    """Move Relu, Clip(0, 6) and Clip(-1, 1) into the op before them.

    Args:
        graph: The graph.
        takes_activation: Whether the op table gives a node's op a fused activation.
    """
    fused: dict[str, Node] = {}
    gone: set[str] = set()
    for node in graph.nodes:
        producer = graph.producers.get(node.inputs[0]) if node.op in _CLAMPS else None
        if producer is None or not takes_activation(producer):
            continue
        activation = FUSABLE.get(bounds(graph, node))
        if activation is None or graph.only_reader(node.inputs[0]) is None:
            continue
        fused[producer.outputs[0]] = replace(producer, activation=activation, outputs=node.outputs)
        gone.add(node.outputs[0])
    remaining = (n for n in graph.nodes if n.outputs[0] not in gone)
    return replace(graph, nodes=tuple(fused.get(n.outputs[0], n) for n in remaining))


def fuse_integer_clamps(graph: Graph, takes_activation: Callable[[Node], bool]) -> Graph:
    """Move a Relu or Clip between two pairs into the op that wrote the integers it clamps.

    Quantizers that want symmetric activations, or do not know the fusion, put a pair between a conv
    and its Relu. LiteRT has an integer RELU, but XNNPACK has none. The fused activation clamps at
    the same integer, so the conv may do it; where the second pair has other parameters, a QUANTIZE
    follows.

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


def join_group_norms(graph: Graph) -> Graph:
    """An instance norm of groups, between two Reshapes, becomes a GroupNormalization.

    PyTorch exports group norms so. As one node it leaves a channels-last image where it is. In an
    int8 graph the first Reshape moves integers; then the image is dequantized in its own shape.
    """
    values = dict(graph.values)
    nodes: list[Node] = []
    for node in graph.nodes:
        parts = _group_norm_parts(graph, node)
        if parts is None:
            nodes.append(node)
            continue
        source, dequantize, norm = parts
        image = values[source]
        if dequantize is not None:
            name = f"{dequantize.outputs[0]}/image"
            values[name] = Value(name, image.shape, np.dtype(np.float32))
            nodes.append(replace(dequantize, inputs=(source,), outputs=(name,)))
            source = name
        groups = graph.values[norm.inputs[0]].shape[1]
        attributes = {**norm.attributes, "num_groups": groups}
        inputs = (source, *norm.inputs[1:])
        nodes.append(Node("GroupNormalization", norm.name, inputs, node.outputs, attributes))
    return without_dead_nodes(replace(graph, nodes=tuple(nodes), values=values))


def _group_norm_parts(graph: Graph, node: Node) -> tuple[str, Node | None, Node] | None:
    """What a Reshape ends: the image, the node that dequantizes it if any, the instance norm."""
    norm = graph.producers.get(node.inputs[0]) if node.op == "Reshape" else None
    if norm is None or norm.op != "InstanceNormalization":
        return None
    before = graph.producers.get(norm.inputs[0])
    dequantize = before if before is not None and before.op == DEQUANTIZE else None
    if dequantize is not None:
        before = graph.producers.get(dequantize.inputs[0])
    if before is None or before.op != "Reshape" or graph.only_reader(norm.outputs[0]) is None:
        return None
    image, grouped = (graph.values[n.inputs[0]].shape for n in (before, norm))
    same = graph.values[node.outputs[0]].shape == image and image[0] == grouped[0]
    whole = len(image) > 1 and image[1] % grouped[1] == 0
    return (before.inputs[0], dequantize, norm) if same and whole else None
