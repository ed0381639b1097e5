"""Do images, as they are prepared, bring a network's first batch norm what it remembers?

Every preprocessing in use is held against what the first batch norm remembers of training, on the
same images. `judge_preprocessing` has the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ghostedge_convert.statistics.candidates import Candidate, candidate_of, candidates
from ghostedge_convert.statistics.closeness import chance, divergence, misfit, spread_of
from ghostedge_convert.statistics.measure import NormLayer
from ghostedge_convert.statistics.own_normalization import OwnNormalization, solve_normalization
from ghostedge_convert.statistics.stem import ColorOrder, Stem
from ghostedge_runtime.metadata import Preprocessing

Verdict = Literal["fits", "other", "own"]

_FEWEST_IMAGES = 16
"""Of fewer nothing is overwhelming, and nothing is solved."""
_CLEARLY, _OVERWHELMINGLY = 6.0, 10.0
"""How many times closer another preprocessing is."""
_FITTING = 0.1
"""The largest divergence of what may replace another."""
_ORDER_SURELY, _ORDER_OVERWHELMINGLY, _VALUES_SURELY = 3.0, 20.0, 10.0
"""Log likelihood ratios, doubled."""
_RARITY = 4.0
"""What an order that few networks want has against it, on the same scale: about one in eight."""
_OWN_STARTS = 3


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

    Args:
        stem: Of at least one image, of as many channels as the preprocessing has.
        in_use: What is assumed or stated.
    """
    own_candidate = candidate_of(in_use)
    judged = _Judged.of(stem, candidates(own_candidate))
    used = _same(judged.candidates, own_candidate)
    best = judged.best(used)
    solved = _solve(stem, judged)
    if solved is not None:
        fit = _fit(solved.candidate, judged.divergence(solved.candidate))
        overwhelming = (
            stem.images >= _FEWEST_IMAGES
            and judged.closest >= _FITTING
            and fit.divergence <= 2 * judged.noise
        )
        return judged.verdict(used, fit, "own", overwhelming, solved)
    ratio = judged.ratio(used)
    gain = judged.preference(best, used)
    turned = best.color_order != used.color_order
    other = best is not used and (
        ratio >= _CLEARLY or gain >= (_ORDER_SURELY if turned else _VALUES_SURELY)
    )
    overwhelming = (
        other
        and stem.images >= _FEWEST_IMAGES
        and judged.divergences[best] <= _FITTING
        and (ratio >= _OVERWHELMINGLY or (turned and gain >= _ORDER_OVERWHELMINGLY))
    )
    chosen = _fit(best if other else used, judged.divergences[best if other else used])
    return judged.verdict(used, chosen, "other" if other else "fits", overwhelming)


def _same(tried: tuple[Candidate, ...], given: Candidate) -> Candidate:
    alike = [c for c in tried if c.is_like(given)]
    return next((c for c in alike if c.name == given.name), alike[0])


def _solve(stem: Stem, judged: _Judged) -> OwnNormalization | None:
    """A mean and std of the network's own where nothing in use fits and it does far better."""
    if stem.images < _FEWEST_IMAGES or judged.closest <= 4 * judged.noise + 0.02:
        return None
    starts = sorted(judged.divergences, key=judged.divergences.__getitem__)[:_OWN_STARTS]
    solved = solve_normalization(stem, starts)
    if solved is None or judged.divergence(solved.candidate) > judged.closest / 5:
        return None
    return solved


def _fit(candidate: Candidate, divergence: float) -> PreprocessingFit:
    return PreprocessingFit(
        candidate.name, candidate.mean, candidate.std, candidate.color_order, divergence
    )


@dataclass(frozen=True)
class _Judged:
    """The candidates on the same images.

    Attributes:
        stem: Of the images.
        candidates: In the order of the table.
        divergences: Of each.
        noise: How far as many images, drawn again of these, are from these.
    """

    stem: Stem
    candidates: tuple[Candidate, ...]
    divergences: dict[Candidate, float]
    noise: float

    @staticmethod
    def of(stem: Stem, tried: tuple[Candidate, ...]) -> _Judged:
        divergences = {c: divergence(_layer(stem, c)) for c in tried}
        closest = min(divergences, key=divergences.__getitem__)
        return _Judged(stem, tried, divergences, chance(_layer(stem, closest)))

    @property
    def closest(self) -> float:
        return min(self.divergences.values())

    def divergence(self, candidate: Candidate) -> float:
        return divergence(_layer(self.stem, candidate))

    def ratio(self, used: Candidate) -> float:
        """How many times farther it is than the closest, or than chance brings."""
        return self.divergences[used] / max(self.closest, self.noise)

    def best(self, used: Candidate) -> Candidate:
        """The one that explains the images best: it, where it does; the table's first of alike."""
        near = [
            c for c in self.candidates if self.divergences[c] <= 3 * max(self.closest, self.noise)
        ]
        closest = min(near, key=self.divergences.__getitem__)
        costs = {c: self.preference(closest, c) + _RARITY * c.rare for c in near}
        winner = min(near, key=costs.__getitem__)
        if used.is_like(winner):
            return used
        return next(c for c in self.candidates if c.is_like(winner))

    def preference(self, best: Candidate, other: Candidate) -> float:
        """Twice the log likelihood ratio of two candidates: positive where ``best`` is likelier."""
        layers = _layer(self.stem, best), _layer(self.stem, other)
        spread = (spread_of(layers[0]) + spread_of(layers[1])) / 2
        return misfit(layers[1], spread) - misfit(layers[0], spread)

    def verdict(
        self,
        used: Candidate,
        best: PreprocessingFit,
        verdict: Verdict,
        overwhelming: bool,
        own: OwnNormalization | None = None,
    ) -> PreprocessingVerdict:
        tried = sorted(
            (_fit(c, divergence) for c, divergence in self.divergences.items()),
            key=lambda fit: fit.divergence,
        )
        in_use = _fit(used, self.divergences[used])
        return PreprocessingVerdict(
            self.stem.images, in_use, best, tuple(tried), verdict, overwhelming, own
        )


def _layer(stem: Stem, candidate: Candidate) -> NormLayer:
    scale = 1 / np.array(candidate.std)
    return stem.under(scale, -np.array(candidate.mean) * scale, candidate.color_order)
