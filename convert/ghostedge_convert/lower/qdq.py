"""QuantizeLinear / DequantizeLinear pairs become quantization parameters of tensors.

A node whose inputs all come from DequantizeLinear and whose outputs all go to QuantizeLinear
computes on integers; the pairs around it disappear. What is left of the pairs afterwards marks a
border between integer and float and stays as QUANTIZE or DEQUANTIZE.

TFLite computes in int8 only. uint8 activations of other quantizers become int8 by moving values
and zero points by 128; a uint8 graph input keeps its type and is converted once, behind whatever
only moves its pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from ghostedge_convert.lower.program import Array, Quant

MOVERS = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherND",
        "Identity",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops that only move elements, so that integers pass through them with their parameters."""

_RANKING = frozenset({"ArgMax", "ArgMin"})
"""Ops that only compare the elements of their input: integers compare as their reals do."""

_UINT8_SHIFT = 128
_INT8 = np.dtype(np.int8)
_UINT8 = np.dtype(np.uint8)


def fold_quantization(graph: Graph, can_be_integer: Callable[[Graph, Node], bool]) -> Graph:
    """Fold the pairs of a QDQ graph; a float graph comes back as it was.

    Args:
        graph: The graph, activations already fused.
        can_be_integer: Whether the op table has an integer form for a node.

    Raises:
        UnsupportedOpError: A pair is of a kind that TFLite int8 cannot express.
    """
    if not any(node.op in (QUANTIZE, DEQUANTIZE) for node in graph.nodes):
        return graph
    graph = _fold_constants(graph)
    graph = _annotate(graph)
    graph = _enter_int8(graph)
    graph = _make_integer(graph, can_be_integer)
    return without_dead_nodes(_join_pairs(graph))


def _parameters(graph: Graph, node: Node, dtype: np.dtype[np.generic]) -> Quant:
    """The quantization that a Q or DQ node states, for its integer side."""
    scale, zero = graph.constant(node, 1), graph.constant(node, 2)
    if scale is None or (node.input(2) is not None and zero is None):
        node.refuse("its scale or zero point is computed", "use a statically quantized model")
    if node.attributes.get("block_size", 0):
        node.refuse("blockwise quantization", "quantize per tensor or per channel")
    if dtype.name not in ("int8", "uint8", "int32"):
        node.refuse(f"quantization to {dtype.name}", "quantize to int8")
    scales = tuple(float(s) for s in scale.reshape(-1))
    zeros = (0,) * len(scales) if zero is None else tuple(int(z) for z in zero.reshape(-1))
    rank = graph.values[node.inputs[0]].rank
    axis = int(node.attributes.get("axis", 1)) % rank if len(scales) > 1 else 0
    return Quant(scales, zeros, axis)


def _fold_constants(graph: Graph) -> Graph:
    """DequantizeLinear of a constant becomes a constant of its output's name."""
    values = dict(graph.values)
    nodes: list[Node] = []
    for node in graph.nodes:
        name, source = node.outputs[0], values[node.inputs[0]]
        if node.op == DEQUANTIZE and source.data is not None:
            stored, quant = _as_int8(source.data, _parameters(graph, node, source.dtype))
            values[name] = Value(name, stored.shape, stored.dtype, quant, stored)
        elif node.op == "Transpose" and source.data is not None and source.quant is not None:
            perm = tuple(node.attributes.get("perm", reversed(range(source.rank))))
            stored = source.data.transpose(perm)
            quant = replace(source.quant, axis=perm.index(source.quant.axis))
            values[name] = Value(name, stored.shape, stored.dtype, quant, stored)
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes), values=values)


def _as_int8(stored: Array, quant: Quant) -> tuple[Array, Quant]:
    if stored.dtype != _UINT8:
        return stored, quant
    shifted = (stored.astype(np.int16) - _UINT8_SHIFT).astype(np.int8)
    return shifted, _shifted(quant)


def _shifted(quant: Quant) -> Quant:
    return replace(quant, zero_points=tuple(z - _UINT8_SHIFT for z in quant.zero_points))


def _annotate(graph: Graph) -> Graph:
    """Give every integer activation its parameters, also across ops that only move elements."""
    quants: dict[str, Quant] = {}
    for node in graph.nodes:
        if node.op == QUANTIZE:
            name = node.outputs[0]
            quants[name] = _activation_parameters(graph, node, name)
        elif node.op == DEQUANTIZE:
            name = node.inputs[0]
            quants[name] = _activation_parameters(graph, node, name)
    for node in reversed(graph.nodes):
        if node.op in MOVERS and node.outputs[0] in quants:
            quants.setdefault(node.inputs[0], quants[node.outputs[0]])
    for node in graph.nodes:
        if node.op in MOVERS and node.inputs[0] in quants:
            for name in node.outputs:
                quants.setdefault(name, quants[node.inputs[0]])
    values = {n: replace(v, quant=quants.get(n, v.quant)) for n, v in graph.values.items()}
    return replace(graph, values=values)


def _activation_parameters(graph: Graph, node: Node, name: str) -> Quant:
    quant = _parameters(graph, node, graph.values[name].dtype)
    if not quant.per_tensor:
        node.refuse("per-channel quantization of an activation", "quantize activations per tensor")
    return quant


