"""A constant factor per channel after a conv becomes part of its weights and bias."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    CONVOLUTIONS,
    Array,
    bypass,
    constant,
    input_at,
    nodes_of,
    only_consumer,
    output_channels,
    over_weight,
    per_channel,
    set_bias,
    set_constant,
)
from ghostedge_convert.passes.run import PassNote


def fold_conv_scale(model: ir.Model) -> PassNote:
    """Fold each ``Mul(Conv(x), constant per channel)`` into the Conv's weights, in place.

    A division by a constant is the same. Computed in float64.
    """
    folded = sum(_fold(model, node) for node in nodes_of(model, "Mul", "Div"))
    note = f"{folded} factors folded into weights" if folded else "no constant factor after a conv"
    return PassNote("fold_conv_scale", folded, note)


def _fold(model: ir.Model, product: ir.Node) -> bool:
    orders = [product.inputs, product.inputs[::-1]]
    for data, other in orders if product.op_type == "Mul" else orders[:1]:
        conv = data.producer() if data is not None else None
        factor = constant(other)
        if conv is None or conv.op_type not in CONVOLUTIONS or factor is None:
            continue
        weight, old_bias = constant(conv.inputs[1]), input_at(conv, 2)
        bias = None if old_bias is None else constant(old_bias)
        if weight is None or only_consumer(conv.outputs[0]) is not product:
            continue
        scale = per_channel(factor, output_channels(conv, weight), weight.ndim)
        if scale is None or (old_bias is not None and bias is None):
            continue
        wide = scale.astype(np.float64)
        if product.op_type == "Div":
            if not np.all(wide):
                continue
            wide = 1.0 / wide
        _scale(model, conv, weight, bias, wide)
        bypass(model, product, conv.outputs[0])
        return True
    return False


def _scale(model: ir.Model, conv: ir.Node, weight: Array, bias: Array | None, scale: Array) -> None:
    scaled = weight * over_weight(conv, weight, scale)
    set_constant(model, conv, 1, scaled.astype(weight.dtype))
    if bias is not None:
        set_bias(model, conv, (bias * scale).astype(weight.dtype))
