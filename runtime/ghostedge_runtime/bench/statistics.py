"""How sure a figure is: 95 % intervals from a bootstrap over the rounds of a run.

Inferences of one burst are alike: the same clock, the same heat, the same neighbours. To draw
single samples anew would take them for independent and give intervals far too narrow, so whole
rounds are drawn (the cluster bootstrap: Field and Welsh, J. R. Stat. Soc. B 69, 2007), or blocks of
neighbouring rounds where there are more than `MAX_BLOCKS` (Künsch, Ann. Stat. 17, 1989). Two cases
of one run are drawn together, the same rounds of both, so that what hits both alike cancels in
their ratio.

The draws give standard errors, and Student's t at one less than the number of rounds makes
intervals of them: percentiles of a few dozen replicated rounds are too sure of themselves
(Hesterberg, What Teachers Should Know About the Bootstrap, 2015, section 4). Means and ratios take
theirs on the scale of logarithms. A percentile takes the standard error of the share of samples
below it, never less than independent samples would have, and its interval lies between the
percentiles that far above and below (Woodruff, J. Am. Stat. Assoc. 47, 1952). It ends at the
slowest sample seen: of fewer than 400 or so, an interval of the p99 cannot know what is beyond.

Below `FEW` rounds the rounds' own figures take the draws' place. A single round's samples stand for
rounds; of one single inference there is no interval, and all three numbers are equal.

An interval speaks of this run: these processes on this machine in this state. Not covered: what
another start, which may lay the weights out otherwise in memory, another day or board would give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ghostedge_runtime.record import Estimate

Floats = npt.NDArray[np.float64]

FEW = 8
MAX_BLOCKS = 240
REPLICATES = 1000
_SEED = 0
_Z = NormalDist().inv_cdf(0.975)


class Rounds:
    """The rounds of one case, ready to be drawn anew.

    Args:
        rounds: Nanoseconds of each inference, round by round; no round is empty.
        seed: Two cases with the same number of rounds and the same seed are drawn together.

    Attributes:
        samples_ms: All samples in milliseconds, in order.
    """

    def __init__(self, rounds: Sequence[Sequence[int]], seed: int = _SEED) -> None:
        self._rounds = [np.asarray(samples, np.float64) / 1e6 for samples in rounds]
        if len(self._rounds) == 1:
            self._rounds = [samples[np.newaxis] for samples in self._rounds[0]]
        self._seed = seed
        self.samples_ms: Floats = np.concatenate(self._rounds)

    def __len__(self) -> int:
        return len(self._rounds)

    @property
    def are_few(self) -> bool:
        """Whether they are too few to be drawn from."""
        return len(self._rounds) < FEW

    @property
    def blocks(self) -> int:
        """What is drawn from: the rounds, or blocks of neighbouring ones."""
        return len(self._counts)

    def percentile(self, pct: float) -> Estimate:
        """A percentile of all samples, in milliseconds; linear between the two nearest."""
        value = float(np.percentile(self.samples_ms, pct))
        if self.are_few:
            return _by_student(value, self.logs(pct))
        share = pct / 100
        independent = math.sqrt(share * (1 - share) / self.samples_ms.size)
        error = max(_error_of(self._shares_below(value), self.blocks), independent)
        half = student(self.blocks - 1) * error
        ends = np.clip((share - half, share + half), 0, 1)
        low, high = (float(end) for end in np.quantile(self.samples_ms, ends))
        return Estimate(value, min(low, value), max(high, value))

    def mean(self) -> Estimate:
        """The mean of all samples, in milliseconds."""
        value = float(self.samples_ms.mean())
        if self.are_few:
            return _by_student(value, np.log([samples.mean() for samples in self._rounds]))
        means = (self._draws @ self._of_blocks(self.samples_ms)) / self._drawn
        return _around(value, _error_of(np.log(means), self.blocks), self.blocks - 1)

    def logs(self, pct: float) -> Floats:
        """Natural logarithm of the percentile of each round by itself."""
        return np.log([np.percentile(samples, pct) for samples in self._rounds])

    def replicates(self, pct: float) -> Floats:
        """The percentile in each of `REPLICATES` draws, in milliseconds.

        To first order (Bahadur, Ann. Math. Stat. 37, 1966): where the share of samples below the
        percentile is a little larger in a draw, the draw's percentile lies so much lower among the
        samples. So nothing is sorted again, and the cost does not grow with the samples.
        """
        value = float(np.percentile(self.samples_ms, pct))
        below = float((self.samples_ms <= value).mean())
        ranks = pct / 100 + below - self._shares_below(value)
        percentiles: Floats = np.quantile(self.samples_ms, np.clip(ranks, 0, 1))
        return percentiles

    def error_of_log(self, pct: float) -> tuple[float, int]:
        """Standard error of the percentile's natural logarithm, and its degrees of freedom."""
        if self.are_few:
            logs = self.logs(pct)
            return float(logs.std(ddof=1)) / math.sqrt(logs.size), logs.size - 1
        return _error_of(np.log(self.replicates(pct)), self.blocks), self.blocks - 1

    def _shares_below(self, value: float) -> Floats:
        """Share of the samples at or below a value, in each draw."""
        return (self._draws @ self._of_blocks(self.samples_ms <= value)) / self._drawn

    def _of_blocks(self, values: npt.NDArray[np.generic]) -> Floats:
        """Sums of something told of every sample, block by block."""
        starts = np.concatenate(([0], np.cumsum(self._counts)[:-1]))
        sums: Floats = np.add.reduceat(values.astype(np.float64), starts)
        return sums

    @cached_property
    def _counts(self) -> npt.NDArray[np.int64]:
        """Samples of each block: rounds, or so many joined that `MAX_BLOCKS` are left."""
        size = math.ceil(len(self._rounds) / MAX_BLOCKS)
        counts = np.array([samples.size for samples in self._rounds], np.int64)
        return np.add.reduceat(counts, range(0, counts.size, size))

    @property
    def _draws(self) -> Floats:
        return _draws(self.blocks, self._seed)

    @cached_property
    def _drawn(self) -> Floats:
        """Samples in each draw."""
        return self._draws @ self._counts.astype(np.float64)


