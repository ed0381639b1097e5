"""Weights in other integers that int8 holds exactly: uint8 around 128, int4, uint4, off-centre.

TFLite wants int8 with zero point 0 in [-127, 127]. Where ``stored - zero point`` fits there, it is
what is stored instead, at the same scale: the same reals, bit for bit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes import PassNote
from ghostedge_convert.passes.graph import Array
from ghostedge_convert.qdq_in.pairs import (
    DEQUANTIZE,
    Scheme,
    decode_with,
    is_integer,
    is_weight,
    pairs_of,
    scheme_of,
    stored_in,
    uses_of,
)

LARGEST = 127


def recentre_weights(model: ir.Model) -> PassNote:
    """Store the weights of linear ops as int8 with zero point 0 where that is exact."""
    edits = 0
    for node in pairs_of(model, DEQUANTIZE):
        stored = stored_in(node)
        if stored is None or not any(is_weight(use) for use in uses_of(node.outputs[0])):
            continue
        scheme = scheme_of(node)
        steps = centred(stored, scheme)
        if is_plain(scheme) or steps is None:
            continue
        plain = replace(scheme, zeros=np.zeros_like(scheme.zeros), dtype=ir.DataType.INT8)
        for use in filter(is_weight, uses_of(node.outputs[0])):
            decode_with(model, use, steps, plain, str(node.name))
            edits += 1
    note = f"{edits} weights stored as int8, exactly" if edits else "weights are int8 already"
    return PassNote("recentre_weights", edits, note)


def is_plain(scheme: Scheme) -> bool:
    """Whether weights are already as TFLite wants them, their values aside."""
    return scheme.dtype is ir.DataType.INT8 and not scheme.zeros.any()


def centred(stored: Array, scheme: Scheme) -> Array | None:
    """``stored - zero point`` as int8 where all of it lies in [-127, 127]."""
    if scheme.block_size or not is_integer(scheme.dtype):
        return None
    steps = stored.astype(np.int64) - scheme.spread(stored.shape)[1]
    return steps.astype(np.int8) if np.abs(steps).max(initial=0) <= LARGEST else None
