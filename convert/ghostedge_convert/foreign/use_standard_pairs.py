"""Pairs of ONNX Runtime's own domain become ONNX's.

ONNX Runtime writes ``com.microsoft`` pairs for types that ONNX had not yet at the model's operator
set, and on request (``UseQDQContribOps``). For these types both are one function.
"""

from __future__ import annotations

import onnx_ir as ir

from ghostedge_convert.passes import PassNote
from ghostedge_convert.qdq_in.pairs import DEQUANTIZE, QUANTIZE

_DOMAIN = "com.microsoft"


def use_standard_pairs(model: ir.Model) -> PassNote:
    """Move each QuantizeLinear and DequantizeLinear of ``com.microsoft`` to ONNX's domain."""
    found = [n for n in model.graph if n.domain == _DOMAIN and n.op_type in (QUANTIZE, DEQUANTIZE)]
    for node in found:
        node.domain = ""
    note = f"{len(found)} pairs of {_DOMAIN} are ONNX's own" if found else "all pairs are ONNX's"
    return PassNote("use_standard_pairs", len(found), note)