@lru_cache(maxsize=4)
def _draws(count: int, seed: int) -> Floats:
    """How often each of ``count`` blocks is in each draw, (replicates, count)."""
    drawn = np.random.default_rng(seed).integers(0, count, (REPLICATES, count))
    places = drawn + count * np.arange(REPLICATES)[:, np.newaxis]
    counts = np.bincount(places.ravel(), minlength=REPLICATES * count)
    return counts.reshape(REPLICATES, count).astype(np.float64)


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
    logs = np.log(mine.replicates(50)) - np.log(base.replicates(50))
    return _around(value, _error_of(logs, mine.blocks), mine.blocks - 1)


def drift_estimate(rounds: Sequence[Sequence[int]]) -> Estimate | None:
    """Median of the last third of the rounds over that of the first, by Welch's interval.

    Args:
        rounds: Nanoseconds of each inference, round by round.

    Returns:
        Above 1 it became slower; None of fewer than six rounds, whose thirds have no spread.
    """
    third = len(rounds) // 3
    if third < 2:
        return None
    last, first = Rounds(rounds[-third:], _SEED + 1), Rounds(rounds[:third])
    errors = [part.error_of_log(50) for part in (last, first)]
    total = sum(error**2 for error, _ in errors)
    parts = sum(error**4 / freedom for error, freedom in errors)
    freedom = int(total**2 / parts) if parts else 1
    return _around(_median(last) / _median(first), math.sqrt(total), freedom)


def _median(rounds: Rounds) -> float:
    return float(np.median(rounds.samples_ms))


def _error_of(replicates: Floats, count: int) -> float:
    """Standard error; draws of n out of n vary by (n - 1) / n of what n new ones would."""
    return float(replicates.std()) * math.sqrt(count / (count - 1))


def _by_student(value: float, logs: Floats) -> Estimate:
    if logs.size == 1:
        return Estimate(value, value, value)
    return _around(value, float(logs.std(ddof=1)) / math.sqrt(logs.size), logs.size - 1)


def _around(value: float, error_of_log: float, freedom: int) -> Estimate:
    factor = math.exp(student(freedom) * error_of_log)
    return Estimate(value, value / factor, value * factor)


# Quantile 0.975 of Student's t for 1 to 6 degrees of freedom; then the series is good to 0.1 %.
_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469)


def student(freedom: int) -> float:
    """Quantile 0.975 of Student's t (Abramowitz and Stegun, 26.7.5)."""
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z, n = _Z, float(freedom)
    first = (z**3 + z) / (4 * n)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    return z + first + second + third
