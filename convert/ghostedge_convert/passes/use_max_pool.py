"""A maximum over height and width is written MaxPool, the form that lowering and int8 know."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    bypass,
    constant,
    input_at,
    int_attr,
    nodes_of,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote


def use_max_pool(model: ir.Model) -> PassNote:
    """Replace each GlobalMaxPool and each ReduceMax over the last two of four axes, in place.

    Where the maximum does not keep them, a Flatten follows.
    """
    replaced = sum(_replace(model, node) for node in nodes_of(model, "GlobalMaxPool", "ReduceMax"))
    note = f"{replaced} maxima written as MaxPool" if replaced else "no spatial maximum"
    return PassNote("use_max_pool", replaced, note)


def _replace(model: ir.Model, node: ir.Node) -> bool:
    source = node.inputs[0]
    shape = static_shape(source)
    if source is None or shape is None or len(shape) != 4:
        return False
    if node.op_type == "ReduceMax" and _axes(node) != [2, 3]:
        return False
    kernel = ir.AttrInt64s("kernel_shape", shape[2:])
    pool = _insert(model, node, ir.Node("", "MaxPool", [source], [kernel]), (*shape[:2], 1, 1))
    if node.op_type == "ReduceMax" and not int_attr(node, "keepdims", 1):
        pool = _insert(model, node, ir.Node("", "Flatten", [pool]), shape[:2])
    bypass(model, node, pool)
    return True


def _insert(model: ir.Model, before: ir.Node, node: ir.Node, shape: tuple[int, ...]) -> ir.Value:
    node.name = f"{before.name}/{node.op_type}"
    value = node.outputs[0]
    value.name, value.type, value.shape = node.name, before.outputs[0].type, ir.Shape(shape)
    model.graph.insert_before(before, node)
    return value


def _axes(node: ir.Node) -> list[int] | None:
    """The axes of four, an attribute before opset 18 and an input since; None: not constant."""
    attribute, array = node.attributes.get("axes"), constant(input_at(node, 1))
    if attribute is not None:
        return sorted(int(axis) % 4 for axis in attribute.as_ints())
    return None if array is None else sorted(int(axis) % 4 for axis in np.ravel(array))
