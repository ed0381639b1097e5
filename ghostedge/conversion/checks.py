"""What lies between two artefacts, and the bounds on it.

Two files that should be the same function are held to the largest difference of any number, one
that rounds to int8 to its signal-to-noise ratio: the power of the reference's numbers over that of
the difference, over all images. A classifier is held to the class that it puts first too: a few
dozen images may agree on it by luck, and its scores may be close where their order is not.

The bounds are stated here, printed and put in the manifest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ghostedge.conversion.images import Batches, ImageSet
from ghostedge.conversion.source import Loaded
from ghostedge.records.manifest import Parity
from ghostedge_runtime import Model

Scores = npt.NDArray[np.float32]


ROUNDINGS = 10
"""How many times as far as by rounding its input may float32 move a network: each layer rounds too.

Two runtimes on GhostNetV3 1.3x of random weights and logits up to 439 lie 3 times that apart."""
MOST_ROUNDING = 1e-2
"""Beyond that share of its largest number two float32 files are not shown to be the same."""

ROUNDED_IMAGES = 8


@dataclass(frozen=True)
class Budget:
    """A bound on the difference of two artefacts; each part that is stated has to hold.

    Attributes:
        max_difference: Of any number of an output, as a share of the largest magnitude among that
            output's numbers in the reference, over all images.
        min_sqnr_db: Signal-to-noise ratio of every output, of a classifier's scores.
        min_agreement_pct: Share of images with the same top-1, of a classifier.
        allows_rounding: Whether ``max_difference`` was widened by what float32 itself leaves open.
    """

    max_difference: float | None = None
    min_sqnr_db: float | None = None
    min_agreement_pct: float | None = None
    allows_rounding: bool = False

    def __str__(self) -> str:
        parts = (
            (self.max_difference, "differences within {:g} of the output's largest number"),
            (self.min_agreement_pct, "same top-1 on {:g} %"),
            (self.min_sqnr_db, "sqnr at least {:g} dB"),
        )
        said = ", ".join(words.format(bound) for bound, words in parts if bound is not None)
        if not self.allows_rounding:
            return said
        return f"{said}: {ROUNDINGS} times what it moves when its input is rounded"

    def allowing(self, rounding: float) -> Budget:
        """The budget for a network whose outputs float32 rounding moves by this share."""
        bound = min(ROUNDINGS * rounding, MOST_ROUNDING)
        if self.max_difference is None or bound <= self.max_difference:
            return self
        return replace(self, max_difference=float(f"{bound:.2g}"), allows_rounding=True)


# 20 dB is an error with a tenth of the signal's root mean square: a cosine of 0.995 between an
# embedding and its float original. What lowering adds to int8 is rounding alone, so it has to be
# smaller than what int8 itself does.
BUDGETS: Mapping[tuple[str, str], Budget] = {
    ("onnx", "float32"): Budget(max_difference=1e-4),
    ("tflite", "float32"): Budget(max_difference=1e-3),
    ("onnx", "float16"): Budget(max_difference=1e-2),
    ("tflite", "float16"): Budget(max_difference=1e-3),
    ("onnx", "dynamic"): Budget(min_sqnr_db=20.0),
    ("tflite", "dynamic"): Budget(max_difference=1e-3),
    ("onnx", "int8"): Budget(min_sqnr_db=20.0),
    ("tflite", "int8"): Budget(min_sqnr_db=25.0),
}
"""Of a network that is no classifier, by format and precision."""

# Agreement is bounded loosely: a conversion is often checked on a few dozen images, where one
# undecided one is percents. On thousands, `benchmarks/accuracy.py` shows what to expect.
CLASS_BUDGETS: Mapping[tuple[str, str], Budget] = {
    **BUDGETS,
    ("onnx", "dynamic"): Budget(min_sqnr_db=10.0, min_agreement_pct=90.0),
    ("onnx", "int8"): Budget(min_sqnr_db=10.0, min_agreement_pct=90.0),
    ("tflite", "int8"): Budget(min_sqnr_db=20.0, min_agreement_pct=97.0),
}
"""Of a classifier."""


def class_budget(format_: str, precision: str, *, assumed: bool) -> Budget:
    """What a network that is taken for a classifier is held to.

    One that is only ``assumed`` to be one, and may be anything, keeps the ratio of other networks
    beside the top-1.
    """
    budget = CLASS_BUDGETS[format_, precision]
    if not assumed:
        return budget
    return replace(budget, min_sqnr_db=BUDGETS[format_, precision].min_sqnr_db)


class Rounding:
    """What float32 leaves open of a network, measured when it is first asked for.

    A deep network with large gains makes much of small roundings: two runtimes that compute the
    same function in another order then lie far apart.

    Args:
        model: The float ONNX file.
        batches: Normalised images.
    """

    def __init__(self, model: Model, batches: Iterable[npt.NDArray[np.float32]]) -> None:
        self._model, self._batches = model, batches

    @cached_property
    def share(self) -> float:
        """How far outputs move, as a share of their largest, when inputs move by one rounding."""
        rng = np.random.default_rng(0)
        total: dict[str, Gap] = {}
        for batch in self._batches:
            signs = rng.choice(np.array([-1, 1], np.float32), batch.shape)
            moved = self._model.values(batch * (1 + np.finfo(np.float32).eps * signs))
            for name, wanted in self._model.values(batch).items():
                total[name] = total.get(name, Gap()) + Gap.between(moved[name], wanted)
        return max(
            (gap.difference / gap.largest for gap in total.values() if gap.largest), default=0
        )

    def judged(self, judge: Callable[[Budget], Parity], budget: Budget) -> Parity:
        """A file's parity, by a budget that allows for rounding where the stated one is missed."""
        found = judge(budget)
        if found.within_budget or budget.max_difference is None:
            return found
        return judge(budget.allowing(self.share))


