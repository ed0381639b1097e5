"""Where batch norms begin to differ by more than chance, though none is far from training.

A stride on the wrong convolution of one block changes variances behind it by a fifth or two. Sets
of a few dozen images differ by nearly as much, but what they differ in is mostly how bright and how
rich in contrast they are, and that the first batch norms tell.

So the moments of each channel are compared with those remembered in units of their standard error,
which the images themselves give, after the part that goes with the images' energy in the first
batch norms is taken out: a control variate, for its expectation is known (Lavenberg and Welch, "A
Perspective on the Use of Control Variables", 1981). Where many layers in a row are much farther
than the farthest before, the network differs there, or the images do in something that the layers
before do not see.

Layers near the end, whose channels fire for few images, are left out: there a few dozen images give
no standard error. A difference that lies only there is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostedge_convert.statistics.measure import Array, NormLayer, NormStatistics

LEAST_IMAGES = 32
"""Sets of 16 have jumps of 2 and more where the network fits."""
JUMP = 1.65
"""Factor from which on it is more than chance: `benchmarks/network_verdicts.py` counts how often
sets that fit reach it."""
_LEAST_LAYERS = 12
_SETTLED = 0.75
"""A layer counts where the halves of the images are at most this far apart, divided by how many
images there are."""
_AFTER = 10
"""Layers, with the one in question, whose median is compared with the farthest before."""
_NEAR = 1.2
"""Standard errors that layers before are taken to be off at the least."""
_QUARTILE = 0.75
"""Of the channels: what differs in a layer differs in many of them, not in all."""
_FLOOR = 0.03
"""Standard deviations, or shares of the variance, added to each standard error: training saw its
images cropped and flipped, and its averages are of the last batches."""
_CONTROL_LAYERS = 4
_MOST_ENERGY = 20.0
"""Of one channel in one image, in units of what is remembered: one channel is not to set them."""


@dataclass(frozen=True)
class Jump:
    """From where on layers are farther than chance and than all before.

    Attributes:
        layer: Index of the batch norm.
        factor: Median of the layers from there on, over the farthest before.
    """

    layer: int
    factor: float


def largest_jump(statistics: NormStatistics, apart: Sequence[float] | Array) -> Jump | None:
    """Where the layers behind are farthest compared with those before.

    Args:
        statistics: Of the images.
        apart: By layer, how far halves of the images are apart (relative entropy, nats).

    Returns:
        None where there are too few images, or layers that so few images settle.
    """
    settled = np.flatnonzero(np.asarray(apart) * statistics.images <= _SETTLED)
    if statistics.images < LEAST_IMAGES or len(settled) < _LEAST_LAYERS:
        return None
    layers = [statistics.layers[index] for index in settled]
    controls = np.mean([_energies(layer) for layer in layers[:_CONTROL_LAYERS]], axis=0)
    errors = np.array([_standard_errors(layer, controls) for layer in layers])
    before = np.maximum.accumulate(np.maximum(errors, _NEAR))
    last = len(errors) - _AFTER // 2
    factors = [np.median(errors[i : i + _AFTER]) / before[i - 1] for i in range(1, last)]
    first = int(np.argmax(factors))
    return Jump(int(settled[first + 1]), float(factors[first]))


def _deviations(layer: NormLayer) -> tuple[Array, Array]:
    """Per image and channel: how far mean and energy are off, in units of what is remembered."""
    variance = layer.running_var + layer.epsilon
    shift = (layer.mean - layer.running_mean) / np.sqrt(variance)
    around = layer.square - 2 * layer.mean * layer.running_mean + layer.running_mean**2
    return shift, (around + layer.epsilon) / variance - 1


def _energies(layer: NormLayer) -> Array:
    """float64 (images,): of each, how much more energy it brings the layer than is remembered."""
    energies: Array = np.minimum(_deviations(layer)[1], _MOST_ENERGY).mean(1)
    return energies


def _standard_errors(layer: NormLayer, controls: Array) -> float:
    """How many of them mean and energy are off, the upper quartile of the channels.

    Args:
        layer: Its moments.
        controls: float64 (images,): known to be 0 on average.
    """
    count = len(controls)
    design = np.stack([np.ones(count), controls], axis=1)
    unscaled = np.linalg.inv(design.T @ design)
    quartiles = []
    for deviation in _deviations(layer):
        fitted = unscaled @ (design.T @ deviation)
        rest = ((deviation - design @ fitted) ** 2).sum(0) / (count - 2)
        error = np.sqrt(rest * unscaled[0, 0])
        quartiles.append(np.quantile(np.abs(fitted[0]) / (error + _FLOOR), _QUARTILE))
    return float(np.sqrt(np.mean(np.square(quartiles))))
