"""A GroupNormalization is written as PyTorch exports one: an instance norm of the groups.

onnx infers no shape behind a GroupNormalization (its definition has changed between operator sets
18 and 21), so that everything after it would be of unknown shape to passes, int8 and lowering.
Lowering makes one node of the parts again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from ghostedge_convert.passes.graph import (
    Array,
    add_constant,
    bypass,
    constant,
    float_attr,
    input_at,
    int_attr,
    nodes_of,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote


def spread_group_norm(model: ir.Model) -> PassNote:
    """Replace each GroupNormalization of constant parameters by its parts, in place."""
    spread = 0
    for node in nodes_of(model, "GroupNormalization"):
        if _spread(model, node):
            spread += 1
            ShapeInferencePass()(model)  # for the next one
    note = f"{spread} group norms spread" if spread else "no GroupNormalization"
    return PassNote("spread_group_norm", spread, note)


def _spread(model: ir.Model, node: ir.Node) -> bool:
    image, shape = node.inputs[0], static_shape(node.inputs[0])
    scale, shift = (constant(input_at(node, position)) for position in (1, 2))
    if image is None or shape is None or scale is None or shift is None:
        return False
    groups = int_attr(node, "num_groups", 1)
    batch, channels, *space = shape
    sizes = (batch, groups, int(np.prod((channels // groups, *space))))
    parts = _Parts(model, node)
    grouped = parts.add("groups", "Reshape", [image, *parts.constants(sizes)])
    neutral = parts.constants(np.ones(groups, np.float32), np.zeros(groups, np.float32))
    epsilon = ir.AttrFloat32("epsilon", float_attr(node, "epsilon", 1e-5))
    normal = parts.add("normal", "InstanceNormalization", [grouped, *neutral], epsilon)
    value = parts.add("whole", "Reshape", [normal, *parts.constants(shape)])
    for op, values in (("Mul", scale), ("Add", shift)):
        column = np.repeat(values, channels // values.size).reshape(-1, *[1] * len(space))
        value = parts.add(op.lower(), op, [value, *parts.constants(column)])
    bypass(model, node, value)
    return True


@dataclass(frozen=True)
class _Parts:
    """Writes the nodes that take the place of one.

    Attributes:
        model: What they are added to.
        norm: The node; the new ones stand before it and are named after it.
    """

    model: ir.Model
    norm: ir.Node

    def constants(self, *arrays: Array | tuple[int, ...]) -> list[ir.Value]:
        name = f"{self.norm.name}/constant"
        return [add_constant(self.model, name, np.asarray(array)) for array in arrays]

    def add(self, part: str, op: str, inputs: list[ir.Value], *attributes: ir.Attr) -> ir.Value:
        name = f"{self.norm.name}/{part}"
        node = ir.Node("", op, inputs, attributes, name=name)
        node.outputs[0].name, node.outputs[0].type = name, self.norm.outputs[0].type
        self.model.graph.insert_before(self.norm, node)
        return node.outputs[0]
