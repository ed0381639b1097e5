"""Weights to int8 per output channel (or per tensor), biases to int32."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WEIGHT_MAX = 127
"""Weights use [-127, 127]: symmetric, and what TFLite's specification allows."""
BIAS_MAX = 2.0**30
"""Half of int32 for the bias, the other half for the products that are added to it."""
MIN_MULTIPLIER = 2.0**-30
"""Smallest requantization factor asked of a kernel; XNNPACK takes 2^-32 and more."""


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
    """float32 [O]: the scale at which each output channel's largest weight becomes 127."""
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    return np.asarray(largest / WEIGHT_MAX, np.float32)


def quantize_weights(
    weight: np.ndarray,
    bias: np.ndarray,
    input_scale: np.float32,
    output_scale: np.float32,
    *,
    per_channel: bool = True,
) -> QuantizedWeights:
    """Quantize one layer.

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
    scale = np.maximum(channel_scales(weight), floor.astype(np.float32))
    if not per_channel:
        scale = scale.max()
    bias_scale = input_scale * scale
    steps = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
    return QuantizedWeights(
        values=np.clip(np.rint(steps), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8),
        scale=scale,
        bias=np.rint(bias.astype(np.float64) / bias_scale).astype(np.int32),
        bias_scale=bias_scale,
    )
