"""Float constants in front of a pair are stored as the integers that the pair makes of them.

NNCF, and ONNX Runtime with ``AddQDQPairToWeight``, may keep weights in float and quantize them
each time. Weights that are transposed on their way are stored transposed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes import PassNote
from ghostedge_convert.passes.graph import Array, add_constant, bypass, constant, nodes_of
from ghostedge_convert.qdq_in.pairs import (
    DEQUANTIZE,
    QUANTIZE,
    Scheme,
    decode_with,
    limits_of,
    pairs_of,
    round_even,
    scheme_of,
    stored_in,
    uses_of,
)


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
