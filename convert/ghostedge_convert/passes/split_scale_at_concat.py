"""A factor or term per channel behind a concat moves to each of the concat's parts.

So a batch norm of two streams is folded into the convolutions that make the streams, as one of each
stream would be. It is done where a convolution makes at least one part; on the other parts a factor
or term of their own channels stays.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    Array,
    add_constant,
    bypass,
    constant,
    int_attr,
    nodes_of,
    only_consumer,
    per_channel,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote


def split_scale_at_concat(model: ir.Model) -> PassNote:
    """Move each constant Mul or Add that alone reads a concat of channels before it, in place."""
    moved = 0
    for concat in nodes_of(model, "Concat"):
        while _split(model, concat):
            moved += 1
    note = f"{moved} factors and terms moved before a concat" if moved else "none behind a concat"
    return PassNote("split_scale_at_concat", moved, note)


def _split(model: ir.Model, concat: ir.Node) -> bool:
    node, shape = only_consumer(concat.outputs[0]), static_shape(concat.outputs[0])
    if node is None or node.op_type not in ("Add", "Mul") or shape is None:
        return False
    if int_attr(concat, "axis", 0) not in (1, 1 - len(shape)):
        return False
    array = next((a for a in map(constant, node.inputs) if a is not None), None)
    values = None if array is None else per_channel(array, shape[1], len(shape))
    parts = [value for value in concat.inputs if value is not None]
    shapes = [static_shape(part) for part in parts]
    if values is None or None in shapes or not any(_takes_it_up(part) for part in parts):
        return False
    start = 0
    for index, (part, own) in enumerate(zip(parts, shapes, strict=True)):
        end = start + (own or ())[1]
        scaled = _like(model, node, part, values[start:end], f"{node.name}/{index}")
        model.graph.insert_before(concat, scaled)
        concat.replace_input_with(index, scaled.outputs[0])
        start = end
    bypass(model, node, concat.outputs[0])
    return True


def _takes_it_up(value: ir.Value | None) -> bool:
    """Whether a convolution that nothing else reads makes a value, but for what was moved here."""
    node = None if value is None else value.producer()
    if value is None or node is None or only_consumer(value) is None:
        return False
    if node.op_type == "Mul" and constant(node.inputs[1]) is not None:
        return _takes_it_up(node.inputs[0])
    return node.op_type == "Conv" and constant(node.inputs[1]) is not None


def _like(model: ir.Model, node: ir.Node, part: ir.Value, values: Array, name: str) -> ir.Node:
    """The same op on one part, with the constants of its channels."""
    rank = len(static_shape(part) or ())
    column = np.ascontiguousarray(values).reshape(1, -1, *[1] * (rank - 2))
    array = add_constant(model, f"{name}:1", column)
    copy = ir.Node("", node.op_type, [part, array], name=name)
    copy.outputs[0].name = name
    copy.outputs[0].type, copy.outputs[0].shape = part.type, part.shape
    return copy
