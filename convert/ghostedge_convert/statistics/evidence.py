"""How near a preprocessing brings a batch norm to what it remembers, and how likely that is.

A misfit is 0 where mean and variance are those remembered. It does not say how far chance alone
would bring as many images; `chance` does. Nor does it know that some differences are common among
images (brightness, contrast) and others hardly occur (red for blue);
`log_likelihood_ratio` does.
"""

from __future__ import annotations

import numpy as np

from ghostedge_convert.statistics.candidates import Candidate
from ghostedge_convert.statistics.measure import NormLayer
from ghostedge_convert.statistics.stem import Array, Stem

_RESAMPLES = 60
_MOST = 1.0
"""What a channel's divergence counts at most, so that one dead in training does not decide."""
_SHRINKAGE = 0.4
_MEAN_TOLERANCE, _SQUARE_TOLERANCE = 0.04, 0.03
"""How far a mean and a variance may be off for no reason, in stds and in variances: a batch norm's
averages move, and training cuts and scales its images otherwise."""


def first_layer(stem: Stem, candidate: Candidate) -> NormLayer:
    """What the first batch norm sees under a preprocessing."""
    scale = 1 / np.array(candidate.std)
    return stem.under(scale, -np.array(candidate.mean) * scale, candidate.color_order)


def misfit(layer: NormLayer) -> float:
    """Mean over channels of `NormLayer.channel_divergences`, each at most 1."""
    return float(np.minimum(layer.channel_divergences(), _MOST).mean())


def chance(layer: NormLayer) -> float:
    """How far as many images, drawn with repeats from these, are from these: the median of 60."""
    images = len(layer.mean)
    mean = layer.mean.mean(0)
    variance = np.maximum(layer.square.mean(0) - mean**2, 0)
    these = NormLayer(layer.name, mean, variance, layer.epsilon, layer.mean, layer.square)
    random = np.random.default_rng(0)
    drawn = random.integers(0, images, (_RESAMPLES, images))
    values = [np.minimum(these.channel_divergences(row), _MOST).mean() for row in drawn]
    return float(np.median(values))


def log_likelihood_ratio(one: NormLayer, other: NormLayer) -> float:
    """Twice the log likelihood ratio of what a layer sees under two preprocessings.

    Positive where what is remembered is likelier to be the mean of the first; both are measured by
    the mean of their two covariances.
    """
    spread = (_spread_of(one) + _spread_of(other)) / 2
    return _unlikelihood(other, spread) - _unlikelihood(one, spread)


def _unlikelihood(layer: NormLayer, spread: Array) -> float:
    """How unlikely what was seen is, if what is remembered is its mean; -2 log likelihood.

    Args:
        layer: Of the images.
        spread: From `_spread_of`, of the way that all others are compared in.
    """
    seen = _features(layer).mean(0)
    return float(seen @ np.linalg.solve(spread, seen))


def _spread_of(layer: NormLayer) -> Array:
    """Covariance of the mean of so many images' features: (2 · channels, 2 · channels).

    Of as few images as channels a covariance is singular; it is drawn to its diagonal (Ledoit and
    Wolf, "A Well-Conditioned Estimator for Large-Dimensional Covariance Matrices", 2004, with a
    share that is fixed).
    """
    features = _features(layer)
    centred = features - features.mean(0)
    covariance = centred.T @ centred / max(len(features) - 1, 1)
    covariance *= 1 - _SHRINKAGE
    covariance[np.diag_indices_from(covariance)] /= 1 - _SHRINKAGE
    channels = features.shape[1] // 2
    tolerances = np.repeat([_MEAN_TOLERANCE, _SQUARE_TOLERANCE], channels)
    total: Array = covariance / len(features) + np.diag(tolerances**2)
    return total


def _features(layer: NormLayer) -> Array:
    """Each image's mean in stds remembered, and variance about the mean remembered; less these."""
    variance = layer.running_var + layer.epsilon
    center = layer.running_mean
    means = (layer.mean - center) / np.sqrt(variance)
    about = layer.square - 2 * center * layer.mean + center**2
    return np.concatenate([means, (about - layer.running_var) / variance], axis=1)