@dataclass(frozen=True)
class Gap:
    """What lies between one output and its reference, over the images so far.

    Attributes:
        signal: Sum of the reference's squares.
        noise: Sum of the difference's squares.
        largest: Largest magnitude of the reference.
        difference: Largest magnitude of the difference.
    """

    signal: float = 0.0
    noise: float = 0.0
    largest: float = 0.0
    difference: float = 0.0

    @classmethod
    def between(
        cls, found: npt.NDArray[np.floating[Any]], wanted: npt.NDArray[np.floating[Any]]
    ) -> Gap:
        """Of one image or batch."""
        difference = found.astype(np.float64) - wanted
        return cls(
            signal=float(np.square(wanted, dtype=np.float64).sum()),
            noise=float(np.square(difference).sum()),
            largest=float(np.abs(wanted).max(initial=0)),
            difference=float(np.abs(difference).max(initial=0)),
        )

    @classmethod
    def of_labels(
        cls, found: npt.NDArray[np.floating[Any]], wanted: npt.NDArray[np.floating[Any]]
    ) -> Gap:
        """Of whole numbers (labels, indices, a mask): how far apart two are says nothing.

        The difference is the share of unequal ones. Each of them is noise of a tenth of a label's
        power: one in ten unequal are 20 dB, one in a hundred 30 dB, so that the bounds on int8 ask
        of labels what they ask of a classifier's top-1.
        """
        unequal = float(np.count_nonzero(found != wanted))
        share = unequal / max(wanted.size, 1)
        return cls(float(wanted.size), unequal / 10, largest=1.0, difference=share)

    @classmethod
    def of_scores(cls, found: Scores, wanted: Scores) -> Gap:
        """Of a classifier's scores, (images, classes): powers are about each image's mean.

        Softmax, and which class comes first, do not see what all scores of an image have in
        common: a shift of it is no noise, and a large one no signal beside which noise is small.
        """
        powers = cls.between(_centred(found), _centred(wanted))
        return replace(cls.between(found, wanted), signal=powers.signal, noise=powers.noise)

    def __add__(self, other: Gap) -> Gap:
        return Gap(
            self.signal + other.signal,
            self.noise + other.noise,
            max(self.largest, other.largest),
            max(self.difference, other.difference),
        )

    @property
    def relative(self) -> float | None:
        """The difference as a share of the largest; None where that is zero and this is not."""
        if self.difference == 0:
            return 0.0
        return self.difference / self.largest if self.largest else None

    @property
    def sqnr_db(self) -> float | None:
        """None where there is no difference at all."""
        if self.noise == 0:
            return None
        return 10 * math.log10(max(self.signal, np.finfo(float).tiny) / self.noise)

    def keeps(self, budget: Budget) -> bool:
        """Whether it is inside the bounds on difference and signal-to-noise ratio."""
        bound, ratio = budget.max_difference, self.sqnr_db
        close = bound is None or self.difference <= bound * self.largest
        clear = budget.min_sqnr_db is None or ratio is None or ratio >= budget.min_sqnr_db
        return math.isfinite(self.noise) and close and clear


def rounding_of(model: Model, loaded: Loaded, images: ImageSet, batch: int) -> Rounding:
    """What float32 leaves open of a network, asked of its float ONNX file on a few images."""
    return Rounding(model, Batches(images.head(ROUNDED_IMAGES), loaded.preprocessing, batch))


def _centred(scores: Scores) -> npt.NDArray[np.float64]:
    wide = scores.astype(np.float64)
    return np.asarray(wide - wide.mean(axis=1, keepdims=True))


def agreement_pct(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> float:
    """Share of equal entries of two arrays of predicted classes, in percent."""
    return 100.0 * float(np.mean(a == b))


def parity(
    scores: Scores,
    reference_scores: Scores,
    budget: Budget,
    *,
    reference: str,
    image_source: str,
) -> Parity:
    """Compare two arrays of scores, (images, classes), of the same images in the same order."""
    gap = Gap.of_scores(scores, reference_scores)
    agreement = agreement_pct(scores.argmax(1), reference_scores.argmax(1))
    agrees = budget.min_agreement_pct is None or agreement >= budget.min_agreement_pct
    return Parity(
        reference=reference,
        images=len(scores),
        image_source=image_source,
        max_abs_diff=gap.difference,
        max_relative_diff=gap.relative,
        agreement_pct=agreement,
        sqnr_db=gap.sqnr_db,
        budget=str(budget),
        within_budget=agrees and gap.keeps(budget),
    )
