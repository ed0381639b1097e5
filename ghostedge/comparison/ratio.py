"""How many times as long one measurement takes as another, and how sure that is.

The two sides were measured at different times, so nothing is paired. Each run's percentile is drawn
anew by the bootstrap over its rounds (`ghostedge_runtime.bench.statistics`). Of the ratio's
logarithm that gives two 95 % intervals, and both together, hull and all, are the answer:

- Welch's: Student's t at the degrees of freedom that the numbers of rounds allow, because the range
  of a bootstrap of few rounds is too sure of itself;
- the 2.5 % and 97.5 % of the drawn ratios, because a percentile that lies where a machine's slow
  moments begin has a distribution with two humps, which a standard error does not show.

Where a side has several runs, what counts is how far whole runs lie apart, which no single run can
tell: the pooled standard deviation of the runs' logarithms about their side's mean, Student's t at
runs - 2 degrees of freedom. Both sides are taken to scatter alike, so that one new run can be held
against many old ones. The interval is never narrower than the rounds' own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Literal

import numpy as np

from ghostedge_runtime.bench.statistics import Floats, Rounds, student
from ghostedge_runtime.record import Round

Basis = Literal["rounds", "runs"]

# Of sums of logarithms: what is equal shall not differ by the order of adding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Ratio:
    """B over A.

    Attributes:
        value: Ratio of the (geometric mean of the) runs' percentiles.
        low, high: Its 95 % interval; None where a run has a single round, which allows none.
        basis: ``runs`` where it holds the spread between runs, ``rounds`` where only that within.
    """

    value: float
    low: float | None
    high: float | None
    basis: Basis


def ratio_between(
    a: Sequence[Sequence[Round]], b: Sequence[Sequence[Round]], percent: float
) -> Ratio:
    """The ratio of a percentile, B over A.

    Args:
        a: The rounds of each run of A, at least one; every sample is above zero.
        b: Of B.
        percent: 50 for the median.
    """
    seeds = count()
    sides = [[_Run(rounds, next(seeds), percent) for rounds in side] for side in (a, b)]
    means = [_mean([run.log for run in side]) for side in sides]
    shift = means[1] - means[0]
    basis: Basis = "rounds" if len(a) + len(b) == 2 else "runs"
    if min(len(rounds) for side in (a, b) for rounds in side) < 2:
        return Ratio(math.exp(shift), None, None, basis)
    half = max(_half_width_of_rounds(sides), _ROUNDING)
    if basis == "runs":
        half = max(half, _half_width_of_runs(sides, means))
    drawn_low, drawn_high = _drawn_interval(sides, shift)
    low, high = min(shift - half, drawn_low), max(shift + half, drawn_high)
    return Ratio(math.exp(shift), math.exp(low), math.exp(high), basis)


def typical_ms(runs: Sequence[Sequence[Round]], percent: float) -> float:
    """The geometric mean of the runs' percentiles, in milliseconds."""
    return math.exp(_mean([_Run(rounds, 0, percent).log for rounds in runs]))


class _Run:
    """A percentile of one run, by its natural logarithm (of milliseconds)."""

    def __init__(self, rounds: Sequence[Round], seed: int, percent: float) -> None:
        self._rounds = Rounds([burst.samples_ns for burst in rounds], seed)
        self._percent = percent
        self.log = math.log(float(np.percentile(self._rounds.samples_ms, percent)))

    @cached_property
    def draws(self) -> Floats | None:
        """The logarithm in each draw; None where there are too few rounds to draw from."""
        if self._rounds.are_few:
            return None
        return np.log(self._rounds.replicates(self._percent))

    @cached_property
    def error(self) -> tuple[float, int]:
        """Standard error of the logarithm, and its degrees of freedom."""
        return self._rounds.error_of_log(self._percent)


_Sides = Sequence[Sequence[_Run]]


def _half_width_of_rounds(sides: _Sides) -> float:
    """Welch's, with Satterthwaite's degrees of freedom."""
    errors = [(*run.error, len(side)) for side in sides for run in side]
    parts = [((error / runs) ** 2, freedom) for error, freedom, runs in errors]
    total = sum(part for part, _ in parts)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(part**2 / of for part, of in parts)
    return student(max(int(freedom), 1)) * math.sqrt(total)


def _half_width_of_runs(sides: _Sides, means: Sequence[float]) -> float:
    freedom = sum(map(len, sides)) - 2
    squares = sum(
        (run.log - mean) ** 2 for side, mean in zip(sides, means, strict=True) for run in side
    )
    share = sum(1 / len(side) for side in sides)
    return student(freedom) * math.sqrt(squares / freedom * share)


def _drawn_interval(sides: _Sides, shift: float) -> tuple[float, float]:
    """Percentiles of the drawn shifts; a run that cannot be drawn from stays where it is."""
    means = [
        sum(run.log if run.draws is None else run.draws for run in side) / len(side)
        for side in sides
    ]
    low, high = np.quantile(means[1] - means[0] + np.zeros(1), (0.025, 0.975))
    return min(float(low), shift), max(float(high), shift)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
