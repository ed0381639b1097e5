"""A sum or mean of several tensors is written as Adds, as int8 and lowering know them.

Older exporters (Caffe2's, of which many published files are) write a residual connection as Sum.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    add_constant,
    bypass,
    insert_before,
    nodes_of,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote


def use_add(model: ir.Model) -> PassNote:
    """Replace each Sum and Mean, in place."""
    replaced = sum(_replace(model, node) for node in nodes_of(model, "Sum", "Mean"))
    note = f"{replaced} sums written as Add" if replaced else "no sum of several"
    return PassNote("use_add", replaced, note)


def _replace(model: ir.Model, node: ir.Node) -> bool:
    first, *others = (value for value in node.inputs if value is not None)
    total = first
    for number, value in enumerate(others):
        shapes = (static_shape(total), static_shape(value))
        add = insert_before(model, node, "Add", [total, value], f"{node.name}/Add_{number}")
        total = add.outputs[0]
        sizes = [shape for shape in shapes if shape is not None]
        total.shape = ir.Shape(np.broadcast_shapes(*sizes)) if len(sizes) == 2 else None
    if node.op_type == "Mean" and others:
        share = add_constant(model, f"{node.name}:share", np.asarray(1 / (len(others) + 1), "f"))
        total = insert_before(model, node, "Mul", [total, share], f"{node.name}/Mul").outputs[0]
    bypass(model, node, total)
    return True
