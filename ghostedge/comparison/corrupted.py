"""What a file loses on corrupted images beyond what it loses on clean ones, and how sure that is.

A file of smaller numbers is held against the float32 file of the same weights, image by image, for
both saw the same pixels. Of an image that a corruption turned, the **loss** is how much more often
float is right than the other, less the same of the image as it is: -2 to 2. Its mean over the
images is the drop beyond the clean drop.

Each has a 95 % interval by the normal distribution, with one image more that the corruption turned
either way, half and half, and one that it did not (Agresti and Min, Simple improved confidence
intervals for comparing matched proportions, Statistics in Medicine 24, 2005): where no image
differs an interval is not empty. Whether a loss is **shown** says the exact sign test over the
images that differ (McNemar's, of the difference), at 5 % over all corruptions and strengths of a
file together (Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6,
1979): a table of 35 would hold one or two by luck otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ghostedge_runtime.record import AS_THEY_ARE, CorruptedScore, CorruptionScores, Estimate, Result

LOST_POINTS = 1.0
"""A file gives way to a corruption where it loses more than this beyond its clean drop."""
LEVEL = 0.05
_Z = NormalDist().inv_cdf(1 - LEVEL / 2)

Losses = npt.NDArray[np.int64]
"""(images,): -2 to 2."""


@dataclass(frozen=True)
class StrengthLoss:
    """A corruption at one strength.

    Attributes:
        strength: 1 to 5.
        reference_pct: Top-1 of the float file.
        top1_pct: Top-1 of the other.
        beyond: Points of top-1 lost beyond the clean drop.
        shown: Whether that something is lost is sure; see the module.
    """

    strength: int
    reference_pct: float
    top1_pct: float
    beyond: Estimate
    shown: bool

    @property
    def drop(self) -> float:
        """Points of top-1 lost, the clean drop included."""
        return self.reference_pct - self.top1_pct

    @property
    def gives_way(self) -> bool:
        """Whether more than `LOST_POINTS` are lost, by the estimate, and a loss is shown."""
        return self.beyond.value > LOST_POINTS and self.shown


@dataclass(frozen=True)
class CorruptionLoss:
    """A corruption at all its strengths.

    Attributes:
        corruption: Its name.
        strengths: In order.
        mean: Points lost beyond the clean drop, the mean over the strengths.
    """

    corruption: str
    strengths: tuple[StrengthLoss, ...]
    mean: Estimate

    @property
    def gives_way(self) -> StrengthLoss | None:
        """The first strength at which the file gives way."""
        return next((loss for loss in self.strengths if loss.gives_way), None)


@dataclass(frozen=True)
class CorruptedPair:
    """A file held against the float file of the same weights on corrupted images.

    Attributes:
        reference: The float file's place among the results.
        other: The file's.
        scores: Of the file.
        clean: Top-1 on the images as they are: of float and of the file.
        losses: A corruption each.
    """

    reference: int
    other: int
    scores: CorruptionScores
    clean: tuple[float, float]
    losses: tuple[CorruptionLoss, ...]

    @property
    def first(self) -> CorruptionLoss | None:
        """Where the file gives way first: at the least strength, of equal ones with most lost."""
        weak = [
            (way.strength, -way.beyond.value, place)
            for place, loss in enumerate(self.losses)
            if (way := loss.gives_way) is not None
        ]
        return self.losses[min(weak)[2]] if weak else None


def corrupted_pairs(results: Sequence[Result]) -> tuple[CorruptedPair, ...]:
    """The files of a run that a float file of the same weights stands beside.

    Files that differ in threads alone count once. Of several float files the one on the same
    backend is taken.
    """
    scored = dict(scored_once(results))
    pairs = []
    for place, scores in scored.items():
        if not _is_float(results[place], scores):
            references = [
                other
                for other, its in scored.items()
                if _is_float(results[other], its) and _line_up(scores, its)
            ]
            backend = results[place].case.backend
            references.sort(key=lambda other: results[other].case.backend != backend)
            if references:
                pairs.append(_pair(references[0], place, scored))
    return tuple(pairs)


def scored_once(results: Sequence[Result]) -> Iterator[tuple[int, CorruptionScores]]:
    """Place and scores of each file that was scored on corrupted images, its first case alone."""
    seen = set()
    for place, result in enumerate(results):
        case = result.case
        key = (case.sha256, case.backend, case.precision_mode)
        if result.corrupted is not None and key not in seen:
            seen.add(key)
            yield place, result.corrupted


def _is_float(result: Result, scores: CorruptionScores) -> bool:
    return scores.precision == "float32" and result.case.precision_mode == "default"


def _line_up(a: CorruptionScores, b: CorruptionScores) -> bool:
    """Whether two files are of the same weights and saw the same images."""
    return all(
        getattr(a, name) == getattr(b, name) for name in ("source_sha256", "pixels_crc32", "images")
    ) and _names(a) == _names(b)


def _names(scores: CorruptionScores) -> list[tuple[str, int]]:
    return [(score.corruption, score.strength) for score in scores.scores]


def _pair(reference: int, other: int, scored: Mapping[int, CorruptionScores]) -> CorruptedPair:
    a, b = scored[reference], scored[other]
    differences = [
        right_images(of_float, a.images).astype(np.int64) - right_images(of_other, a.images)
        for of_float, of_other in zip(a.scores, b.scores, strict=True)
    ]
    clean = _names(a).index((AS_THEY_ARE, 0))
    beyond = [difference - differences[clean] for difference in differences]
    places = [place for place in range(len(beyond)) if place != clean]
    shown = dict(zip(places, _shown([beyond[place] for place in places]), strict=True))
    return CorruptedPair(
        reference,
        other,
        scores=b,
        clean=(a.scores[clean].top1_pct, b.scores[clean].top1_pct),
        losses=tuple(_losses(a.scores, b.scores, beyond, shown)),
    )


def _losses(
    reference: Sequence[CorruptedScore],
    other: Sequence[CorruptedScore],
    beyond: Sequence[Losses],
    shown: Mapping[int, bool],
) -> Iterator[CorruptionLoss]:
    for name in dict.fromkeys(reference[place].corruption for place in shown):
        places = [place for place in shown if reference[place].corruption == name]
        strengths = tuple(
            StrengthLoss(
                strength=reference[place].strength,
                reference_pct=reference[place].top1_pct,
                top1_pct=other[place].top1_pct,
                beyond=loss_estimate(beyond[place]),
                shown=shown[place],
            )
            for place in places
        )
        mean = np.mean([beyond[place] for place in places], axis=0)
        yield CorruptionLoss(name, strengths, loss_estimate(mean))


def right_images(score: CorruptedScore, images: int) -> npt.NDArray[np.bool_]:
    """Which images were right, (images,) in the folder's order."""
    packed = np.frombuffer(bytes.fromhex(score.hits), np.uint8)
    return np.unpackbits(packed, count=images).astype(bool)


def loss_estimate(losses: npt.NDArray[np.float64] | Losses) -> Estimate:
    """The mean of images' losses in points, with its 95 % interval; see the module."""
    count = len(losses) + 2
    mean = float(losses.sum()) / count
    variance = (float(np.square(losses).sum()) + 1) / count - mean**2
    half = _Z * math.sqrt(variance / count)
    value = float(losses.mean())
    low, high = min(value, mean - half), max(value, mean + half)
    return Estimate(100 * value, 100 * low, 100 * high)


def _shown(beyond: Sequence[Losses]) -> list[bool]:
    """Which losses are above zero, at `LEVEL` over all of them."""
    chances = [_chance(int((losses > 0).sum()), int((losses < 0).sum())) for losses in beyond]
    shown = [False] * len(chances)
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if chances[place] > LEVEL / (len(chances) - rank):
            break
        shown[place] = True
    return shown


def _chance(worse: int, better: int) -> float:
    """Chance that so many or more of the images that differ got worse, were both as likely."""
    count = worse + better
    return sum(math.comb(count, more) for more in range(worse, count + 1)) / (1 << count)
