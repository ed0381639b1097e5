"""The halves of a ghost module stay apart where a narrower convolution would read them joined.

``conv(concat(p, g)) = conv_p(p) + conv_g(g)`` for a pointwise convolution: instead of copying all
of the channels next to each other, the few that the convolution makes are added. What lies between
the two is computed in halves: depthwise convolutions, activations, gates for each position, whose
own convolutions are cut in two as well. The vector of a squeeze-excite gate is made whole and cut.

A concat is left alone where anything else reads the channels, or where the sums would have as many
elements as the concat. The float function is the same but for the order of its additions;
`.join_ghost_modules` takes it back. ``docs/speed.md`` says what it brings, and why int8 has none of
it.

Source of the ghost module: Han et al., "GhostNet: More Features from Cheap Operations", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.ghost_region import SPATIAL, Region, is_dense, region_behind
from ghostedge_convert.passes.graph import (
    ELEMENTWISE,
    Array,
    add_constant,
    bypass,
    constant,
    input_at,
    int_attr,
    nodes_of,
    per_channel,
    remove_unused,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote

MARK, MARK_AFTER = "ghostedge_concat", "ghostedge_after"
"""Metadata of every node of a split module: the concat that was there, and the node before it."""
SUFFIXES = ("/half_0", "/half_1")
"""What is put behind the names of a node and its values for either half."""
JOINED = "/joined"
"""The same, of what joins both."""

Halves = tuple[ir.Value, ir.Value]


def split_ghost_modules(model: ir.Model, only: Collection[str] | None = None) -> PassNote:
    """Replace concats of two images by sums behind the convolutions that read them, in place.

    Args:
        model: A float graph, or one whose other parts are quantized.
        only: Names of the Concat nodes to replace; default all that `splittable` names.
    """
    concats = nodes_of(model, "Concat")
    chosen = [c for c in concats if only is None or c.name in only]
    split = sum(_split(model, concat) for concat in chosen)
    note = f"{split} of {len(concats)} concats became sums" if split else "no concat became a sum"
    return PassNote("split_ghost_modules", split, note)


def splittable(model: ir.Model) -> tuple[str, ...]:
    """Names of the Concat nodes that `split_ghost_modules` can replace, in the graph's order."""
    concats = nodes_of(model, "Concat")
    return tuple(str(c.name) for c in concats if region_behind(c) is not None)


def _split(model: ir.Model, concat: ir.Node) -> bool:
    region = region_behind(concat)
    if region is None:
        return False
    places = {node: place for place, node in enumerate(model.graph)}
    nodes = sorted(region.nodes, key=places.__getitem__)
    first, second = concat.inputs
    if first is None or second is None:
        return False
    before = list(model.graph)[max(places[concat] - 1, 0)]
    marks = {MARK: str(concat.name), MARK_AFTER: unsplit_name(before.name)}
    split = _Split(model, marks, region, {concat.outputs[0]: (first, second)})
    for node in nodes:
        split.write(node)
    for node in reversed([concat, *nodes]):
        if node.graph is not None:
            inputs = list(node.inputs)
            model.graph.remove(node, safe=True)
            remove_unused(model, inputs)
    return True


def unsplit_name(name: str | None) -> str:
    """The name of a node or constant before a split put something behind it."""
    name = str(name)
    for end in (*SUFFIXES, JOINED):
        name = name.replace(end, "")
    return name


