"""A factor per channel that stands alone, with or without a term, is a depthwise 1×1 convolution.

In int8 a constant operand has one scale for all its channels, a convolution one for each and a bias
of 32 bits; a ReLU behind it costs nothing. In LiteRT's XNNPACK it is as fast as the two steps or
faster, in float and in int8 (16 to 128 channels, 14×14 to 56×56, x86).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    Array,
    add_constant,
    bypass,
    constant,
    insert_before,
    nodes_of,
    only_consumer,
    per_channel,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote


def use_channelwise_conv(model: ir.Model) -> PassNote:
    """Replace each ``x * factor`` or ``x * factor + term`` of an image by a Conv, in place.

    A factor that is the same for all channels stays, unless a term follows. So does what is made of
    sums and of means of squares, as in a norm: they span too much for int8, and stay float only
    where no layer with weights reads them.
    """
    replaced = sum(_replace(model, product) for product in nodes_of(model, "Mul"))
    note = f"{replaced} factors per channel written as convolutions" if replaced else "none left"
    return PassNote("use_channelwise_conv", replaced, note)


def _replace(model: ir.Model, product: ir.Node) -> bool:
    shape = static_shape(product.outputs[0])
    operands = None if shape is None or len(shape) != 4 else _split(product, shape)
    if shape is None or operands is None:
        return False
    source, factor = operands
    if _is_sum(source):
        return False
    last, term = product, np.zeros(shape[1], np.float32)
    after = only_consumer(product.outputs[0])
    added = None if after is None or after.op_type != "Add" else _split(after, shape)
    if after is not None and added is not None:
        last, term = after, added[1]
    elif np.all(factor == factor[0]):
        return False
    name = f"{product.name}/Conv"
    weight = add_constant(model, f"{name}.weight", factor.reshape(-1, 1, 1, 1))
    bias = add_constant(model, f"{name}.bias", term)
    conv = insert_before(model, last, "Conv", [source, weight, bias], name)
    conv.attributes.add(ir.AttrInt64("group", shape[1]))
    conv.attributes.add(ir.AttrInt64s("kernel_shape", [1, 1]))
    bypass(model, last, conv.outputs[0])
    if last is not product:
        model.graph.remove(product, safe=True)
    return True


_SUMS = ("ReduceL1", "ReduceL2", "ReduceSum", "ReduceSumSquare")
_MEANS = ("GlobalAveragePool", "ReduceMean")


def _is_sum(value: ir.Value) -> bool:
    node = value.producer()
    if node is None or node.op_type not in _MEANS:
        return node is not None and node.op_type in _SUMS
    squares = None if node.inputs[0] is None else node.inputs[0].producer()
    if squares is None or squares.op_type != "Mul":
        return squares is not None and squares.op_type == "Pow"
    return squares.inputs[0] is squares.inputs[1]


def _split(node: ir.Node, shape: tuple[int, ...]) -> tuple[ir.Value, Array] | None:
    """The varying operand of a node, of the output's shape, and the constant one, float32 [C]."""
    for data, other in (node.inputs, node.inputs[::-1]):
        array = constant(other)
        if array is None or data is None or static_shape(data) != shape:
            continue
        values = per_channel(array, shape[1], len(shape))
        if values is not None:
            return data, np.ascontiguousarray(values, np.float32)
    return None
