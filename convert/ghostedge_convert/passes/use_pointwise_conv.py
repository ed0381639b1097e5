"""A matrix product over the last axis of an image is written as a 1×1 convolution.

A dense layer applied to a channels-last image, the two of a squeeze-and-excitation gate among
them, is a convolution between two transposes, which the next pass cancels.
"""

from __future__ import annotations

import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    add_constant,
    bypass,
    constant,
    nodes_of,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote


def use_pointwise_conv(model: ir.Model) -> PassNote:
    """Replace each MatMul of rank 4 by constant ``[in, out]`` weights, in place."""
    replaced = sum(_replace(model, product) for product in nodes_of(model, "MatMul"))
    note = f"{replaced} matrix products written as 1×1 convolutions" if replaced else "none"
    return PassNote("use_pointwise_conv", replaced, note)


def _replace(model: ir.Model, product: ir.Node) -> bool:
    data, weight = product.inputs[0], constant(product.inputs[1])
    shape = static_shape(data)
    if data is None or shape is None or len(shape) != 4 or weight is None or weight.ndim != 2:
        return False
    n, height, width, channels = shape
    out = int(weight.shape[1])
    conv_name = str(product.name).replace("MatMul", "Conv")
    kernel = add_constant(model, f"{conv_name}:1", weight.T.reshape(out, channels, 1, 1))
    first = ir.Node("", "Transpose", [data], [_perm(0, 3, 1, 2)], name=f"{product.name}/in")
    conv = ir.Node("", "Conv", [first.outputs[0], kernel], name=conv_name)
    last = ir.Node("", "Transpose", conv.outputs, [_perm(0, 2, 3, 1)], name=f"{product.name}/out")
    sizes = ((n, channels, height, width), (n, out, height, width), (n, height, width, out))
    for node, size in zip((first, conv, last), sizes, strict=True):
        value = node.outputs[0]
        value.name, value.type, value.shape = node.name, data.type, ir.Shape(size)
        model.graph.insert_before(product, node)
    bypass(model, product, last.outputs[0])
    return True


def _perm(*axes: int) -> ir.Attr:
    return ir.AttrInt64s("perm", axes)
