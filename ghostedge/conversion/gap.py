"""What lies between two files' numbers, in sums that images add to.

Two files that should be the same function are held to the largest difference of any number, one
that rounds to int8 to its signal-to-noise ratio: the power of the reference's numbers over that of
the difference, over all images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ghostedge.formats.table import Budget

Scores = npt.NDArray[np.float32]
"""Of a classifier: (images, classes)."""


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
        cls, values: npt.NDArray[np.floating[Any]], wanted: npt.NDArray[np.floating[Any]]
    ) -> Gap:
        """Of one image or batch."""
        difference = values.astype(np.float64) - wanted
        return cls(
            signal=float(np.square(wanted, dtype=np.float64).sum()),
            noise=float(np.square(difference).sum()),
            largest=float(np.abs(wanted).max(initial=0)),
            difference=float(np.abs(difference).max(initial=0)),
        )

    @classmethod
    def of_labels(
        cls, values: npt.NDArray[np.floating[Any]], wanted: npt.NDArray[np.floating[Any]]
    ) -> Gap:
        """Of whole numbers (labels, indices, a mask): how far apart two are says nothing.

        The difference is the share of unequal ones. Each of them is noise of a tenth of a label's
        power: one in ten unequal are 20 dB, one in a hundred 30 dB, so that the bounds on int8 ask
        of labels what they ask of a classifier's top-1.
        """
        unequal = float(np.count_nonzero(values != wanted))
        share = unequal / max(wanted.size, 1)
        return cls(float(wanted.size), unequal / 10, largest=1.0, difference=share)

    @classmethod
    def of_scores(cls, values: Scores, wanted: Scores) -> Gap:
        """Of a classifier's scores, (images, classes): powers are about each image's mean.

        Softmax, and which class comes first, do not see what all scores of an image have in
        common: a shift of it is no noise, and a large one no signal beside which noise is small.
        """
        powers = cls.between(_centred(values), _centred(wanted))
        return replace(cls.between(values, wanted), signal=powers.signal, noise=powers.noise)

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


def _centred(scores: Scores) -> npt.NDArray[np.float64]:
    wide = scores.astype(np.float64)
    return np.asarray(wide - wide.mean(axis=1, keepdims=True))
