"""Which nodes lie between a concat of two images and the convolutions that could read them apart.

`.split_ghost_modules` writes these nodes in halves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    ELEMENTWISE,
    Array,
    constant,
    input_at,
    int_attr,
    only_consumer,
    per_channel,
    static_shape,
)

SPATIAL = 2
"""The first axis in space; axis 1 holds the channels."""
_PARTS = 2
_OF_TWO = ("Mul", "Add")


@dataclass
class Region:
    """What a concat's channels run through until they are summed.

    Attributes:
        sizes: Channels of each half.
        rank: Axes of an image.
        nodes: The concat's successors and what makes the gates of every position.
        values: Those of their values that will be computed in halves.
    """

    sizes: tuple[int, int]
    rank: int
    nodes: dict[ir.Node, None] = field(default_factory=dict)
    values: set[ir.Value] = field(default_factory=set)

    @property
    def channels(self) -> int:
        """Of both halves together."""
        return sum(self.sizes)

    def carry(self, node: ir.Node) -> None:
        """Take in a node whose output is computed in halves."""
        self.nodes[node] = None
        self.values.add(node.outputs[0])


def region_behind(concat: ir.Node) -> Region | None:
    """The region behind a concat, None where it cannot be split or a split would cost more."""
    shapes = [static_shape(value) for value in concat.inputs]
    if len(shapes) != _PARTS or any(s is None or len(s) <= SPATIAL for s in shapes):
        return None
    first, second = (shape or () for shape in shapes)
    if int_attr(concat, "axis", 0) not in (1, 1 - len(first)):
        return None
    region = Region((first[1], second[1]), len(first), values={concat.outputs[0]})
    sums = _followed(region, concat.outputs[0])
    if sums is None or not all(_other_operand_splits(region, node) for node in list(region.nodes)):
        return None
    copied = int(np.prod(static_shape(concat.outputs[0]) or ()))
    added = sum(int(np.prod(static_shape(node.outputs[0]) or ())) for node in sums)
    return region if added < copied else None


def _followed(region: Region, value: ir.Value) -> list[ir.Node] | None:
    """Take in all that reads a value; the convolutions at the ends, or None."""
    sums: list[ir.Node] = []
    pending = [value]
    while pending:
        value = pending.pop()
        if value.is_graph_output():
            return None
        for node in dict.fromkeys(use.node for use in value.uses()):
            if node in region.nodes:
                continue
            if _carries(region, node):
                region.carry(node)
                pending.append(node.outputs[0])
            elif node.op_type == "GlobalAveragePool":
                region.nodes[node] = None
            elif is_dense(node) and node.inputs[0] is value and _is_pointwise(node):
                region.nodes[node] = None
                sums.append(node)
            else:
                return None
    return sums


def _carries(region: Region, node: ir.Node) -> bool:
    """Whether each channel of a node's output is made of the same channel of its inputs."""
    shape = static_shape(node.outputs[0])
    if shape is None or len(shape) != region.rank or shape[1] != region.channels:
        return False
    if node.op_type == "Conv":
        weight = _parameters(node)
        each = weight is not None and weight.shape[:2] == (region.channels, 1)
        return each and int_attr(node, "group", 1) == region.channels
    return node.op_type in (*ELEMENTWISE, *_OF_TWO) or _is_resize_in_space(node)


def _is_resize_in_space(node: ir.Node) -> bool:
    if node.op_type != "Resize" or "axes" in node.attributes:
        return False
    image, out = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    sizes = input_at(node, 3)
    known = sizes is None or constant(sizes) is not None
    return known and image is not None and out is not None and image[:2] == out[:2]


def is_dense(node: ir.Node) -> bool:
    """Whether it is a convolution of all channels, with constant parameters."""
    weight = _parameters(node) if node.op_type == "Conv" else None
    return weight is not None and int_attr(node, "group", 1) == 1


def _is_pointwise(conv: ir.Node) -> bool:
    weight = _parameters(conv)
    return weight is not None and set(weight.shape[SPATIAL:]) == {1}


def _parameters(conv: ir.Node) -> Array | None:
    """A convolution's weight, where it and the bias are constant."""
    bias = input_at(conv, 2)
    return constant(conv.inputs[1]) if bias is None or constant(bias) is not None else None


def _other_operand_splits(region: Region, node: ir.Node) -> bool:
    """Whether what a product or sum reads beside the channels can be had in halves, too."""
    return node.op_type not in _OF_TWO or all(
        value in region.values or _taken_in(region, value) for value in node.inputs
    )


def _taken_in(region: Region, value: ir.Value | None) -> bool:
    """Whether a value can be had in halves; what makes it for every position is taken in.

    A vector of the channels is cut, what all channels share serves both halves.
    """
    held, shape = constant(value), static_shape(value)
    if value is None or held is not None:
        return held is not None and per_channel(held, region.channels, region.rank) is not None
    if shape is None or len(shape) != region.rank or shape[1] not in (1, region.channels):
        return False
    if shape[1] == 1 or set(shape[SPATIAL:]) == {1}:
        return True
    node = value.producer()
    if node is None or node in region.nodes or only_consumer(value) is None:
        return False
    if not is_dense(node) and not _carries(region, node):
        return False
    region.carry(node)
    operands = node.inputs if node.op_type in _OF_TWO else node.inputs[:1]
    return is_dense(node) or all(_taken_in(region, operand) for operand in operands)
