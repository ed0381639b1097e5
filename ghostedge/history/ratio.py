"""How many times as long one measurement takes as another, and how sure that is.

The two sides were measured at different times, so nothing is paired. Each run's percentile has a
standard error of its logarithm, from the bootstrap over its rounds
(`ghostedge_runtime.bench.statistics`). The ratio's 95 % interval is Welch's: Student's t at the
degrees of freedom that the numbers of rounds allow, because a plain bootstrap of a few rounds is
too sure of itself.

Where a side has several runs, what counts is how far whole runs lie apart, which no single run can
tell: the pooled standard deviation of the runs' logarithms about their side's mean, Student's t at
runs - 2 degrees of freedom. Both sides are taken to scatter alike, so that one new run can be held
against many old ones. The interval is never narrower than the rounds' own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ghostedge_runtime.bench.record import Round
from ghostedge_runtime.bench.statistics import Rounds, student

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


class Side:
    """One case's runs, on one side of a comparison.

    Args:
        runs: The rounds of each run, at least one; every sample is above zero.

    Attributes:
        has_rounds: Whether every run has the two rounds that an interval takes.
    """

    def __init__(self, runs: Sequence[Sequence[Round]]) -> None:
        self._runs = [Rounds([each.samples_ns for each in rounds]) for rounds in runs]
        self.has_rounds = min(map(len, runs)) > 1

    def __len__(self) -> int:
        return len(self._runs)

    def logs(self, percent: float) -> list[float]:
        """Natural logarithm of each run's percentile, in milliseconds."""
        return [math.log(float(np.percentile(each.samples_ms, percent))) for each in self._runs]

    def typical_ms(self, percent: float) -> float:
        """The geometric mean of the runs' percentiles, in milliseconds."""
        logs = self.logs(percent)
        return math.exp(sum(logs) / len(logs))

    def mean_parts(self, percent: float) -> list[tuple[float, int]]:
        """What each run adds to the variance of the logs' mean; its degrees of freedom."""
        share = len(self._runs) ** 2
        parts = (_variance(each, percent) for each in self._runs)
        return [(variance / share, freedom) for variance, freedom in parts]


def ratio_between(a: Side, b: Side, percent: float) -> Ratio:
    """The ratio of a percentile, B over A; ``percent`` is 50 for the median."""
    logs = a.logs(percent), b.logs(percent)
    means = [sum(each) / len(each) for each in logs]
    shift = means[1] - means[0]
    basis: Basis = "rounds" if len(a) + len(b) == 2 else "runs"
    if not (a.has_rounds and b.has_rounds):
        return Ratio(math.exp(shift), None, None, basis)
    half = _half_width_of_rounds(a.mean_parts(percent) + b.mean_parts(percent))
    if basis == "runs":
        half = max(half, _half_width_of_runs(logs, means))
    half = max(half, _ROUNDING)
    return Ratio(math.exp(shift), math.exp(shift - half), math.exp(shift + half), basis)


def _variance(rounds: Rounds, percent: float) -> tuple[float, int]:
    """Of the log of a run's percentile, with its degrees of freedom."""
    if rounds.are_few:
        logs = rounds.logs(percent)
        return float(logs.var(ddof=1)) / logs.size, logs.size - 1
    freedom = rounds.blocks - 1
    # Draws of n out of n vary by (n - 1) / n of what n new rounds would.
    drawn = float(np.log(rounds.replicates(percent)).var())
    return drawn * rounds.blocks / freedom, freedom


def _half_width_of_rounds(parts: Sequence[tuple[float, int]]) -> float:
    """Welch's, with Satterthwaite's degrees of freedom."""
    total = sum(part for part, _ in parts)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(part**2 / of for part, of in parts)
    return student(max(int(freedom), 1)) * math.sqrt(total)


def _half_width_of_runs(logs: Sequence[Sequence[float]], means: Sequence[float]) -> float:
    freedom = sum(map(len, logs)) - 2
    squares = sum(
        (each - mean) ** 2 for side, mean in zip(logs, means, strict=True) for each in side
    )
    share = sum(1 / len(side) for side in logs)
    return student(freedom) * math.sqrt(squares / freedom * share)
