"""Activations that TFLite's int8 cannot hold are refused, or given one int8 scale with leave.

That is a scale per channel which could not move into the convs beside it
(:mod:`.share_channel_scales`), and integers wider or narrower than 8 bits.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.qdq_in.pairs import (
    DEQUANTIZE,
    FLAG,
    QUANTIZE,
    Scheme,
    limits_of,
    pairs_of,
    refuse,
    scheme_of,
    set_scheme,
    stored_in,
    uses_of,
)
from ghostedge_convert.qdq_in.requantize import Requantized

_EIGHT_BITS = (ir.DataType.INT8, ir.DataType.UINT8)
_LOWEST, _HIGHEST = limits_of(ir.DataType.INT8)
_REMEDY = f"quantize activations per tensor to int8 or uint8, or pass {FLAG} to have these be"


def requantize_activations(model: ir.Model, *, allowed: bool) -> tuple[Requantized, ...]:
    """Give activations that TFLite has no form for one int8 scale, in place.

    Raises:
        UnsupportedOpError: There are such activations and ``allowed`` is False, or the two sides
            of a pair contradict each other.
    """
    done: list[Requantized] = []
    for quantizer in pairs_of(model, QUANTIZE):
        scheme = scheme_of(quantizer)
        _check_pair(quantizer, scheme)
        reason = _reason(scheme)
        if reason is None:
            continue
        if not allowed:
            refuse(quantizer, reason, _REMEDY)
        done.append(_requantize(model, quantizer, scheme, reason))
    _refuse_inputs(model)
    return tuple(done)


def _check_pair(quantizer: ir.Node, scheme: Scheme) -> None:
    for decoder, _ in uses_of(quantizer.outputs[0]):
        if decoder.op_type == DEQUANTIZE and not scheme_of(decoder).same_as(scheme):
            refuse(
                decoder,
                f"it decodes what {quantizer.name!r} wrote with other parameters",
                "give both sides of a pair one scale and zero point",
            )


def _reason(scheme: Scheme) -> str | None:
    if scheme.block_size:
        return "blockwise quantization of an activation"
    if not scheme.per_tensor:
        return "per-channel quantization of an activation"
    if scheme.dtype not in _EIGHT_BITS:
        return f"an activation quantized to {scheme.dtype.name.lower()}"
    return None


def _refuse_inputs(model: ir.Model) -> None:
    """Integers that come from outside keep their type, so nothing can be done about them."""
    for decoder in pairs_of(model, DEQUANTIZE):
        source = decoder.inputs[0]
        if stored_in(decoder) is None and source is not None and source.producer() is None:
            reason = _reason(scheme_of(decoder))
            if reason is not None:
                refuse(decoder, reason, "quantize the model's input per tensor to int8 or uint8")


def covering(*schemes: Scheme) -> Scheme:
    """One int8 scale that reaches everything that the schemes do, zero exactly among it."""
    low = high = 0.0
    for scheme in schemes:
        least, most = limits_of(scheme.dtype)
        low = min(low, float(((least - scheme.zeros) * scheme.scales.astype(np.float64)).min()))
        high = max(high, float(((most - scheme.zeros) * scheme.scales.astype(np.float64)).max()))
    scale = np.float32((high - low) / (_HIGHEST - _LOWEST))
    zero = int(np.clip(np.rint(_LOWEST - low / float(scale)), _LOWEST, _HIGHEST))
    return Scheme(np.asarray([scale]), np.asarray([zero], np.int32), 0, ir.DataType.INT8)


def _requantize(model: ir.Model, quantizer: ir.Node, before: Scheme, reason: str) -> Requantized:
    after = covering(before)
    decoders = [n for n, _ in uses_of(quantizer.outputs[0]) if n.op_type == DEQUANTIZE]
    for node in (quantizer, *decoders):
        set_scheme(model, node, after)
    source = quantizer.inputs[0]
    name = str(quantizer.name) if source is None else str(source.name)
    return Requantized(name, str(quantizer.name), reason, before=before, after=after)
