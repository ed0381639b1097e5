"""A constant added to each channel after a conv becomes the conv's bias."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    CONVOLUTIONS,
    bypass,
    constant,
    input_at,
    nodes_of,
    only_consumer,
    output_channels,
    per_channel,
    set_bias,
)
from ghostedge_convert.passes.run import PassNote


def fold_conv_bias(model: ir.Model) -> PassNote:
    """Fold each ``Add(Conv(x), constant per channel)`` into the Conv's bias, in place."""
    folded = sum(_fold(model, add) for add in nodes_of(model, "Add"))
    note = f"{folded} additions folded into biases" if folded else "no constant added to a conv"
    return PassNote("fold_conv_bias", folded, note)


def _fold(model: ir.Model, add: ir.Node) -> bool:
    for data, other in (add.inputs, add.inputs[::-1]):
        conv = data.producer() if data is not None else None
        shift = constant(other)
        if conv is None or conv.op_type not in CONVOLUTIONS or shift is None:
            continue
        weight, old_bias = constant(conv.inputs[1]), input_at(conv, 2)
        bias = np.zeros(1, np.float32) if old_bias is None else constant(old_bias)
        if weight is None or bias is None or only_consumer(conv.outputs[0]) is not add:
            continue
        term = per_channel(shift, output_channels(conv, weight), weight.ndim)
        if term is None:
            continue
        set_bias(model, conv, (bias + term).astype(weight.dtype))
        bypass(model, add, conv.outputs[0])
        return True
    return False
