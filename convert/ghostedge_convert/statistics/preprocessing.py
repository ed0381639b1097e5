"""Do images, as they are prepared, bring a network's first batch norm what it remembers?

Every preprocessing in use is held against what the first batch norm remembers of training, on the
same images. `judge_preprocessing` has the rule.

A layer's divergence is 0 where mean and variance are those remembered. It does not say how far
chance alone would bring as many images; `_chance` does. Nor does it know that some differences are
common among images (brightness, contrast) and others hardly occur (red for blue); `_misfit` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ghostedge_convert.statistics.candidates import (
    Candidate,
    candidate_of,
    candidates,
    reversed_colors,
)
from ghostedge_convert.statistics.measure import NormLayer
from ghostedge_convert.statistics.own_normalization import OwnNormalization, solve_normalization
from ghostedge_convert.statistics.stem import Array, Stem
from ghostedge_runtime.metadata import ColorOrder, Preprocessing

Verdict = Literal["fits", "other", "own"]

_FEWEST_IMAGES = 32
"""Of fewer nothing is overwhelming, and nothing is solved."""
_CLOSER, _FAR_CLOSER = 6.0, 10.0
"""How many times another preprocessing is closer: surely, overwhelmingly."""
_FITTING = 0.1
"""The largest divergence of what may replace another."""
_OTHER_ORDER, _SURELY_OTHER_ORDER, _OTHER_VALUES = 3.0, 20.0, 30.0
"""Likelihood ratios, twice their logarithm: of the other order of colours with the same mean and
std, and of other mean and std, which a set of images may look like by its brightness alone."""
_RARITY = 4.0
"""What each rare trait has against it, on the same scale: about one network in eight has it."""
_NEAR = 3.0
"""How many times farther than the closest a preprocessing may be and still be the likeliest."""
_NONE_FITS, _OWN_CLOSER = 0.02, 5.0
"""The divergence from which nothing fits, over four times chance; how many times closer a mean and
std of its own is then."""
_OWN, _OWN_SURELY = 3.0, 1.5
"""How many times farther than by chance a solution may be: at all, overwhelmingly. Images unlike
those of training leave more than what six numbers can bring into line."""
_OWN_STARTS = 3
_RESAMPLES = 60
_MOST = 1.0
"""What a channel's divergence counts at most, so that one dead in training does not decide."""
_SHRINKAGE = 0.4
_MEAN_TOLERANCE, _SQUARE_TOLERANCE = 0.04, 0.03
"""How far a mean and a variance may be off for no reason, in stds and in variances: a batch norm's
averages move, and training cuts and scales its images otherwise."""