def _enter_int8(graph: Graph) -> Graph:
    """Turn uint8 activations into int8; those still in the caller's bytes get one QUANTIZE."""
    raw = _raw_pixels(graph)
    values = dict(graph.values)
    for name, value in graph.values.items():
        if value.dtype == _UINT8 and value.quant is not None and value.data is None:
            if name in graph.outputs and name not in raw:
                graph.producers[name].refuse(
                    f"the graph output {name!r} is uint8", "end the model with int8 or float32"
                )
            if name not in raw:
                values[name] = replace(value, dtype=_INT8, quant=_shifted(value.quant))
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op == DEQUANTIZE and node.inputs[0] in raw:
            source = values[node.inputs[0]]
            name = f"{node.outputs[0]}/int8"
            quant = _shifted(_activation_parameters(graph, node, source.name))
            values[name] = Value(name, source.shape, _INT8, quant)
            nodes.append(Node(QUANTIZE, name, (source.name,), (name,)))
            node = replace(node, inputs=(name, *node.inputs[1:]))  # noqa: PLW2901 - rewired
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), values=values)


def _raw_pixels(graph: Graph) -> set[str]:
    """uint8 graph inputs and what moving their elements makes of them."""
    raw = {name for name in graph.inputs if graph.values[name].dtype == _UINT8}
    for node in graph.nodes:
        if node.op in MOVERS and node.inputs[0] in raw:
            raw.update(node.outputs)
    return raw


def _make_integer(graph: Graph, can_be_integer: Callable[[Graph, Node], bool]) -> Graph:
    """Let eligible nodes read and write the integer side of their pairs."""
    into = {n.outputs[0]: n.inputs[0] for n in graph.nodes if n.op == DEQUANTIZE}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op in (QUANTIZE, DEQUANTIZE):
            nodes.append(node)
        elif node.op in _RANKING:
            nodes.append(replace(node, inputs=tuple(into.get(name, name) for name in node.inputs)))
        elif graph.values[node.outputs[0]].quant is not None:
            nodes.append(replace(node, integer=True))
        else:
            out = _integer_outputs(graph, node)
            ready = out is not None and _reads_integers(graph, node, into)
            if out is not None and ready and can_be_integer(graph, node):
                inputs = tuple(into.get(name, name) for name in node.inputs)
                nodes.append(replace(node, inputs=inputs, outputs=out, integer=True))
            else:
                nodes.append(node)
    return _without_absorbed(replace(graph, nodes=tuple(nodes)))


def _reads_integers(graph: Graph, node: Node, into: Mapping[str, str]) -> bool:
    activations = [n for n in node.inputs if n and not graph.is_constant(n)]
    operands = node.inputs if node.op == "Concat" else node.inputs[: _OPERANDS.get(node.op, 1)]
    floats = [n for n in operands if n and graph.values[n].dtype == np.float32 and n not in into]
    return bool(activations) and all(n in into for n in activations) and not floats


_OPERANDS = dict.fromkeys(
    ("Add", "Sub", "Mul", "Div", "MatMul", "Conv", "ConvTranspose", "Gemm"), 2
)
"""How many leading inputs must be quantized, constants too, for an op to run on integers."""


def _integer_outputs(graph: Graph, node: Node) -> tuple[str, ...] | None:
    """The quantized names of a node's outputs, None if one of them is used as float."""
    names: list[str] = []
    for output in node.outputs:
        readers = graph.consumers.get(output, ())
        quants = {graph.values[r.outputs[0]].quant for r in readers if r.op == QUANTIZE}
        if (
            not readers
            or output in graph.outputs
            or any(r.op != QUANTIZE for r in readers)
            or len(quants) != 1
        ):
            return None
        names.append(readers[0].outputs[0])
    return tuple(names)


def _without_absorbed(graph: Graph) -> Graph:
    """Drop each QuantizeLinear that a node now writes itself; a second equal one copies it."""
    computed = {name for node in graph.nodes if node.op != QUANTIZE for name in node.outputs}
    quantizers = [node for node in graph.nodes if node.op == QUANTIZE]
    written = {n.inputs[0]: n.outputs[0] for n in quantizers if n.outputs[0] in computed}
    nodes: list[Node] = []
    for node in graph.nodes:
        first = written.get(node.inputs[0]) if node.op == QUANTIZE else None
        if first is None:
            nodes.append(node)
        elif node.outputs[0] != first:
            nodes.append(Node("Identity", node.name, (first,), node.outputs, integer=True))
    return replace(graph, nodes=tuple(nodes))


def _join_pairs(graph: Graph) -> Graph:
    """A DequantizeLinear that a QuantizeLinear reads: one step from integers to integers."""
    into = {n.outputs[0]: n.inputs[0] for n in graph.nodes if n.op == DEQUANTIZE}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op == QUANTIZE:
            source = into.get(node.inputs[0], node.inputs[0])
            a, b = graph.values[source], graph.values[node.outputs[0]]
            same = a.dtype == b.dtype and a.quant == b.quant
            op = "Identity" if same else QUANTIZE
            nodes.append(Node(op, node.name, (source,), node.outputs, integer=same))
        elif node.op == DEQUANTIZE:
            nodes.append(replace(node, inputs=node.inputs[:1]))
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes))
