"""A factor for each part of a concat inside the graph that equalization cannot rescale otherwise.

The parts of an int8 concat have one scale. Equalization (``channels``) evens them where layers
made them, dividing there and multiplying where they are read; behind a sigmoid, a SiLU or a float
op nothing takes the division in. Where such a part's range is but a fraction of another's, it gets
a multiplication by one number, 1 to begin with, which equalization may then change as it does a
layer's weights. The kernels run it in int8 like any other product. On 24 channels of sigmoids
beside as many of a SiLU 40 times as wide it took a network's int8 from 10 to 25 dB.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from ghostedge_quantize.equalization.channels import FIXED, ChannelClasses
from ghostedge_quantize.equalization.gains import Stats
from ghostedge_quantize.graph.canonical import add_initializer, constant, int_attribute
from ghostedge_quantize.graph.joins import MOST_UNLIKE
from ghostedge_quantize.graph.ops import Role, data_inputs
from ghostedge_quantize.graph.plan import Plan, name_of


def insert_part_scales(graph: ir.Graph, plan: Plan, stats: Stats) -> frozenset[str]:
    """Multiply small parts of concats by 1, in place.

    Args:
        graph: A canonical float graph.
        plan: Its plan.
        stats: Of its measured activations.

    Returns:
        The names of the new nodes. None stands where what reads the part could not make up for
        another factor than 1.
    """
    classes = ChannelClasses(graph)
    added = [
        _multiply(graph, node, index)
        for node in list(graph)
        if node.op_type == "Concat" and str(node.name) in plan.nodes
        for index in _small_fixed_parts(node, plan, classes, stats)
    ]
    free = ChannelClasses(graph, {str(node.name) for node in added})
    for node in added:
        if not free.of(node.outputs[0]).any():
            _remove(graph, node)
    return frozenset(str(node.name) for node in added if node.graph is not None)


def _small_fixed_parts(
    node: ir.Node, plan: Plan, classes: ChannelClasses, stats: Stats
) -> Iterator[int]:
    """Inputs that cannot be rescaled and lie within a fraction of others that cannot either."""
    rank = len(node.outputs[0].shape or ())
    if int_attribute(node, "axis", 0) not in (1, 1 - rank):
        return
    spans = {
        index: _span(value, plan, stats)
        for index, value in enumerate(node.inputs)
        if value is not None and (classes.of(value) == FIXED).all()
    }
    for index, span in spans.items():
        if 0 < span * MOST_UNLIKE < max(spans.values()):
            yield index


def _span(value: ir.Value, plan: Plan, stats: Stats) -> float:
    """Width of a tensor's range; 0 where it is not known."""
    name = name_of(value)
    array = constant(value)
    if array is not None or name in plan.fixed:
        return 0.0 if array is not None else plan.fixed[name].high - plan.fixed[name].low
    if name in stats:
        return float(stats[name].high.max() + stats[name].low.max())
    node = value.producer()
    rule = None if node is None else plan.nodes.get(str(node.name))
    if node is None or rule is None or rule.role is not Role.SHARES:
        return 0.0
    return max(_span(part, plan, stats) for _, part in data_inputs(node, rule))


def _multiply(graph: ir.Graph, node: ir.Node, index: int) -> ir.Node:
    value = node.inputs[index]
    if value is None:
        raise ValueError(f"{node.name} lacks input {index}")
    name = f"{node.name}_part_{index}"
    one = add_initializer(graph, f"{name}_scale", np.ones((), np.float32))
    output = ir.Value(name=f"{name}_scaled", shape=value.shape, type=value.type)
    scale = ir.node("Mul", [value, one], outputs=[output], name=name)
    graph.insert_before(node, scale)
    node.replace_input_with(index, output)
    return scale


def _remove(graph: ir.Graph, node: ir.Node) -> None:
    value = node.inputs[0]
    for user, index in list(node.outputs[0].uses()):
        user.replace_input_with(index, value)
    graph.remove(node, safe=True)
