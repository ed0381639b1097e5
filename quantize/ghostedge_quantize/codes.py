"""The int8 codes of activations (affine, one scale a tensor) and of weights (symmetric).

An activation's range becomes a scale and a zero point. Weights become int8 for each output channel
(or per tensor), their biases int32. Nothing here knows of graphs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

QMIN, QMAX = -128, 127
MIN_SPAN = 2.0**-50
"""Ranges narrower than this are rounding noise about zero; their scales would underflow."""
ZERO_TENSOR_SPAN = 0.25
"""Upper end given to a tensor that was zero on every calibration image.

Any span will do for what was seen; a small one keeps some resolution for what was not.
"""
WEIGHT_MAX = 127
"""Weights use [-127, 127]: symmetric, and what TFLite's specification allows."""
BIAS_MAX = 2.0**30
"""Half of int32 for the bias, the other half for the products that are added to it."""
MIN_MULTIPLIER = 2.0**-30
"""Smallest requantization factor asked of a kernel; XNNPACK takes 2^-32 and more."""
CLIPS = (*np.linspace(1, 0.9, 41).tolist(), *np.linspace(0.89, 0.7, 20).tolist())
"""Parts of the largest weight that may become 127. Finely spaced near 1: there it is less what is
clipped than how well the steps fall on a channel's few weights."""


class Range(NamedTuple):
    """Lowest and highest real value that is represented; zero always lies within."""

    low: float
    high: float

    def scaled(self, factor: float) -> Range:
        """The range stretched about zero, which leaves the zero point where it was."""
        return Range(self.low * factor, self.high * factor)


class QuantParams(NamedTuple):
    """``real = scale * (code - zero_point)``: scale as stored (float32), zero point int8."""

    scale: np.float32
    zero_point: int


def hull(ranges: Iterable[Range]) -> Range:
    """The smallest range that holds zero and all of ``ranges``, and is wide enough to use."""
    low = high = 0.0
    for ends in ranges:
        low, high = min(low, ends.low), max(high, ends.high)
    return Range(low, high) if high - low >= MIN_SPAN else Range(0.0, ZERO_TENSOR_SPAN)


def affine(values: Range) -> QuantParams:
    """Scale and zero point of an asymmetric int8 code in which zero is exact.

    The zero point is rounded, so the represented range is ``values`` moved by up to half a step.
    """
    low, high = values
    scale = np.float32((high - low) / (QMAX - QMIN))
    zero_point = QMIN - round(low / float(scale))
    return QuantParams(scale, min(max(zero_point, QMIN), QMAX))


def quantize_array(values: np.ndarray, params: QuantParams) -> np.ndarray:
    """float32 array → int8 codes, as ONNX's QuantizeLinear: half to even, saturating."""
    codes = np.rint(values / params.scale) + np.float32(params.zero_point)
    return np.asarray(np.clip(codes, QMIN, QMAX), np.int8)


class QuantizedWeights(NamedTuple):
    """Integer weights and bias of one layer.

    ``values`` int8 [O, …]; ``bias`` int32 [O]; ``scale`` and ``bias_scale`` float32, [O] or, for
    one scale per tensor, [].
    """

    values: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    bias_scale: np.ndarray


def channel_scales(weight: np.ndarray) -> np.ndarray:
    """float32 [O]: the scale at which each output channel's largest weight becomes 127.

    The scale that a layer gets is at most this, unless its bias or its output needs a wider one.
    """
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    return np.asarray(largest / WEIGHT_MAX, np.float32)


def clipped_scales(weight: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """The scales at which rounding and clipping to int8 lose least, in squared error.

    Where few of a channel's weights are large, clipping them costs less than the finer step gains
    for the rest.

    Args:
        weight: float32 [O, …].
        floor: float32 [O], the smallest scale allowed for each channel, or [1]: one scale is then
            chosen for all channels.

    Returns:
        float32, as many as ``floor``. None loses more than the scale at which nothing is clipped.
    """
    rows = weight.reshape(len(floor), -1)
    whole = channel_scales(rows)
    best, least = whole, np.full(len(rows), np.inf, np.float32)
    for part in CLIPS:
        scale = np.maximum(whole * np.float32(part), floor)
        lost = _squared_error(rows, scale[:, None])
        best, least = np.where(lost < least, scale, best), np.minimum(lost, least)
    return best


def _squared_error(rows: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Of each row coded at its scale, in place of a temporary for every operation."""
    error = rows / scale
    np.rint(error, out=error)
    np.clip(error, -WEIGHT_MAX, WEIGHT_MAX, out=error)
    error *= scale
    error -= rows
    return np.asarray(np.einsum("ij,ij->i", error, error))


def quantize_weights(
    weight: np.ndarray,
    bias: np.ndarray,
    input_scale: np.float32,
    output_scale: np.float32,
    *,
    per_channel: bool = True,
) -> QuantizedWeights:
    """Quantize one layer, large weights clipped where that loses least.

    A channel's scale is widened where its bias would not fit into int32 at
    ``input_scale * scale`` (weights tiny beside the bias), or where the factor that brings its
    sums to the output's scale would be too small for a kernel (weights zero or next to it).

    Args:
        weight: float32 [O, …].
        bias: float32 [O].
        input_scale: Scale of the layer's input.
        output_scale: Scale of its output.
        per_channel: A scale for every output channel; False: one for the whole tensor.
    """
    source = np.float64(input_scale)
    floor = np.maximum(
        np.abs(bias.astype(np.float64)) / (source * BIAS_MAX),
        MIN_MULTIPLIER * np.float64(output_scale) / source,
    )
    if not per_channel:
        floor = floor.max(keepdims=True)
    scale = clipped_scales(weight, floor.astype(np.float32))
    if not per_channel:
        scale = scale.reshape(())
    bias_scale = input_scale * scale
    steps = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
    return QuantizedWeights(
        values=np.clip(np.rint(steps), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8),
        scale=scale,
        bias=np.rint(bias.astype(np.float64) / bias_scale).astype(np.int32),
        bias_scale=bias_scale,
    )
