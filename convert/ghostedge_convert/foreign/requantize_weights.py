"""Weights that int8 with zero point 0 cannot hold are refused, or rounded to it with leave.

Each output channel takes the scale that loses least in squared error: its own with the ends cut
off, or one that reaches its largest weight.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ghostedge_convert.foreign.recentre_weights import LARGEST, is_plain
from ghostedge_convert.passes.graph import Array
from ghostedge_convert.qdq_in.pairs import (
    DEQUANTIZE,
    FLAG,
    Scheme,
    decode_with,
    is_weight,
    output_axis,
    pairs_of,
    refuse,
    scheme_of,
    stored_in,
    uses_of,
)
from ghostedge_convert.qdq_in.requantize import Loss, Requantized

_REMEDY = (
    "quantize weights symmetrically to int8 in [-127, 127], per tensor or per output channel, "
    f"or pass {FLAG} to have these rounded to it"
)


def requantize_weights(model: ir.Model, *, allowed: bool) -> tuple[Requantized, ...]:
    """Round weights that TFLite has no form for, in place.

    Raises:
        UnsupportedOpError: There are such weights and ``allowed`` is False.
    """
    done: list[Requantized] = []
    for decoder, use in list(_weights(model)):
        stored, scheme = stored_in(decoder), scheme_of(decoder)
        if stored is None:
            continue
        axis = output_axis(use[0]) % stored.ndim
        reason = _reason(stored, scheme, axis)
        if reason is None:
            continue
        if not allowed:
            refuse(use[0], reason, _REMEDY)
        done.append(_round(model, decoder, use, axis, reason))
    return tuple(done)


def _weights(model: ir.Model) -> Iterator[tuple[ir.Node, tuple[ir.Node, int]]]:
    for decoder in pairs_of(model, DEQUANTIZE):
        for use in filter(is_weight, uses_of(decoder.outputs[0])):
            yield decoder, use


def _reason(stored: Array, scheme: Scheme, axis: int) -> str | None:
    if scheme.block_size:
        return f"weights quantized in blocks of {scheme.block_size}"
    steps = stored.astype(np.int64) - scheme.spread(stored.shape)[1]
    if steps.min(initial=0) == -LARGEST - 1 and steps.max(initial=0) <= LARGEST:
        return f"a weight of -{LARGEST + 1} steps; TFLite's go from -{LARGEST} to {LARGEST}"
    if scheme.zeros.any():
        zero = scheme.zeros[np.flatnonzero(scheme.zeros)[0]]
        return f"{scheme.dtype.name.lower()} weights with a zero point of {zero}"
    if not is_plain(scheme):
        return f"weights of type {scheme.dtype.name.lower()}"
    if not scheme.per_tensor and scheme.axis != axis:
        return f"weights quantized along axis {scheme.axis}, not the output channels' {axis}"
    return None


def _round(
    model: ir.Model, decoder: ir.Node, use: tuple[ir.Node, int], axis: int, reason: str
) -> Requantized:
    stored, scheme = stored_in(decoder), scheme_of(decoder)
    if stored is None:
        raise ValueError(f"{decoder.name} decodes no constant")
    real = scheme.dequantize(stored)
    steps, scales = _fitted(real, axis, _own_scales(scheme, stored.shape, axis))
    new = Scheme(scales, np.zeros(scales.size, np.int32), axis, ir.DataType.INT8)
    gap = new.dequantize(steps).astype(np.float64) - real
    source = decoder.inputs[0]
    name = str(decoder.name) if source is None else str(source.name)
    decode_with(model, use, steps, new, f"{decoder.name}/requantized")
    return Requantized(
        tensor=name,
        node=str(use[0].name),
        reason=reason,
        loss=Loss(float(np.abs(gap).max(initial=0.0)), float(np.square(gap).mean())),
    )


def _own_scales(
    scheme: Scheme, shape: tuple[int, ...], axis: int
) -> npt.NDArray[np.float32] | None:
    """The scale of each output channel where it has one."""
    if scheme.block_size or not (scheme.per_tensor or scheme.axis == axis):
        return None
    return np.broadcast_to(scheme.scales, (shape[axis],)).astype(np.float32)


def _fitted(
    real: npt.NDArray[np.float32], axis: int, own: npt.NDArray[np.float32] | None
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Integers and a scale per channel, the better of two candidates in each."""
    rows = np.moveaxis(real, axis, 0).reshape(real.shape[axis], -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1)
    reach = np.where(largest > 0, largest / LARGEST, 1.0).astype(np.float32)
    candidates = [reach] if own is None else [own, reach]
    tried = [np.clip(np.rint(rows / s[:, None]), -LARGEST, LARGEST) for s in candidates]
    errors = [
        np.square(steps * s[:, None] - rows).sum(axis=1)
        for steps, s in zip(tried, candidates, strict=True)
    ]
    best = np.argmin(errors, axis=0)
    every = np.arange(rows.shape[0])
    steps, scales = np.stack(tried)[best, every], np.stack(candidates)[best, every]
    moved = np.moveaxis(real, axis, 0).shape
    return np.moveaxis(steps.reshape(moved), 0, axis).astype(np.int8), scales
