"""Ghost modules that `.split_ghost_modules` computes in halves become whole again.

Our float files are split; what is made of them in turn, above all int8, starts from the joined
form, as if it came from the weights. The nodes are known by their mark and their names, constants
by where they stand. The graph is the one that was split, but for the
order of its constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    add_constant,
    bypass,
    constant,
    input_at,
    int_attr,
    only_consumer,
    remove_unused,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote
from ghostedge_convert.passes.split_ghost_modules import (
    JOINED,
    MARK,
    MARK_AFTER,
    SUFFIXES,
    unsplit_name,
)

Pair = tuple[ir.Value | None, ir.Value | None]


def join_ghost_modules(model: ir.Model) -> PassNote:
    """Put the concats back that `split_ghost_modules` replaced, in place."""
    pairs = _pairs(model)
    join = _Join(model, {unsplit_name(node.name): node for node in model.graph})
    for first, second in pairs:
        join.write(first, second)
    for node in reversed([node for pair in pairs for node in pair]):
        inputs = list(node.inputs)
        model.graph.remove(node, safe=True)
        remove_unused(model, inputs)
    note = f"{join.concats} concats put back" if join.concats else "no module in halves"
    return PassNote("join_ghost_modules", join.concats, note)


def _pairs(model: ir.Model) -> list[tuple[ir.Node, ir.Node]]:
    """The two halves of every node that was split, in the graph's order.

    None where weights are decoded from a smaller type by the graph.
    """
    marked = {str(node.name): node for node in model.graph if MARK in node.metadata_props}
    stems = [name.removesuffix(SUFFIXES[1]) for name in marked if name.endswith(SUFFIXES[1])]
    names = [(f"{stem}{SUFFIXES[0]}", f"{stem}{SUFFIXES[1]}") for stem in stems]
    pairs = [(marked[first], marked[second]) for first, second in names if first in marked]
    weights = [node.inputs[1] for pair in pairs for node in pair if node.op_type == "Conv"]
    return [] if any(constant(weight) is None for weight in weights) else pairs


@dataclass
class _Join:
    """A graph whose halves are being joined.

    Attributes:
        nodes: The last node of each name, as it was before the split.
        whole: What two values are the halves of.
        concats: How many were put back.
    """

    model: ir.Model
    nodes: dict[str, ir.Node]
    whole: dict[Pair, ir.Value | None] = field(default_factory=dict)
    concats: int = 0

    def write(self, first: ir.Node, second: ir.Node) -> None:
        """Write the node of two halves where the second one stands."""
        halves = (first.outputs[0], second.outputs[0])
        if first.op_type == "Slice":
            self.whole[halves] = first.inputs[0]
            return
        end = _end(halves[0])
        summed = end is not None and end.op_type == "Add"
        operands = [
            self._operand(first, (value, input_at(second, place)), summed=summed)
            for place, value in enumerate(first.inputs)
        ]
        attributes = dict(first.attributes)
        depthwise = (
            first.op_type == "Conv" and not summed and first.inputs[0] is not second.inputs[0]
        )
        if depthwise:
            groups = int_attr(first, "group", 1) + int_attr(second, "group", 1)
            attributes["group"] = ir.AttrInt64("group", groups)
        node = ir.Node("", first.op_type, operands, list(attributes.values()))
        node.name = unsplit_name(first.name)
        shape = static_shape(halves[0]) if summed else _joined_shape(halves)
        self._insert(second, node, unsplit_name(halves[0].name), shape)
        self.whole[halves] = node.outputs[0]
        if end is not None:
            name = end.outputs[0].name
            self.nodes[str(node.name)] = node
            bypass(self.model, end, node.outputs[0])
            node.outputs[0].name = name

    def _operand(self, reader: ir.Node, pair: Pair, *, summed: bool) -> ir.Value | None:
        """What the halves of an input are the halves of."""
        first, second = pair
        if first is second or first is None or second is None:  # of a sum, one half has the bias
            return first
        if pair not in self.whole:
            held = constant(first) is not None
            axis = 0 if reader.op_type == "Conv" and not summed else 1
            self.whole[pair] = (
                self._constant(reader, (first, second), axis)
                if held
                else self._concat(reader, (first, second))
            )
        return self.whole[pair]

    def _constant(self, reader: ir.Node, pair: tuple[ir.Value, ir.Value], axis: int) -> ir.Value:
        """The constant that two are the halves of."""
        first, second = (np.asarray(constant(value)) for value in pair)
        if reader.op_type == "Resize":  # the sizes of the image that it makes
            both = first + np.where(np.arange(len(first)) == 1, second, 0)
        else:
            both = np.concatenate([first, second], axis)
        return add_constant(self.model, unsplit_name(pair[0].name), both)

    def _concat(self, reader: ir.Node, pair: tuple[ir.Value, ir.Value]) -> ir.Value:
        node = ir.Node("", "Concat", pair, [ir.AttrInt64("axis", 1)])
        node.name = reader.metadata_props[MARK]
        self.concats += 1
        self._insert(reader, node, node.name, _joined_shape(pair))
        before = self.nodes.get(reader.metadata_props[MARK_AFTER])
        if before is not None:
            self.model.graph.insert_after(before, node)
        self.nodes[node.name] = node
        return node.outputs[0]

    def _insert(
        self, before: ir.Node, node: ir.Node, name: str, shape: Sequence[int] | None
    ) -> None:
        value = node.outputs[0]
        value.name, value.type = name, before.outputs[0].type
        value.shape = None if shape is None else ir.Shape(shape)
        self.model.graph.insert_before(before, node)


def _end(half: ir.Value) -> ir.Node | None:
    """The node that joins a half with the other one, where that is the last thing done to it."""
    node = only_consumer(half)
    ends = node is not None and MARK in node.metadata_props and str(node.name).endswith(JOINED)
    return node if ends else None


def _joined_shape(pair: tuple[ir.Value, ir.Value]) -> tuple[int, ...] | None:
    first, second = (static_shape(value) for value in pair)
    if first is None or second is None:
        return None
    return (first[0], first[1] + second[1], *first[2:])
