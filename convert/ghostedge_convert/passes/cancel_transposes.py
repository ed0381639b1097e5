"""Remove transposes of images by moving each to where its inverse is.

A channels-last network comes with a transpose before and after each convolution. One that follows
another is joined with it; one that an axis-blind op reads moves behind that op, the op's axes,
pads and constants turned to match, until it meets the next. A transpose that moves no element, as
of a ``[N, 1, 1, C]`` tensor, is a reshape.

A transpose is left at the graph's outputs and before an op that uses the axes in another way
(a reshape of an image, a matrix product).
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with

from ghostedge_convert.passes.axes import (
    Perm,
    Turned,
    compose,
    is_identity,
    moves_nothing,
    perm_of,
    turned,
)
from ghostedge_convert.passes.graph import bypass, nodes_of, static_shape, write_reshape
from ghostedge_convert.passes.run import PassNote


def cancel_transposes(model: ir.Model) -> PassNote:
    """Move each Transpose towards the outputs until it cancels or cannot move, in place."""
    before = len(nodes_of(model, "Transpose"))
    if not before:
        return PassNote("cancel_transposes", 0, "no transpose")
    # A move only ever goes towards the outputs, so the work ends.
    while sum(_step(model, node) for node in list(model.graph) if node.graph is not None):
        pass
    for node in nodes_of(model, "Transpose"):
        _write_reshape(model, node)
    left = [str(node.name) for node in nodes_of(model, "Transpose")]
    note = f"{before} transposes, {len(left)} left"
    if left:
        note += f" ({', '.join(left[:5])}{', …' if len(left) > 5 else ''})"
    return PassNote("cancel_transposes", before - len(left), note)


def _step(model: ir.Model, node: ir.Node) -> bool:
    """One edit at a node, if one applies."""
    if node.op_type == "Transpose":
        return _join(model, node)
    replacement = turned(model, node)
    if replacement is None:
        return False
    _move_behind(model, node, replacement)
    return True


def _join(model: ir.Model, node: ir.Node) -> bool:
    """Join a Transpose with the one before it, or drop it where the axes stay."""
    source, perm = node.inputs[0], perm_of(node)
    if source is None or perm is None:
        return False
    if is_identity(perm):
        bypass(model, node, source)
        return True
    above = source.producer()
    if above is None or above.op_type != "Transpose":
        return False
    first, origin = perm_of(above), above.inputs[0]
    if first is None or origin is None:
        return False
    node.replace_input_with(0, origin)
    node.attributes["perm"] = ir.AttrInt64s("perm", compose(first, perm))
    _remove_unread(model, [source])
    return True


def _write_reshape(model: ir.Model, node: ir.Node) -> None:
    """Write a Transpose that moves no element as a Reshape."""
    source, perm = node.inputs[0], perm_of(node)
    shape = static_shape(source)
    if source is None or perm is None or shape is None or not moves_nothing(shape, perm):
        return
    write_reshape(model, node, source, tuple(shape[axis] for axis in perm))


def _move_behind(model: ir.Model, node: ir.Node, replacement: Turned) -> None:
    """Replace a node by its turned form and a Transpose of each output."""
    model.graph.insert_before(node, replacement.node)
    for old, new, perm in zip(
        node.outputs, replacement.node.outputs, replacement.perms, strict=True
    ):
        _transpose_into(model, node, old, new, perm)
    inputs = list(node.inputs)
    model.graph.remove(node, safe=True)
    _remove_unread(model, inputs)


def _transpose_into(
    model: ir.Model, node: ir.Node, old: ir.Value, new: ir.Value, perm: Perm
) -> None:
    """Let the readers of ``old`` read ``new`` transposed by ``perm``."""
    new.type = old.type
    shape = static_shape(old)
    if shape is not None:
        sizes = dict(zip(perm, shape, strict=True))
        new.shape = ir.Shape([sizes[axis] for axis in range(len(shape))])
    name, was_output, result = old.name, old.is_graph_output(), new
    new.name = name
    if not is_identity(perm):
        back = ir.Node(
            "", "Transpose", [new], [ir.AttrInt64s("perm", perm)], name=f"{name}/Transpose"
        )
        back.outputs[0].type, back.outputs[0].shape = old.type, old.shape
        model.graph.insert_before(node, back)
        result = back.outputs[0]
        result.name = f"{name}/Transpose"
        if was_output:  # the graph's outputs keep their names
            new.name, result.name = f"{name}/turned", name
    replace_all_uses_with(old, result, replace_graph_outputs=True)


def _remove_unread(model: ir.Model, values: list[ir.Value | None]) -> None:
    """Drop the transposes and constants that nothing reads any more."""
    for value in values:
        if value is None or value.uses() or value.is_graph_output():
            continue
        above = value.producer()
        if above is not None and above.op_type == "Transpose" and above.graph is not None:
            model.graph.remove(above, safe=True)
        elif value.is_initializer():
            model.graph.initializers.pop(str(value.name), None)
