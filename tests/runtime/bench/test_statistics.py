"""The intervals hold what they claim, and follow the rounds rather than the samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_runtime.bench.statistics import (
    FEW,
    MAX_BLOCKS,
    Rounds,
    drift_estimate,
    ratio_estimate,
    student,
)
from ghostedge_runtime.record import Estimate

MS = 1_000_000
BETWEEN, WITHIN = 0.02, 0.03  # of the logarithm: a machine's mood by the round, and its noise
Samples = list[npt.NDArray[np.int64]]

ROUNDS = st.lists(
    st.lists(st.integers(10_000, 10**9), min_size=1, max_size=12), min_size=1, max_size=20
)


def measured(
    generator: np.random.Generator, rounds: int, runs: int, moods: npt.NDArray[np.float64]
) -> Samples:
    """Log-normal times about 1 ms, each round with a mood of its own."""
    logs = moods[:, np.newaxis] + generator.normal(0, WITHIN, (rounds, runs))
    return list(np.rint(MS * np.exp(logs)).astype(np.int64))


def share_covered(
    truth: float, estimate: Callable[[np.random.Generator], Estimate | None], draws: int = 250
) -> float:
    generator = np.random.default_rng(5)
    found = [estimate(generator) for _ in range(draws)]
    return sum(e is not None and e.low <= truth <= e.high for e in found) / draws


def one(generator: np.random.Generator, rounds: int = 30, runs: int = 25) -> Rounds:
    return Rounds(measured(generator, rounds, runs, generator.normal(0, BETWEEN, rounds)))


@pytest.mark.parametrize("rounds", [5, FEW, 30])
def test_an_interval_of_the_median_holds_it_in_95_of_100_measurements(rounds: int) -> None:
    assert 0.91 < share_covered(1.0, lambda g: one(g, rounds).percentile(50)) <= 0.99


def test_an_interval_of_the_p90_holds_it_in_more_than_90_of_100_measurements() -> None:
    truth = math.exp(1.2816 * math.hypot(BETWEEN, WITHIN))
    assert 0.90 < share_covered(truth, lambda g: one(g).percentile(90)) <= 0.99


def test_an_interval_of_the_mean_holds_it_in_95_of_100_measurements() -> None:
    truth = math.exp((BETWEEN**2 + WITHIN**2) / 2)
    assert 0.91 < share_covered(truth, lambda g: one(g).mean()) <= 0.99


@pytest.mark.parametrize("rounds", [5, 30])
def test_an_interval_of_a_ratio_holds_it_in_95_of_100_measurements(rounds: int) -> None:
    def ratio(generator: np.random.Generator) -> Estimate:
        moods = generator.normal(0, BETWEEN, rounds)
        base, mine = (
            Rounds(measured(generator, rounds, 25, moods + math.log(factor)))
            for factor in (1.0, 1.03)
        )
        return ratio_estimate(mine, base)

    assert 0.90 < share_covered(1.03, ratio) <= 0.99


def test_a_machine_that_does_not_drift_is_said_not_to_in_95_of_100_measurements() -> None:
    def drift(generator: np.random.Generator) -> Estimate | None:
        return drift_estimate(measured(generator, 30, 15, generator.normal(0, BETWEEN, 30)))

    assert share_covered(1.0, drift) > 0.91


def test_what_hits_both_cases_of_a_round_alike_cancels_in_their_ratio() -> None:
    """Rounds of one to three times the pace: the median is uncertain, the ratio is not."""
    generator = np.random.default_rng(1)
    moods = np.log(generator.uniform(1, 3, 30))
    base, mine = (Rounds(measured(generator, 30, 50, moods + shift)) for shift in (0, 0.1))
    median, ratio = mine.percentile(50), ratio_estimate(mine, base)
    assert median.high / median.low > 1.2
    assert ratio.high / ratio.low < 1.1
    assert ratio.low < math.exp(0.1) < ratio.high


def test_the_same_samples_tell_less_when_each_round_has_its_own_pace() -> None:
    generator = np.random.default_rng(2)
    samples = np.rint(MS * np.exp(generator.normal(0, 0.1, 600))).astype(np.int64)
    mixed = Rounds(np.split(samples, 30)).percentile(50)
    apart = Rounds(np.split(np.sort(samples), 30)).percentile(50)
    assert apart.value == mixed.value
    assert apart.high - apart.low > 3 * (mixed.high - mixed.low)


def test_a_case_against_itself_is_one_without_doubt() -> None:
    mine = one(np.random.default_rng(3))
    assert ratio_estimate(mine, mine) == Estimate(1.0, 1.0, 1.0)


def test_cases_of_unequal_rounds_are_not_compared() -> None:
    generator = np.random.default_rng(3)
    with pytest.raises(ValueError, match="12 rounds against 13"):
        ratio_estimate(one(generator, 12), one(generator, 13))


@settings(deadline=None, max_examples=60)
@given(ROUNDS)
def test_every_interval_is_in_order_about_its_value(rounds: list[list[int]]) -> None:
    mine = Rounds(rounds)
    samples_ms = np.concatenate(rounds) / MS
    for pct in (50, 90, 99):
        found = mine.percentile(pct)
        assert found.value == pytest.approx(np.percentile(samples_ms, pct))
        assert 0 < found.low <= found.value <= found.high
    mean = mine.mean()
    assert mean.value == pytest.approx(samples_ms.mean())
    assert mean.low <= mean.value <= mean.high
    drift = drift_estimate(rounds)
    assert (drift is None) == (len(rounds) < 6)
    assert drift is None or drift.low <= drift.value <= drift.high


@settings(deadline=None, max_examples=30)
@given(ROUNDS, st.integers(2, 50))
def test_a_slower_clock_scales_times_and_leaves_ratios(rounds: list[list[int]], by: int) -> None:
    slower = [[by * sample for sample in each] for each in rounds]
    for pct in (50, 90):
        ours, theirs = Rounds(rounds).percentile(pct), Rounds(slower).percentile(pct)
        assert (theirs.low, theirs.value, theirs.high) == pytest.approx(
            (by * ours.low, by * ours.value, by * ours.high)
        )
    ratio = ratio_estimate(Rounds(slower), Rounds(rounds))
    assert (ratio.low, ratio.high) == pytest.approx((by, by))


def test_the_ratio_of_two_is_the_inverse_of_the_ratio_the_other_way_round() -> None:
    generator = np.random.default_rng(4)
    a, b = one(generator), one(generator)
    there, back = ratio_estimate(a, b), ratio_estimate(b, a)
    assert (1 / back.high, 1 / back.value, 1 / back.low) == pytest.approx(
        (there.low, there.value, there.high)
    )


def test_a_single_round_is_taken_sample_by_sample() -> None:
    together = Rounds([[MS, 2 * MS, 3 * MS, 4 * MS]])
    apart = Rounds([[MS], [2 * MS], [3 * MS], [4 * MS]])
    assert together.percentile(50) == apart.percentile(50)
    assert together.percentile(50).low < 2
    assert together.percentile(50).high > 3


def test_a_single_inference_has_no_interval() -> None:
    assert Rounds([[7 * MS]]).percentile(99) == Estimate(7.0, 7.0, 7.0)


def test_a_machine_that_slows_down_drifts() -> None:
    rounds = [[MS + index * MS // 29] * 5 for index in range(30)]
    drift = drift_estimate(rounds)
    assert drift is not None
    assert drift.value == pytest.approx((1 + 24.5 / 29) / (1 + 4.5 / 29), rel=1e-6)
    assert drift.low > 1.4


def test_many_rounds_are_drawn_in_blocks_of_neighbours() -> None:
    """Memory and time are bounded, whatever the length of a run."""
    long = one(np.random.default_rng(6), 3 * MAX_BLOCKS + 1, 2)
    assert len(long) == 3 * MAX_BLOCKS + 1
    assert long.blocks <= MAX_BLOCKS
    assert long.replicates(50).shape == (1000,)


@pytest.mark.parametrize(
    ("freedom", "table"), [(1, 12.706), (6, 2.447), (7, 2.365), (10, 2.228), (30, 2.042)]
)
def test_students_quantile_is_the_tables(freedom: int, table: float) -> None:
    assert student(freedom) == pytest.approx(table, abs=2e-3)
