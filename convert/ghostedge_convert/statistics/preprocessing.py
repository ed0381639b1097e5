"""Do images, as they are prepared, bring a network's first batch norms what they remember?

Every preprocessing in use is held against what the first batch norm remembers of training, on the
same images; those that come close, against what the first quarter of the batch norms remembers.
`judge_preprocessing` has the rule, ``evidence.py`` what it weighs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

from ghostedge_convert.statistics.candidates import (
    Candidate,
    candidate_of,
    candidates,
    reversed_colors,
)
from ghostedge_convert.statistics.doctor import mean_divergence
from ghostedge_convert.statistics.early import EarlyNorms
from ghostedge_convert.statistics.evidence import (
    chance,
    first_layer,
    log_likelihood_ratio,
    misfit,
)
from ghostedge_convert.statistics.measure import NormLayer
from ghostedge_convert.statistics.own_normalization import OwnNormalization, solve_normalization
from ghostedge_convert.statistics.stem import Stem
from ghostedge_runtime.metadata import ColorOrder, Preprocessing

Verdict = Literal["fits", "other", "own"]

_FEWEST_IMAGES = 32
"""Of fewer nothing is overwhelming, and nothing is solved."""
_CLOSER, _FAR_CLOSER = 6.0, 10.0
"""How many times another preprocessing is closer: surely, overwhelmingly."""
_FITTING = 0.1
"""The largest misfit of what may replace another, and the largest mean divergence over the first
quarter of the batch norms."""
_OTHER_ORDER, _SURELY_OTHER_ORDER, _OTHER_VALUES = 3.0, 20.0, 30.0
"""Likelihood ratios, twice their logarithm: of the other order of colours with the same mean and
std, and of other mean and std, which a set of images may look like by its brightness alone."""
_RARITY = 4.0
"""What each rare trait has against it, on the same scale: about one network in eight has it."""
_NONE_FITS, _OWN_CLOSER = 0.02, 5.0
"""The misfit from which nothing fits, over four times chance; how many times closer a mean and
std of its own is then."""
_OWN, _OWN_SURELY = 3.0, 1.5
"""How many times farther than by chance a solution may be: at all, overwhelmingly. Images unlike
those of training leave more than what six numbers can bring into line."""
_OWN_STARTS = 3


@dataclass(frozen=True)
class PreprocessingFit:
    """How close a preprocessing brings the images to what the first batch norm remembers.

    Attributes:
        name: As people call it, or ``its own``.
        mean: For each channel of the network's input, on the [0, 1] scale.
        std: The same.
        color_order: Of these channels.
        misfit: 0 is equal, 1 the most: half the symmetric Kullback-Leibler divergence of two
            Gaussians, at most 1 in a channel, mean over channels.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color_order: ColorOrder
    misfit: float


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
        as_likely: What the images cannot tell from ``best``: in use, it would fit too. Only what
            changes a network's answers: not what is close to ``best``, or to another of these.
        unlike: Where nothing else keeps ``best`` from being overwhelming, the mean divergence that
            does, over the first quarter of the batch norms: the images are unlike training's.
        own: What was solved, with its standard errors, where the verdict is ``own``.
    """

    images: int
    in_use: PreprocessingFit
    best: PreprocessingFit
    tried: tuple[PreprocessingFit, ...]
    verdict: Verdict
    overwhelming: bool
    as_likely: tuple[PreprocessingFit, ...] = ()
    unlike: float | None = None
    own: OwnNormalization | None = None


def judge_preprocessing(
    stem: Stem, in_use: Preprocessing, early: EarlyNorms | None = None
) -> PreprocessingVerdict:
    """Hold a preprocessing against every other, and against one solved from the weights.

    Another fits surely better (``other``) where it is 6 times closer to what the batch norm
    remembers; or where the same mean and std in the other order of colours are likelier, by a ratio
    of which twice the logarithm is 3; or another mean and std, where that is 30 (3 where it is of
    the usual order of colours, and that is likelier than its own reverse by 3). Closeness is the
    misfit, at least what chance brings to as many images; likelihood is a Gaussian's of the
    mean of the images' own moments, with the covariance that they have among the images. Of those
    less than 6 times as far as the closest it is that of the first quarter of the batch norms, the
    mean of their logarithms. What is not surely less likely than the best, nor close to it, is
    named beside it.

    It is overwhelming from 32 images on, where what it names has a misfit of at most 0.1 and is
    10 times closer, or the logarithm for the order of colours is 20; unless the images are unlike
    those of training even so: a mean divergence above 0.1 over the first quarter of the batch
    norms.

    Of images without colours the order is not asked for.

    Where nothing in use comes within 0.02 and four times chance, scale and shift of each colour are
    solved; the verdict is ``own`` if they come 5 times closer and within 3 times chance. It is
    overwhelming where nothing in use comes within 0.1, and the solution within 1.5 times chance.

    Args:
        stem: Of at least one image, of as many channels as the preprocessing has.
        in_use: What is assumed or stated.
        early: Of the same images. None: judged by the first batch norm alone.
    """
    return judge_each(stem, [in_use], early)[0]


def judge_each(
    stem: Stem, in_use: Sequence[Preprocessing], early: EarlyNorms | None = None
) -> list[PreprocessingVerdict]:
    """`judge_preprocessing` of several, which costs little more than of one."""
    given = [candidate_of(preprocessing) for preprocessing in in_use]
    orders = {one.color_order for one in given} if stem.is_grey else {"RGB", "BGR"}
    tried = dict.fromkeys(c for one in given for c in candidates(one) if c.color_order in orders)
    judged = _Judged(stem, tuple(tried), early)
    return [_judge(judged, _same(judged.candidates, one)) for one in given]


def _judge(judged: _Judged, used: Candidate) -> PreprocessingVerdict:
    if judged.solved is not None:
        own = judged.solved.candidate
        off = judged.misfit(own)
        surely = judged.closest >= _FITTING and off <= _OWN_SURELY * judged.chance
        return judged.verdict(used, own, "own", surely=surely)
    best = judged.likelier(used)
    if best is used:
        return judged.verdict(used, used, "fits")
    is_reverse = best.is_like(reversed_colors(used))
    surely = (
        judged.misfit(best) <= _FITTING
        and judged.stem.images >= _FEWEST_IMAGES
        and (
            judged.ratio(used) >= _FAR_CLOSER
            or (is_reverse and judged.gain_of_reversal(used) >= _SURELY_OTHER_ORDER)
        )
    )
    return judged.verdict(used, best, "other", surely=surely)


def _same(tried: tuple[Candidate, ...], given: Candidate) -> Candidate:
    alike = [c for c in tried if c.is_like(given)]
    return next((c for c in alike if c.name == given.name), alike[0])


class _Judged:
    """Candidates held against the same images.

    Args:
        stem: Of the images.
        tried: In the order in which alike ones are named.
    """

    def __init__(self, stem: Stem, tried: tuple[Candidate, ...], early: EarlyNorms | None) -> None:
        self.stem = stem
        self.candidates = tried
        self.early = early
        self.layers = {c: first_layer(stem, c) for c in tried}
        self.misfits = {c: misfit(layer) for c, layer in self.layers.items()}
        self._ranked = sorted(tried, key=self.misfits.__getitem__)
        self.closest = self.misfits[self._ranked[0]]
        self.chance = chance(self.layers[self._ranked[0]])
        self._preferences: dict[tuple[Candidate, Candidate], float] = {}

    def ratio(self, used: Candidate) -> float:
        """How many times farther it is than the closest, or than chance brings."""
        return self.misfits[used] / max(self.closest, self.chance)

    @cached_property
    def open(self) -> tuple[Candidate, ...]:
        """Those that the first batch norm leaves open, of alike ones the table's first."""
        near = [c for c in self.candidates if self.ratio(c) < _CLOSER]
        distinct = [c for c in near if next(n for n in near if n.is_like(c)) is c]
        against = {c: log_likelihood_ratio(self.layers[near[0]], self.layers[c]) for c in distinct}
        least = min(against.values())
        return tuple(c for c in distinct if against[c] - least < _OTHER_VALUES)

    @cached_property
    def likeliest(self) -> Candidate:
        """The one that explains the images best; of those alike the table's first."""
        costs = {c: self.preference(self.open[0], c) + _RARITY * c.rarity for c in self.open}
        return min(self.open, key=costs.__getitem__)

    def preference(self, one: Candidate, other: Candidate) -> float:
        """Twice the log likelihood ratio of two: positive where the first is likelier."""
        if (one, other) not in self._preferences:
            pairs = zip(self._evidence(one), self._evidence(other), strict=False)
            ratios = [log_likelihood_ratio(*pair) for pair in pairs]
            self._preferences[one, other] = sum(ratios) / len(ratios)
        return self._preferences[one, other]

    def _evidence(self, candidate: Candidate) -> Sequence[NormLayer]:
        """The first quarter of the batch norms under one that is open, the first under others."""
        known = next((c for c in self.open if c.is_like(candidate)), None)
        if self.early is None or len(self.open) == 1 or known is None:
            return [self.layers[candidate]]
        return [self.layers[candidate], *self.early(known).layers[1:]]

    def unlike(self, best: Candidate) -> float | None:
        """How far the first quarter of the batch norms is off under it, where that is too far."""
        if self.early is None:
            return None
        divergence = mean_divergence(self.early(best).layers)
        return divergence if divergence > _FITTING else None

    def as_likely(self, best: Candidate) -> Iterator[Candidate]:
        """What would fit as well, the likeliest first; of those that are close, only that."""
        if not any(c.is_like(best) for c in self.open):
            return
        named = [best]
        for other in sorted(self.open, key=partial(self.preference, best)):
            is_reverse = other.is_like(reversed_colors(best))
            least = _OTHER_ORDER if is_reverse else _OTHER_VALUES
            is_new = not any(other.is_close(each) for each in named)
            if is_new and self.preference(best, other) < least:
                named.append(other)
                yield other

    def likelier(self, used: Candidate) -> Candidate:
        """What is surely likelier than the one in use; that one where nothing is."""
        best = used if self.likeliest.is_like(used) else self.likeliest
        if best is used or self.ratio(used) >= _CLOSER:
            return best
        other_order = best.color_order != used.color_order
        if other_order and self.gain_of_reversal(used) >= _OTHER_ORDER:
            reverse = _same(self.candidates, reversed_colors(used))
            return best if self.preference(best, reverse) >= _OTHER_VALUES else reverse
        if other_order and best.rarity <= used.rarity and self._order_is_sure(best, used):
            return best
        return best if self.preference(best, used) >= _OTHER_VALUES else used

    def _order_is_sure(self, best: Candidate, used: Candidate) -> bool:
        """Whether the other order of colours is likelier than both its own reverse and this."""
        return (
            -self.gain_of_reversal(best) >= _OTHER_ORDER
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
        return own if self.misfit(own.candidate) <= most else None

    def misfit(self, candidate: Candidate) -> float:
        """Of the first batch norm, under one that was tried or any other."""
        if candidate not in self.misfits:
            self.misfits[candidate] = misfit(first_layer(self.stem, candidate))
        return self.misfits[candidate]

    def verdict(
        self, used: Candidate, best: Candidate, verdict: Verdict, *, surely: bool = False
    ) -> PreprocessingVerdict:
        """With all that were tried, closest first; overwhelming where sure of familiar images."""
        unlike = self.unlike(best) if surely else None
        as_likely = () if verdict == "own" else self.as_likely(best)
        return PreprocessingVerdict(
            images=self.stem.images,
            in_use=self._fit(used),
            best=self._fit(best),
            tried=tuple(map(self._fit, self._ranked)),
            verdict=verdict,
            overwhelming=surely and unlike is None,
            as_likely=tuple(map(self._fit, as_likely)),
            unlike=unlike,
            own=self.solved if verdict == "own" else None,
        )

    def _fit(self, candidate: Candidate) -> PreprocessingFit:
        return PreprocessingFit(
            candidate.name,
            candidate.mean,
            candidate.std,
            candidate.color_order,
            self.misfit(candidate),
        )
