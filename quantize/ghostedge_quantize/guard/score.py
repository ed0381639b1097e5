"""What a budget allows, what int8 answers lose against it, and when that is settled early.

Both budgets come down to points lost on a set of images: of accuracy (images that float got right
and int8 does not, less those the other way round), or of agreement (images that the two classify
differently).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ghostedge_runtime.errors import InputError

BudgetKind = Literal["max_drop", "min_agreement"]
Classes = npt.NDArray[np.int64]

_SIGMAS = 4.0
"""How far the budget has to be out of reach before a check is cut short: 1 in 30,000 is wrong."""
_FEWEST = 200
"""Images below which the spread of the losses is not known well enough to cut a check short."""


@dataclass(frozen=True)
class Budget:
    """What int8 may lose.

    Attributes:
        kind: ``max_drop``: points of top-1 accuracy; ``min_agreement``: percent of the images
            that keep the float network's top-1.
        limit: Of that.

    Raises:
        InputError: The limit is not a number from 0 to 100.
    """

    kind: BudgetKind
    limit: float

    def __post_init__(self) -> None:
        if not 0 <= self.limit <= 100:  # false for NaN too
            raise InputError(
                f"must be between 0 and 100, got {self.limit:g}",
                where=f"--{self.kind.replace('_', '-')}",
            )

    @property
    def allowed_loss(self) -> float:
        """Points that may be lost."""
        return self.limit if self.kind == "max_drop" else 100.0 - self.limit

    def holds(self, loss: float) -> bool:
        """Whether a loss in points is within the budget."""
        return loss <= self.allowed_loss + 1e-9

    def shown(self, loss: float) -> str:
        """A loss in the budget's own words."""
        if self.kind == "max_drop":
            return f"drop {loss:.2f} points"
        return f"agreement {100 - loss:.2f} %"

    def __str__(self) -> str:
        if self.kind == "max_drop":
            return f"a drop of at most {self.limit:g} points"
        return f"at least {self.limit:g} % agreement"


@dataclass(frozen=True)
class Score:
    """What one choice of float layers loses.

    Attributes:
        loss: Points; in the worst of the formats that were measured.
        images: How many it was measured on: all of them, or fewer where it was settled before.
        holds: Whether it is within the budget. Only all images together can say so.
    """

    loss: float
    images: int
    holds: bool


@dataclass(frozen=True)
class Target:
    """The float network's answers, and what may be lost against them.

    Attributes:
        budget: The bound.
        answers: The float network's top-1, (images,).
        labels: The right classes, (images,); None for a budget of agreement.
    """

    budget: Budget
    answers: Classes
    labels: Classes | None = None

    def losses(self, indices: Classes, answers: Classes) -> Classes:
        """Loss of each of the images ``indices``, given int8's top-1: -1 (a gain), 0 or 1."""
        if self.labels is None:
            return np.asarray(answers != self.answers[indices], np.int64)
        labels = self.labels[indices]
        lost = np.asarray(self.answers[indices] == labels, np.int64)
        return np.asarray(lost - (answers == labels), np.int64)

    def possible_gains(self) -> int:
        """Images that int8 may get right where float did not."""
        return 0 if self.labels is None else int((self.answers != self.labels).sum())

    def score(self, answered: Iterable[tuple[Classes, Classes]]) -> Score:
        """Count losses until every image is counted or the budget is out of reach.

        Args:
            answered: Indices of images with int8's top-1 of them, in an order that has nothing
                to do with their classes; left where it stands once the budget is out of reach.
        """
        count = Tally(len(self.answers), self.budget.allowed_loss, self.possible_gains())
        for indices, answers in answered:
            gains_used = 0
            if self.labels is not None:
                gains_used = int((self.answers[indices] != self.labels[indices]).sum())
            count.add(self.losses(indices, answers), gains_used)
            if count.out_of_reach():
                break
        loss = count.loss
        return Score(loss, count.seen, count.seen == count.total and self.budget.holds(loss))


class Tally:
    """Losses so far, and whether the rest can still bring them within bounds.

    Args:
        total: Images there are.
        allowed: Points that may be lost over all of them.
        gains: Images on which a gain is possible.
    """

    def __init__(self, total: int, allowed: float, gains: int) -> None:
        self.total, self.seen = total, 0
        self._allowed, self._gains = allowed * total / 100, gains
        self._lost = self._squares = 0

    @property
    def loss(self) -> float:
        """Points lost on the images seen so far."""
        return 100 * self._lost / self.seen if self.seen else 0.0

    def add(self, losses: Classes, gains_used: int) -> None:
        """Count some images.

        Args:
            losses: -1, 0 or 1 each.
            gains_used: On how many of them a gain was possible.
        """
        self.seen += len(losses)
        self._gains -= gains_used
        self._lost += int(losses.sum())
        self._squares += int((losses * losses).sum())

    def out_of_reach(self) -> bool:
        """True when the budget cannot hold any more, or will not but for one case in 30,000.

        The final loss is predicted from the images seen as a draw without replacement: of the
        ``left`` others, ``left`` times the mean loss so far are expected, with the variance
        ``v · left · (1 + left / seen)``.
        """
        left = self.total - self.seen
        if self._lost - self._gains > self._allowed + 1e-9:
            return True
        if self.seen < _FEWEST or left == 0:
            return False
        mean = self._lost / self.seen
        variance = (self._squares + 1) / self.seen - mean * mean
        spread = math.sqrt(variance * left * (1 + left / self.seen))
        return self._lost + left * mean - _SIGMAS * spread > self._allowed
