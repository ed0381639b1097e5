"""Constants of a QDQ graph, brought to the form that TFLite stores.

Four edits:

- `store_weights`: float constants in front of a pair become the integers that the pair makes of
  them. NNCF, and ONNX Runtime with ``AddQDQPairToWeight``, may keep weights in float and quantize
  them each time. Weights that are transposed on their way are stored transposed.
- `recentre_weights`: weights in other integers that int8 holds exactly (uint8 around 128, int4,
  uint4, off-centre). TFLite requires int8 with zero point 0 in [-127, 127]. Where
  ``stored - zero point`` fits there, it is stored instead, at the same scale: the same reals, bit
  for bit.
- `decode_constants`: quantized constants that are neither weights nor an operand that TFLite has an
  integer form for become reals, such as a constant operand with a scale per channel, or a bias in
  int8. Nothing is lost; biases are rounded when they are lowered, to steps of input scale times
  weight scale.
- `fit_biases`: channels whose bias overflows int32 at its scale get a coarser one. Where a
  channel's weights are next to nothing and its bias is not, as in a channel that training switched
  off, the bias in steps of input scale times weight scale does not fit. Quantizers that keep biases
  in float leave that to later tools. What the coarser scale rounds off the weights is small beside
  the bias.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ghostedge_convert.lower.graph import DEQUANTIZE, QUANTIZE
from ghostedge_convert.passes.graph import Array, add_constant, bypass, constant, input_at, nodes_of
from ghostedge_convert.passes.run import PassNote
from ghostedge_convert.qdq_in.pairs import (
    Scheme,
    decode_with,
    decoder_of,
    is_bias,
    is_integer,
    is_weight,
    limits_of,
    output_axis,
    pairs_of,
    round_even,
    scheme_of,
    stored_in,
    uses_of,
)

LARGEST = 127
_OPERANDS = (ir.DataType.INT8, ir.DataType.UINT8)
_LARGEST_BIAS = float(2**30)  # leaves the products as much room again


def store_weights(model: ir.Model) -> PassNote:
    """Fold QuantizeLinear of constants, and Transpose of decoded constants, in place."""
    stored = sum(_quantize(model, node) for node in pairs_of(model, QUANTIZE))
    turned = sum(_transpose(model, node) for node in nodes_of(model, "Transpose"))
    edits = stored + turned
    note = f"{edits} constants stored as integers" if edits else "constants are integers already"
    return PassNote("store_weights", edits, note)


def _quantize(model: ir.Model, node: ir.Node) -> bool:
    real = constant(node.inputs[0])
    if real is None or real.dtype != np.float32:
        return False
    scheme = scheme_of(node)
    dtype = scheme.dtype.numpy()
    value = add_constant(model, f"{node.name}/stored", quantized(real, scheme).astype(dtype))
    bypass(model, node, value)
    return True


def quantized(real: Array, scheme: Scheme) -> Array:
    """The integers that QuantizeLinear makes of reals, int64."""
    scales, zeros = scheme.spread(real.shape)
    steps = (real / scales).astype(np.float32)
    return np.clip(round_even(steps) + zeros, *limits_of(scheme.dtype))


def _transpose(model: ir.Model, node: ir.Node) -> bool:
    source = node.inputs[0]
    decoder = None if source is None else source.producer()
    if decoder is None or decoder.op_type != DEQUANTIZE or node.outputs[0].is_graph_output():
        return False
    stored, scheme = stored_in(decoder), scheme_of(decoder)
    if stored is None or scheme.block_size:
        return False
    attribute = node.attributes.get("perm")
    perm = list(reversed(range(stored.ndim))) if attribute is None else list(attribute.as_ints())
    axis = 0 if scheme.per_tensor else perm.index(scheme.axis)
    for use in uses_of(node.outputs[0]):
        turned = np.ascontiguousarray(stored.transpose(perm))
        decode_with(model, use, turned, replace(scheme, axis=axis), f"{node.name}/{use[1]}")
    model.graph.remove(node, safe=True)
    return True


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
    """Whether weights are int8 with zero point 0, as TFLite requires, whatever their values."""
    return scheme.dtype is ir.DataType.INT8 and not scheme.zeros.any()


def centred(stored: Array, scheme: Scheme) -> Array | None:
    """``stored - zero point`` as int8 where all of it lies in [-127, 127]."""
    if scheme.block_size or not is_integer(scheme.dtype):
        return None
    steps = stored.astype(np.int64) - scheme.spread(stored.shape)[1]
    return steps.astype(np.int8) if np.abs(steps).max(initial=0) <= LARGEST else None


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


def fit_biases(model: ir.Model) -> PassNote:
    """Coarsen the weights of channels whose bias would overflow, in place."""
    edits = sum(_fit(model, node) for node in nodes_of(model, "Conv", "Gemm"))
    note = f"{edits} channels rescaled so that their bias fits int32" if edits else "biases fit"
    return PassNote("fit_biases", edits, note)


def _fit(model: ir.Model, node: ir.Node) -> int:
    data, weights = decoder_of(node.inputs[0]), decoder_of(node.inputs[1])
    bias = _real(input_at(node, 2))
    stored = None if weights is None else stored_in(weights)
    if data is None or weights is None or stored is None or bias is None:
        return 0
    step, scheme = scheme_of(data), scheme_of(weights)
    axis = output_axis(node) % stored.ndim
    if not step.per_tensor or scheme.block_size or not (scheme.per_tensor or scheme.axis == axis):
        return 0
    scales = np.broadcast_to(scheme.scales, (stored.shape[axis],)).astype(np.float64)
    row = np.broadcast_to(bias.reshape(-1), scales.shape).astype(np.float64)
    needed = np.abs(row) / (float(step.scales[0]) * _LARGEST_BIAS)
    tight = needed > scales
    if not tight.any():
        return 0
    new = np.where(tight, needed, scales)
    factors = (scales / new).reshape([-1 if a == axis else 1 for a in range(stored.ndim)])
    coarse = np.rint(stored.astype(np.float64) * factors).astype(stored.dtype)
    zeros = np.zeros(new.size, np.int32)
    fitted = replace(scheme, scales=new.astype(np.float32), zeros=zeros, axis=axis)
    decode_with(model, (node, 1), coarse, fitted, f"{weights.name}/fitted")
    return int(tight.sum())


def _real(value: ir.Value | None) -> npt.NDArray[np.float32] | Array | None:
    """A constant's reals, be it decoded or not."""
    decoder = decoder_of(value)
    if decoder is None:
        return constant(value)
    stored = stored_in(decoder)
    return None if stored is None else scheme_of(decoder).dequantize(stored)
