"""A mean over height and width is written GlobalAveragePool, the form that lowering knows best."""

from __future__ import annotations

import onnx_ir as ir

from ghostedge_convert.passes.graph import bypass, constant, input_at, int_attr, nodes_of
from ghostedge_convert.passes.run import PassNote


def use_global_average_pool(model: ir.Model) -> PassNote:
    """Replace each ReduceMean over the last two of four axes, in place.

    Where it does not keep them, a Flatten follows.
    """
    replaced = sum(_replace(model, mean) for mean in nodes_of(model, "ReduceMean"))
    note = f"{replaced} means written as GlobalAveragePool" if replaced else "no spatial mean"
    return PassNote("use_global_average_pool", replaced, note)


def _replace(model: ir.Model, mean: ir.Node) -> bool:
    source, axes = mean.inputs[0], _axes(mean)
    if source is None or source.shape is None or source.shape.rank() != 4 or axes is None:
        return False
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        return False
    n, channels = source.shape[0], source.shape[1]
    pool = _insert(model, mean, "GlobalAveragePool", source, ir.Shape([n, channels, 1, 1]))
    if int_attr(mean, "keepdims", 1):
        bypass(model, mean, pool)
    else:
        flat = _insert(model, mean, "Flatten", pool, ir.Shape([n, channels]))
        bypass(model, mean, flat)
    return True


def _insert(model: ir.Model, mean: ir.Node, op: str, source: ir.Value, shape: ir.Shape) -> ir.Value:
    name = str(mean.name).replace("ReduceMean", op)
    node = ir.Node("", op, [source], name=name if name != mean.name else f"{name}/{op}")
    node.outputs[0].name = node.name
    node.outputs[0].type, node.outputs[0].shape = mean.outputs[0].type, shape
    model.graph.insert_before(mean, node)
    return node.outputs[0]


def _axes(mean: ir.Node) -> list[int] | None:
    """The axes, an attribute before opset 18 and an input since; None where not constant."""
    attribute = mean.attributes.get("axes")
    if attribute is not None:
        return [int(axis) for axis in attribute.as_ints()]
    array = constant(input_at(mean, 1))
    return None if array is None else [int(axis) for axis in array]
