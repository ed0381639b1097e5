"""How sure a figure is: 95 % bootstrap intervals over the rounds of a run.

Inferences of one burst are alike: the same clock, the same heat, the same neighbours. To draw
single samples anew would take them for independent and give intervals far too narrow, so whole
rounds are drawn (the cluster bootstrap: Field and Welsh, J. R. Stat. Soc. B 69, 2007), or blocks of
neighbouring rounds where there are more than `MAX_BLOCKS` (Künsch, Ann. Stat. 17, 1989). Two cases
of one run are drawn together, the same rounds of both, so that what hits both alike cancels in
their ratio.

The interval lies between two percentiles of the replicates, set apart a little further than 2.5 %
and 97.5 % for the small number of rounds (the expanded percentile interval: Hesterberg, What
Teachers Should Know About the Bootstrap, 2015, section 4.2). Replicates cannot leave the range of
what was seen, so below `FEW` rounds Student's t over the logarithms of the rounds' own figures
takes their place: wide, as it should be. A single round's samples stand for rounds; of one single
inference there is no interval, and all three numbers are equal.

An interval speaks of this run on this machine in this state. Not covered: what another day, board
or build would give.

Cost does not grow with the samples: percentiles of replicates are read from `RESOLUTION` classes
of equally many samples each, so their ranks are exact to 0.03 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ghostedge_runtime.bench.record import Estimate

Floats = npt.NDArray[np.float64]

FEW = 8
MAX_BLOCKS = 240
REPLICATES = 1000
RESOLUTION = 4096
_CHUNK = 250
_SEED = 0
_Z = NormalDist().inv_cdf(0.975)


class Rounds:
    """The rounds of one case, ready to be drawn anew.

    Args:
        rounds: Nanoseconds of each inference, round by round; no round is empty.
        seed: Two cases with the same number of rounds and the same seed are drawn together.
    """

    def __init__(self, rounds: Sequence[Sequence[int]], seed: int = _SEED) -> None:
        self._rounds = [np.asarray(each, np.float64) / 1e6 for each in rounds]
        if len(self._rounds) == 1:
            self._rounds = [each[np.newaxis] for each in self._rounds[0]]
        self._seed = seed
        self.samples_ms: Floats = np.concatenate(self._rounds)

    def __len__(self) -> int:
        return len(self._rounds)

    def percentile(self, pct: float) -> Estimate:
        """A percentile of all samples, in milliseconds; linear between the two nearest."""
        value = float(np.percentile(self.samples_ms, pct))
        if self.are_few:
            return _by_student(value, self.logs(pct))
        return _between(value, self.replicates(pct), len(self._blocks))

    def mean(self) -> Estimate:
        """The mean of all samples, in milliseconds."""
        value = float(self.samples_ms.mean())
        if self.are_few:
            return _by_student(value, np.log([each.mean() for each in self._rounds]))
        sums = np.array([each.sum() for each in self._blocks])
        counts = np.array([each.size for each in self._blocks])
        return _between(value, (self._draws @ sums) / (self._draws @ counts), len(self._blocks))

    @property
    def are_few(self) -> bool:
        """Whether they are too few to be drawn from."""
        return len(self._rounds) < FEW

    @property
    def blocks(self) -> int:
        """What is drawn from: the rounds, or blocks of neighbouring ones."""
        return len(self._blocks)

    def logs(self, pct: float) -> Floats:
        """Natural logarithms of the percentile of each round by itself."""
        return np.log([np.percentile(each, pct) for each in self._rounds])

    def replicates(self, pct: float) -> Floats:
        """The percentile in each of `REPLICATES` draws, in milliseconds."""
        found = []
        for first in range(0, REPLICATES, _CHUNK):
            seen = self._draws[first : first + _CHUNK] @ self._histogram
            np.cumsum(seen, axis=1, out=seen)
            rank = pct / 100 * (seen[:, -1:] - 1)
            found.append(self._values[(seen <= rank).sum(axis=1)])
        return np.concatenate(found)

    @cached_property
    def _blocks(self) -> list[Floats]:
        """Neighbouring rounds joined until there are at most `MAX_BLOCKS`."""
        size = math.ceil(len(self._rounds) / MAX_BLOCKS)
        starts = range(0, len(self._rounds), size)
        return [np.concatenate(self._rounds[first : first + size]) for first in starts]

    @cached_property
    def _draws(self) -> npt.NDArray[np.float32]:
        """How often each block is in each draw, (replicates, blocks); float32 for BLAS, exact."""
        count = len(self._blocks)
        generator = np.random.default_rng(self._seed)
        return generator.multinomial(count, [1 / count] * count, REPLICATES).astype(np.float32)

    @cached_property
    def _classes(self) -> tuple[Floats, npt.NDArray[np.intp]]:
        """The sorted samples' middle one of each class, and every sample's class."""
        order = np.argsort(self.samples_ms, kind="stable")
        count = min(order.size, RESOLUTION)
        of_rank = np.arange(order.size) * count // order.size
        starts = np.searchsorted(of_rank, np.arange(count + 1))
        middles = (starts[:-1] + starts[1:] - 1) // 2
        classes = np.empty(order.size, np.intp)
        classes[order] = of_rank
        return self.samples_ms[order[middles]], classes

    @property
    def _values(self) -> Floats:
        return self._classes[0]

    @cached_property
    def _histogram(self) -> npt.NDArray[np.float32]:
        """Samples of each block in each class, (blocks, classes)."""
        values, classes = self._classes
        of_block = np.repeat(np.arange(len(self._blocks)), [each.size for each in self._blocks])
        shape = (len(self._blocks), values.size)
        flat = np.bincount(of_block * values.size + classes, minlength=shape[0] * shape[1])
        return flat.reshape(shape).astype(np.float32)


def ratio_estimate(mine: Rounds, base: Rounds) -> Estimate:
    """Median over median of two cases of one run, round against round.

    Args:
        mine: The case.
        base: What it is compared with; as many rounds, measured in turn with it.

    Raises:
        ValueError: They do not have equally many rounds.
    """
    if len(mine) != len(base):
        raise ValueError(f"{len(mine)} rounds against {len(base)}")
    value = _median(mine) / _median(base)
    if mine.are_few:
        return _by_student(value, mine.logs(50) - base.logs(50))
    return _between(value, mine.replicates(50) / base.replicates(50), mine.blocks)


def unpaired_ratio_estimate(mine: Rounds, base: Rounds) -> Estimate:
    """Median over median of measurements that were not made in turn, such as two runs.

    Give the two different seeds, so that they are drawn independently.
    """
    value = _median(mine) / _median(base)
    if mine.are_few or base.are_few:
        return _by_welch(value, mine.logs(50), base.logs(50))
    fewer = min(mine.blocks, base.blocks)
    return _between(value, mine.replicates(50) / base.replicates(50), fewer)


def drift_estimate(rounds: Sequence[Sequence[int]]) -> Estimate | None:
    """Median of the last third of the rounds over that of the first.

    Args:
        rounds: Nanoseconds of each inference, round by round.

    Returns:
        Above 1 it became slower; None of fewer than three rounds.
    """
    third = len(rounds) // 3
    if third == 0:
        return None
    return unpaired_ratio_estimate(Rounds(rounds[-third:], _SEED + 1), Rounds(rounds[:third]))


def _median(rounds: Rounds) -> float:
    return float(np.median(rounds.samples_ms))


def _between(value: float, replicates: Floats, count: int) -> Estimate:
    """The expanded percentile interval of a figure whose replicates were drawn from ``count``."""
    outside = NormalDist().cdf(-math.sqrt(count / (count - 1)) * student(count - 1))
    low, high = np.quantile(replicates, (outside, 1 - outside))
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _by_student(value: float, logs: Floats) -> Estimate:
    if logs.size == 1:
        return Estimate(value, value, value)
    error = float(logs.std(ddof=1)) / math.sqrt(logs.size)
    return _around(value, error, logs.size - 1)


def _by_welch(value: float, mine: Floats, base: Floats) -> Estimate:
    """Welch's interval, its degrees of freedom taken at their least."""
    if min(mine.size, base.size) == 1:
        return Estimate(value, value, value)
    error = math.sqrt(sum(float(each.var(ddof=1)) / each.size for each in (mine, base)))
    return _around(value, error, min(mine.size, base.size) - 1)


def _around(value: float, error_of_log: float, freedom: int) -> Estimate:
    factor = math.exp(student(freedom) * error_of_log)
    return Estimate(value, value / factor, value * factor)


# Quantile 0.975 of Student's t for 1 to 4 degrees of freedom; then the series is good to 0.1 %.
_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764)


def student(freedom: int) -> float:
    """Quantile 0.975 of Student's t (Abramowitz and Stegun, 26.7.5)."""
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z, n = _Z, float(freedom)
    first = (z**3 + z) / (4 * n)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    return z + first + second + third
