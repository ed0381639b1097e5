"""A matrix product with constant weights is written Gemm, its bias inside."""

from __future__ import annotations

import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    Array,
    add_constant,
    bypass,
    constant,
    insert_before,
    int_attr,
    nodes_of,
    only_consumer,
    remove_unused,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote


def use_gemm(model: ir.Model) -> PassNote:
    """Make ``MatMul(x, W) [+ b]`` of rank 2, and Gemm of plain W, a Gemm of W transposed.

    Weights end up ``[out, in]`` (transB=1), the layout in which the output channels, along which
    weights are quantized, come first.
    """
    products = sum(_from_matmul(model, node) for node in nodes_of(model, "MatMul"))
    turned = sum(_transpose(model, node) for node in nodes_of(model, "Gemm"))
    edits = products + turned
    note = f"{edits} matrix products written as Gemm, weights [out, in]" if edits else "none needed"
    return PassNote("use_gemm", edits, note)


def _from_matmul(model: ir.Model, product: ir.Node) -> bool:
    data, weight = product.inputs[0], constant(product.inputs[1])
    shape = static_shape(data)
    if data is None or weight is None or weight.ndim != 2 or shape is None or len(shape) != 2:
        return False
    inputs: list[ir.Value | None] = [data, product.inputs[1]]
    last, bias = product, _added_bias(product, weight)
    if bias is not None:
        last = product.outputs[0].consumers()[0]
        inputs.append(bias)
    name = str(product.name).replace("MatMul", "Gemm")
    gemm = insert_before(model, last, "Gemm", inputs, name)
    bypass(model, last, gemm.outputs[0])
    if last is not product:
        model.graph.remove(product, safe=True)
    return True


def _added_bias(product: ir.Node, weight: Array) -> ir.Value | None:
    """The constant ``[out]`` that the product's only reader adds."""
    add = only_consumer(product.outputs[0])
    if add is None or add.op_type != "Add":
        return None
    for value in add.inputs:
        bias = constant(value)
        if bias is not None and bias.shape == (weight.shape[1],):
            return value
    return None


def _transpose(model: ir.Model, gemm: ir.Node) -> bool:
    value = gemm.inputs[1]
    weight = constant(value)
    if value is None or weight is None or int_attr(gemm, "transB", 0):
        return False
    gemm.replace_input_with(1, None)
    name = value.name
    remove_unused(model, [value])
    if name in model.graph.initializers:
        name = f"{gemm.name}:1"
    gemm.replace_input_with(1, add_constant(model, str(name), weight.T.copy()))
    gemm.attributes["transB"] = ir.AttrInt64("transB", 1)
    return True
