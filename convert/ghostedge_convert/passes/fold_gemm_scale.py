"""A factor or term per feature after a dense layer becomes part of its weights and bias."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    Array,
    bypass,
    constant,
    float_attr,
    input_at,
    int_attr,
    nodes_of,
    only_consumer,
    per_channel,
    set_constant,
)
from ghostedge_convert.passes.run import PassNote


def fold_gemm_scale(model: ir.Model) -> PassNote:
    """Fold each Mul or Add of constants per feature that alone reads a Gemm into it, in place.

    Computed in float64.
    """
    folded = 0
    for gemm in nodes_of(model, "Gemm"):
        while _fold(model, gemm):
            folded += 1
    note = f"{folded} factors and terms folded into dense layers" if folded else "none behind one"
    return PassNote("fold_gemm_scale", folded, note)


def _fold(model: ir.Model, gemm: ir.Node) -> bool:
    node, weight = only_consumer(gemm.outputs[0]), constant(gemm.inputs[1])
    plain = float_attr(gemm, "alpha", 1.0) == float_attr(gemm, "beta", 1.0) == 1.0
    if node is None or node.op_type not in ("Add", "Mul") or weight is None or not plain:
        return False
    rows = weight if int_attr(gemm, "transB", 0) else weight.T
    array = next((a for a in map(constant, node.inputs) if a is not None), None)
    values = None if array is None else per_channel(array, len(rows), 2)
    old_bias = input_at(gemm, 2)
    stored = np.zeros(1, weight.dtype) if old_bias is None else constant(old_bias)
    bias = None if stored is None else per_channel(stored, len(rows), 2)
    if values is None or bias is None:
        return False
    wide = values.astype(np.float64)
    if node.op_type == "Mul":
        scaled: Array = rows * wide[:, None]
        scaled = scaled if int_attr(gemm, "transB", 0) else scaled.T
        set_constant(model, gemm, 1, scaled.astype(weight.dtype))
    new_bias = bias * wide if node.op_type == "Mul" else bias + wide
    if node.op_type == "Add" or old_bias is not None:
        name = f"{gemm.name}.bias"
        set_constant(model, gemm, 2, new_bias.astype(weight.dtype), name=name)
    bypass(model, node, gemm.outputs[0])
    return True
