"""Quantized constants that are neither weights nor TFLite's kind of operand become plain reals.

A constant operand with a scale per channel, a bias in int8: their reals are known, so nothing is
lost. Biases are rounded again when they are lowered, to steps of input scale times weight scale.
"""

from __future__ import annotations

import onnx_ir as ir

from ghostedge_convert.passes import PassNote
from ghostedge_convert.passes.graph import add_constant
from ghostedge_convert.qdq_in.pairs import (
    DEQUANTIZE,
    Scheme,
    is_bias,
    is_weight,
    pairs_of,
    scheme_of,
    stored_in,
    uses_of,
)

_OPERANDS = (ir.DataType.INT8, ir.DataType.UINT8)


def decode_constants(model: ir.Model) -> PassNote:
    """Replace decoded constants that TFLite has no integer form for by their reals, in place."""
    edits = 0
    for node in pairs_of(model, DEQUANTIZE):
        stored, uses = stored_in(node), uses_of(node.outputs[0])
        if stored is None or any(is_weight(use) for use in uses):
            continue
        scheme = scheme_of(node)
        if _has_integer_form(scheme, bias=bool(uses) and all(is_bias(use) for use in uses)):
            continue
        real = add_constant(model, f"{node.name}/real", scheme.dequantize(stored))
        for user, position in uses:
            user.replace_input_with(position, real)
            edits += 1
    note = f"{edits} quantized constants are reals" if edits else "no constant to decode"
    return PassNote("decode_constants", edits, note)


def _has_integer_form(scheme: Scheme, *, bias: bool) -> bool:
    if bias:
        return scheme.dtype is ir.DataType.INT32 and not scheme.block_size
    return scheme.per_tensor and not scheme.block_size and scheme.dtype in _OPERANDS
