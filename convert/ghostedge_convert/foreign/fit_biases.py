"""Biases that overflow int32 at their scale get channels with a coarser one.

A bias is stored in steps of input scale times weight scale. Where a channel's weights are next to
nothing and its bias is not, as in a channel that training switched off, it would not fit, and
quantizers that keep biases in float leave that to whoever comes after. The channel's weights take
a coarser scale; what that rounds off them is small beside the bias that asked for it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ghostedge_convert.passes import PassNote
from ghostedge_convert.passes.graph import Array, constant, input_at, nodes_of
from ghostedge_convert.qdq_in.pairs import (
    decode_with,
    decoder_of,
    output_axis,
    scheme_of,
    stored_in,
)

_LARGEST_BIAS = float(2**30)  # leaves the products as much room again


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
