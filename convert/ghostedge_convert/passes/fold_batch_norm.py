"""A batch norm after a conv, transposed or not, becomes part of the conv.

``gamma * (Wx + b - mean) / sqrt(var + eps) + beta`` is a conv with weights ``W * s`` and bias
``(b - mean) * s + beta``, ``s = gamma / sqrt(var + eps)`` per output channel. Computed in float64,
so that the only rounding is the last one to float32. A batch norm that does not follow a conv of
constant weights, or whose conv is read elsewhere too, is left.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    CONVOLUTIONS,
    bypass,
    constant,
    float_attr,
    input_at,
    int_attr,
    nodes_of,
    only_consumer,
    over_weight,
    set_bias,
    set_constant,
)
from ghostedge_convert.passes.run import PassNote


def fold_batch_norm(model: ir.Model) -> PassNote:
    """Fold each foldable BatchNormalization into the convolution before it, in place."""
    norms = nodes_of(model, "BatchNormalization")
    left = [str(norm.name) for norm in norms if not _fold(model, norm)]
    folded = len(norms) - len(left)
    note = f"{folded} batch norms folded into convolutions"
    if left:
        note += f"; left {', '.join(left)} (not alone after a convolution of constant weights)"
    return PassNote("fold_batch_norm", folded, note)


def _fold(model: ir.Model, norm: ir.Node) -> bool:
    source = norm.inputs[0]
    conv = source.producer() if source is not None else None
    if conv is None or conv.op_type not in CONVOLUTIONS or int_attr(norm, "training_mode", 0):
        return False
    if only_consumer(conv.outputs[0]) is not norm:
        return False
    weight, parameters = constant(conv.inputs[1]), [constant(v) for v in norm.inputs[1:5]]
    old_bias = input_at(conv, 2)
    bias = np.zeros(1) if old_bias is None else constant(old_bias)
    if weight is None or bias is None or any(p is None for p in parameters):
        return False
    gamma, beta, mean, var = (np.asarray(p, np.float64) for p in parameters)
    scale = gamma / np.sqrt(var + float_attr(norm, "epsilon", 1e-5))
    scaled = weight.astype(np.float64) * over_weight(conv, weight, scale)
    set_constant(model, conv, 1, scaled.astype(weight.dtype))
    set_bias(model, conv, ((bias.astype(np.float64) - mean) * scale + beta).astype(weight.dtype))
    bypass(model, norm, conv.outputs[0])
    return True