@dataclass
class _Split:
    """A region being written in halves.

    Attributes:
        marks: What every node says of the concat in front of it.
        halves: Those that are written already, by the value they are of.
    """

    model: ir.Model
    marks: dict[str, str]
    region: Region
    halves: dict[ir.Value, Halves]

    def write(self, node: ir.Node) -> None:
        """Write a node's halves before it, and in its place what joins them where they end."""
        if node.op_type == "GlobalAveragePool":
            means = self._copies(node, [self._halves(node, node.inputs[0])])
            self._replace(node, "Concat", means, ir.AttrInt64("axis", 1))
        elif node.op_type != "Conv":
            operands = [self._halves(node, value, place) for place, value in enumerate(node.inputs)]
            self.halves[node.outputs[0]] = self._copies(node, operands)
        elif node.outputs[0] not in self.region.values:
            weights = self._cut(node.inputs[1], 1)
            bias = input_at(node, 2)
            biases = [] if bias is None else [(bias, None)]
            parts = [self._halves(node, node.inputs[0]), weights, *biases]
            self._replace(node, "Add", self._copies(node, parts))
        else:
            image = node.inputs[0]
            data = (image, image) if is_dense(node) else self._halves(node, image)
            parts = [data, *(self._cut(value, 0) for value in node.inputs[1:])]
            self.halves[node.outputs[0]] = self._copies(node, parts)

    def _copies(self, node: ir.Node, inputs: Sequence[tuple[ir.Value | None, ...]]) -> Halves:
        """The node twice, each on its own half of every input."""
        copies = []
        for index, size in enumerate(self.region.sizes):
            attributes = dict(node.attributes)
            if node.op_type == "Conv" and int_attr(node, "group", 1) > 1:
                attributes["group"] = ir.AttrInt64("group", size)
            operands = [pair[index] for pair in inputs]
            copy = ir.Node("", node.op_type, operands, list(attributes.values()))
            shape = list(static_shape(node.outputs[0]) or ())
            if node.outputs[0] in self.region.values or node.op_type == "GlobalAveragePool":
                shape[1] = size
            copies.append(self._inserted(node, copy, SUFFIXES[index], shape))
        return copies[0], copies[1]

    def _inserted(
        self, before: ir.Node, node: ir.Node, suffix: str, shape: Sequence[int]
    ) -> ir.Value:
        node.name = f"{before.name}{suffix}"
        node.metadata_props.update(self.marks)
        value = node.outputs[0]
        value.name = f"{before.outputs[0].name}{suffix}"
        value.type, value.shape = before.outputs[0].type, ir.Shape(shape)
        self.model.graph.insert_before(before, node)
        return value

    def _replace(self, node: ir.Node, op_type: str, halves: Halves, *attributes: ir.Attr) -> None:
        """Put what joins two halves in the place of a node, under the name of its output."""
        joining = ir.Node("", op_type, halves, attributes)
        name, shape = node.outputs[0].name, static_shape(node.outputs[0]) or ()
        value = self._inserted(node, joining, JOINED, shape)
        bypass(self.model, node, value)
        value.name = name

    def _halves(
        self, reader: ir.Node, value: ir.Value | None, place: int = 0
    ) -> tuple[ir.Value | None, ir.Value | None]:
        """The halves of what a node reads; parameters that are no channels serve both."""
        if value is None or value in self.halves:
            return (None, None) if value is None else self.halves[value]
        if reader.op_type == "Resize" and place == 3:
            return self._sizes(value)
        if place and reader.op_type in (*ELEMENTWISE, "Resize"):
            return value, value
        held, shape = constant(value), static_shape(value) or ()
        if held is not None:
            column = np.asarray(per_channel(held, self.region.channels, self.region.rank))
            return self._cut(value, 1, column.reshape(1, -1, *[1] * (self.region.rank - SPATIAL)))
        if shape[1] != self.region.channels:
            return value, value
        self.halves[value] = self._sliced(reader, value)
        return self.halves[value]

    def _cut(self, value: ir.Value | None, axis: int, array: Array | None = None) -> Halves:
        """A constant cut in two along an axis."""
        whole = constant(value) if array is None else array
        parts = np.split(np.asarray(whole), [self.region.sizes[0]], axis)
        name = None if value is None else value.name
        both = zip(parts, SUFFIXES, strict=True)
        first, second = (add_constant(self.model, f"{name}{end}", part) for part, end in both)
        return first, second

    def _sizes(self, value: ir.Value) -> Halves:
        """The sizes of a Resize for either half."""
        whole = np.asarray(constant(value))
        both = []
        for size, suffix in zip(self.region.sizes, SUFFIXES, strict=True):
            own = np.concatenate([whole[:1], [size], whole[SPATIAL:]]).astype(np.int64)
            both.append(add_constant(self.model, f"{value.name}{suffix}", own))
        return both[0], both[1]

    def _sliced(self, reader: ir.Node, value: ir.Value) -> Halves:
        """A computed vector of the channels, cut in two."""
        whole = list(static_shape(value) or ())
        first, both = self.region.sizes[0], self.region.channels
        halves = []
        for (start, end), suffix in zip(((0, first), (first, both)), SUFFIXES, strict=True):
            bounds = [
                add_constant(self.model, f"{value.name}{suffix}/{name}", np.asarray([number]))
                for name, number in (("start", start), ("end", end), ("axis", 1))
            ]
            cut = ir.Node("", "Slice", [value, *bounds])
            shape = [whole[0], end - start, *whole[SPATIAL:]]
            half = self._inserted(reader, cut, suffix, shape)
            cut.name, half.name = (f"{value.name}/cut{suffix}",) * 2
            halves.append(half)
        return halves[0], halves[1]