@dataclass(frozen=True)
class PreprocessingFit:
    """How close a preprocessing brings the images to what the first batch norm remembers.

    Attributes:
        name: As people call it, or ``its own``.
        mean: For each channel of the network's input, on the [0, 1] scale.
        std: The same.
        color_order: Of these channels.
        divergence: 0 is equal, 1 the most: half the symmetric Kullback-Leibler divergence of two
            Gaussians, at most 1 in a channel, mean over channels.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color_order: ColorOrder
    divergence: float


@dataclass(frozen=True)
class PreprocessingVerdict:
    """What the weights say of the preprocessing in use.

    Attributes:
        images: How many it was measured on.
        in_use: What it was asked for.
        best: What fits best; ``in_use`` where the verdict is that it fits.
        tried: All that were, closest first.
        verdict: ``fits``: no other fits surely better; ``other``: ``best`` does, and is in use
            elsewhere; ``own``: ``best`` was solved from the weights, for nothing in use fits.
        overwhelming: Whether ``best`` may take the place of what was only assumed.
        own: What was solved, with its standard errors, where the verdict is ``own``.
    """

    images: int
    in_use: PreprocessingFit
    best: PreprocessingFit
    tried: tuple[PreprocessingFit, ...]
    verdict: Verdict
    overwhelming: bool
    own: OwnNormalization | None = None


def judge_preprocessing(stem: Stem, in_use: Preprocessing) -> PreprocessingVerdict:
    """Hold a preprocessing against every other, and against one solved from the weights.

    Another fits surely better (``other``) where it is 6 times closer to what the batch norm
    remembers; or where the same mean and std in the other order of colours are likelier, by a ratio
    of which twice the logarithm is 3; or another mean and std, where that is 30 (3 where it is of
    the usual order of colours, and that is likelier than its own reverse by 3). Closeness is the
    divergence, at least what chance brings to as many images; likelihood is a Gaussian's of the
    mean of the images' own moments, with the covariance that they have among the images.

    It is overwhelming from 32 images on, where what it names has a divergence of at most 0.1 and is
    10 times closer, or the logarithm for the order of colours is 20.

    Where nothing in use comes within 0.02 and four times chance, scale and shift of each colour are
    solved; the verdict is ``own`` if they come 5 times closer and within 3 times chance. It is
    overwhelming where nothing in use comes within 0.1, and the solution within 1.5 times chance.

    Args:
        stem: Of at least one image, of as many channels as the preprocessing has.
        in_use: What is assumed or stated.
    """
    return judge_each(stem, [in_use])[0]


def judge_each(stem: Stem, in_use: Sequence[Preprocessing]) -> list[PreprocessingVerdict]:
    """`judge_preprocessing` of several, which costs little more than of one."""
    given = [candidate_of(preprocessing) for preprocessing in in_use]
    tried = dict.fromkeys(c for one in given for c in candidates(one))
    judged = _Judged(stem, tuple(tried))
    return [_judge(judged, _same(judged.candidates, one)) for one in given]


def _judge(judged: _Judged, used: Candidate) -> PreprocessingVerdict:
    if judged.solved is not None:
        fit = _fit(judged.solved.candidate, judged.solved_divergence)
        surely = judged.closest >= _FITTING and fit.divergence <= _OWN_SURELY * judged.chance
        return judged.verdict(used, fit, "own", surely, judged.solved)
    best = judged.likelier(used)
    fit = _fit(best, judged.divergences[best])
    surely = fit.divergence <= _FITTING and judged.stem.images >= _FEWEST_IMAGES
    is_reverse = best.is_like(reversed_colors(used))
    overwhelming = surely and (
        judged.ratio(used) >= _FAR_CLOSER
        or (is_reverse and judged.gain_of_reversal(used) >= _SURELY_OTHER_ORDER)
    )
    other = best is not used
    return judged.verdict(used, fit, "other" if other else "fits", other and overwhelming)


def _same(tried: tuple[Candidate, ...], given: Candidate) -> Candidate:
    alike = [c for c in tried if c.is_like(given)]
    return next((c for c in alike if c.name == given.name), alike[0])


def _fit(candidate: Candidate, divergence: float) -> PreprocessingFit:
    return PreprocessingFit(
        candidate.name, candidate.mean, candidate.std, candidate.color_order, divergence
    )


class _Judged:
    """Candidates held against the same images.

    Args:
        stem: Of the images.
        tried: In the order in which alike ones are named.
    """

    def __init__(self, stem: Stem, tried: tuple[Candidate, ...]) -> None:
        self.stem = stem
        self.candidates = tried
        self.layers = {c: _layer(stem, c) for c in tried}
        self.divergences = {c: _divergence(layer) for c, layer in self.layers.items()}
        self._ranked = sorted(tried, key=self.divergences.__getitem__)
        self.closest = self.divergences[self._ranked[0]]
        self.chance = _chance(self.layers[self._ranked[0]])

    def ratio(self, used: Candidate) -> float:
        """How many times farther it is than the closest, or than chance brings."""
        return self.divergences[used] / max(self.closest, self.chance)

    @cached_property
    def likeliest(self) -> Candidate:
        """The one that explains the images best; of those alike the table's first."""
        farthest = _NEAR * max(self.closest, self.chance)
        near = [c for c in self.candidates if self.divergences[c] <= farthest]
        costs = {c: self.preference(self._ranked[0], c) + _RARITY * c.rarity for c in near}
        winner = min(near, key=costs.__getitem__)
        return next(c for c in self.candidates if c.is_like(winner))

    def preference(self, one: Candidate, other: Candidate) -> float:
        """Twice the log likelihood ratio of two: positive where the first is likelier."""
        layers = self.layers[one], self.layers[other]
        spread = (_spread_of(layers[0]) + _spread_of(layers[1])) / 2
        return _misfit(layers[1], spread) - _misfit(layers[0], spread)

    def likelier(self, used: Candidate) -> Candidate:
        """What is surely likelier than the one in use; that one where nothing is."""
        best = used if self.likeliest.is_like(used) else self.likeliest
        if best is used or self.ratio(used) >= _CLOSER:
            return best
        if self.gain_of_reversal(used) >= _OTHER_ORDER:
            reverse = _same(self.candidates, reversed_colors(used))
            return best if self.preference(best, reverse) >= _OTHER_VALUES else reverse
        if best.rarity < used.rarity and self._order_is_sure(best, used):
            return best
        return best if self.preference(best, used) >= _OTHER_VALUES else used

    def _order_is_sure(self, best: Candidate, used: Candidate) -> bool:
        """Whether the other order of colours is likelier than both its own reverse and this."""
        return (
            best.color_order != used.color_order
            and -self.gain_of_reversal(best) >= _OTHER_ORDER
            and self.preference(best, used) >= _OTHER_ORDER
        )

    def gain_of_reversal(self, used: Candidate) -> float:
        """The preference for the same mean and std in the other order of colours."""
        if self.stem.colors == 1:
            return 0.0
        return self.preference(_same(self.candidates, reversed_colors(used)), used)

    @cached_property
    def solved(self) -> OwnNormalization | None:
        """A mean and std of the network's own where nothing in use fits and it is far closer."""
        if self.stem.images < _FEWEST_IMAGES or self.closest <= 4 * self.chance + _NONE_FITS:
            return None
        own = solve_normalization(self.stem, self._ranked[:_OWN_STARTS])
        if own is None:
            return None
        most = min(self.closest / _OWN_CLOSER, _OWN * self.chance)
        return own if self._divergence(own) <= most else None

    @property
    def solved_divergence(self) -> float:
        """Of what was solved."""
        assert self.solved is not None
        return self._divergence(self.solved)

    def _divergence(self, own: OwnNormalization) -> float:
        return _divergence(_layer(self.stem, own.candidate))

    def verdict(
        self,
        used: Candidate,
        best: PreprocessingFit,
        verdict: Verdict,
        overwhelming: bool,
        own: OwnNormalization | None = None,
    ) -> PreprocessingVerdict:
        """With all that were tried, closest first."""
        tried = tuple(_fit(c, self.divergences[c]) for c in self._ranked)
        in_use = _fit(used, self.divergences[used])
        return PreprocessingVerdict(
            self.stem.images, in_use, best, tried, verdict, overwhelming, own
        )


def _layer(stem: Stem, candidate: Candidate) -> NormLayer:
    scale = 1 / np.array(candidate.std)
    return stem.under(scale, -np.array(candidate.mean) * scale, candidate.color_order)


def _divergence(layer: NormLayer) -> float:
    """Mean over channels of `NormLayer.channel_divergences`, each at most 1."""
    return float(np.minimum(layer.channel_divergences(), _MOST).mean())


def _chance(layer: NormLayer) -> float:
    """How far as many images, drawn with repeats from these, are from these: the median of 60."""
    images = len(layer.mean)
    mean = layer.mean.mean(0)
    variance = np.maximum(layer.square.mean(0) - mean**2, 0)
    these = NormLayer(layer.name, mean, variance, layer.epsilon, layer.mean, layer.square)
    random = np.random.default_rng(0)
    drawn = random.integers(0, images, (_RESAMPLES, images))
    values = [np.minimum(these.channel_divergences(row), _MOST).mean() for row in drawn]
    return float(np.median(values))


def _misfit(layer: NormLayer, spread: Array) -> float:
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
