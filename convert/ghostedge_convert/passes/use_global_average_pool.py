"""A mean over height and width is written GlobalAveragePool, the form that lowering knows best."""

from __future__ import annotations

import onnx_ir as ir

from ghostedge_convert.passes._graph import bypass, constant, input_at, int_attr, nodes_of
from ghostedge_convert.passes._infra import PassNote


def use_global_average_pool(model: ir.Model) -> PassNote:
    """Replace each ReduceMean over the last two of four axes, kept at size 1, in place."""
    replaced = sum(_replace(model, mean) for mean in nodes_of(model, "ReduceMean"))
    note = f"{replaced} means written as GlobalAveragePool" if replaced else "no spatial mean"
    return PassNote("use_global_average_pool", replaced, note)


def _replace(model: ir.Model, mean: ir.Node) -> bool:
    source, axes = mean.inputs[0], _axes(mean)
    if source is None or source.shape is None or source.shape.rank() != 4 or axes is None:
        return False
    if sorted(axis % 4 for axis in axes) != [2, 3] or not int_attr(mean, "keepdims", 1):
        return False
    name = str(mean.name)
    pool = ir.Node("", "GlobalAveragePool", [source], name=_renamed(name))
    pool.outputs[0].name = pool.name
    pool.outputs[0].type, pool.outputs[0].shape = mean.outputs[0].type, mean.outputs[0].shape
    model.graph.insert_before(mean, pool)
    bypass(model, mean, pool.outputs[0])
    return True


def _renamed(name: str) -> str:
    return name.replace("ReduceMean", "GlobalAveragePool")


def _axes(mean: ir.Node) -> list[int] | None:
    """The axes, an attribute before opset 18 and an input since; None where not constant."""
    attribute = mean.attributes.get("axes")
    if attribute is not None:
        return [int(axis) for axis in attribute.as_ints()]
    array = constant(input_at(mean, 1))
    return None if array is None else [int(axis) for axis in array]
