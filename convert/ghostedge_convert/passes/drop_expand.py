"""Remove an Expand in front of arithmetic that broadcasts by itself.

``F.normalize`` and ``expand_as`` are exported with one; on a device it would copy a number to every
place where it is read.
"""

from __future__ import annotations

import onnx_ir as ir

from ghostedge_convert.passes.graph import bypass, nodes_of, static_shape
from ghostedge_convert.passes.run import PassNote

_BROADCASTS = ("Add", "Sub", "Mul", "Div")


def drop_expand(model: ir.Model) -> PassNote:
    """Remove each Expand whose readers have their shape from another operand, in place."""
    expands = nodes_of(model, "Expand")
    left = [str(node.name) for node in expands if not _drop(model, node)]
    dropped = len(expands) - len(left)
    note = f"{dropped} expands dropped" if dropped else "no expand before arithmetic"
    if left:
        note += f"; left {', '.join(left)}"
    return PassNote("drop_expand", dropped, note)


def _drop(model: ir.Model, expand: ir.Node) -> bool:
    source, output = expand.inputs[0], expand.outputs[0]
    before, after = static_shape(source), static_shape(output)
    if source is None or before is None or after is None or output.is_graph_output():
        return False
    if len(before) > len(after) or not all(_is_shaped_by_another(u, i) for u, i in output.uses()):
        return False
    bypass(model, expand, source)
    return True


def _is_shaped_by_another(user: ir.Node, index: int) -> bool:
    """Whether a reader's output has the shape that its other operand has."""
    if user.op_type not in _BROADCASTS or user.domain not in ("", "ai.onnx"):
        return False
    shape = static_shape(user.inputs[1 - index])
    return shape is not None and shape == static_shape(user.outputs[0])
