"""The interval of a ratio holds the truth as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge.comparison.ratio import ratio_between
from ghostedge_runtime.record import Round

TRIALS = 120


def _ratios(
    simulate, percent, *, shift=1.0, runs=(1, 1), between_runs=0.0, trials=TRIALS, **options
):
    generator = np.random.default_rng(11)

    def side(count, ms):
        paces = ms * np.exp(generator.normal(0, between_runs, count))
        return [simulate(generator, ms=pace, **options) for pace in paces]

    return [ratio_between(side(runs[0], 1.0), side(runs[1], shift), percent) for _ in range(trials)]


def _share(ratios, holds):
    return sum(map(holds, ratios)) / len(ratios)


def _leaves_one_out(ratio):
    return not ratio.low <= 1 <= ratio.high


@pytest.mark.parametrize("percent", [50, 90])
def test_of_equal_runs_one_in_twenty_is_called_different(simulated_rounds, percent):
    ratios = _ratios(simulated_rounds, percent)
    assert _share(ratios, _leaves_one_out) <= 0.08
    assert {ratio.basis for ratio in ratios} == {"rounds"}


def test_a_p90_at_the_edge_of_a_machines_slow_moments_is_not_taken_for_sure(simulated_rounds):
    """Its distribution has two humps: a standard error alone calls one in eight different."""
    ratios = _ratios(simulated_rounds, 90, rounds=20, crowded=0.5)
    assert _share(ratios, _leaves_one_out) <= 0.08


def test_a_shift_of_five_percent_is_found_and_its_size_is_in_the_interval(simulated_rounds):
    ratios = _ratios(simulated_rounds, 50, shift=1.05, trials=100)
    assert _share(ratios, lambda ratio: ratio.low > 1) >= 0.95
    assert _share(ratios, lambda ratio: ratio.low <= 1.05 <= ratio.high) >= 0.9


def test_rounds_alone_do_not_see_how_far_whole_runs_lie_apart(simulated_rounds):
    """Why a single pair is said to speak of itself alone."""
    ratios = _ratios(simulated_rounds, 50, between_runs=0.03, trials=100)
    assert _share(ratios, _leaves_one_out) > 0.5


@pytest.mark.parametrize("runs", [(2, 1), (5, 1), (3, 3)])
def test_several_runs_do(simulated_rounds, runs):
    ratios = _ratios(simulated_rounds, 50, between_runs=0.03, runs=runs, trials=100)
    assert _share(ratios, _leaves_one_out) <= 0.10
    assert {ratio.basis for ratio in ratios} == {"runs"}


def test_three_runs_a_side_find_fifteen_percent_among_runs_three_percent_apart(simulated_rounds):
    ratios = _ratios(simulated_rounds, 50, shift=1.15, between_runs=0.03, runs=(3, 3), trials=40)
    assert _share(ratios, lambda ratio: ratio.low > 1) >= 0.9


def test_the_ratio_is_that_of_the_medians():
    a = [[Round(0, (10, 20, 30)), Round(1, (20, 20, 20))]]
    b = [[Round(0, (20, 30, 40)), Round(1, (30, 30, 30))]]
    assert ratio_between(a, b, 50).value == pytest.approx(1.5)


def test_of_several_runs_it_is_that_of_their_geometric_means():
    a = [[Round(0, (10,)), Round(1, (10,))], [Round(0, (40,)), Round(1, (40,))]]
    b = [[Round(0, (30,)), Round(1, (30,))]]
    found = ratio_between(a, b, 50)
    assert found.value == pytest.approx(1.5)
    # ln 2 is how far A's runs lie from their mean; t at 1 degree of freedom is 12.706.
    half = 12.7062 * np.log(2) * np.sqrt(2 * (1 / 2 + 1))
    assert found.high / found.value == pytest.approx(np.exp(half), rel=1e-6)


def test_runs_that_agree_by_chance_are_not_taken_for_exact(simulated_rounds):
    rounds = simulated_rounds(np.random.default_rng(1))
    alone = ratio_between([rounds], [rounds], 50)
    thrice = ratio_between([rounds] * 3, [rounds] * 3, 50)
    assert alone.low < thrice.low < 0.999
    assert thrice.value == pytest.approx(1)


def test_a_single_round_gives_a_ratio_without_an_interval():
    a, b = [[Round(0, (10, 11, 12))]], [[Round(0, (20, 22, 24))]]
    found = ratio_between(a, b, 50)
    assert (found.value, found.low, found.high) == (pytest.approx(2), None, None)


@settings(deadline=None, max_examples=60)
@given(
    rounds=st.lists(
        st.lists(st.integers(1, 10**12), min_size=1, max_size=6), min_size=1, max_size=12
    ),
    copies=st.integers(1, 3),
    percent=st.sampled_from([50, 90]),
)
def test_a_run_never_differs_from_itself(rounds, copies, percent):
    side = [Round(float(number), tuple(each)) for number, each in enumerate(rounds)]
    found = ratio_between([side] * copies, [side], percent)
    assert found.value == pytest.approx(1)
    assert found.low is None or found.low <= 1 <= found.high


@settings(deadline=None, max_examples=30)
@given(
    a=st.lists(st.lists(st.integers(1, 10**9), min_size=1, max_size=4), min_size=2, max_size=7),
    b=st.lists(st.lists(st.integers(1, 10**9), min_size=1, max_size=4), min_size=2, max_size=7),
)
def test_the_other_way_round_it_is_the_inverse(a, b):
    """Of few rounds, where nothing is drawn."""
    sides = [
        [[Round(float(number), tuple(each)) for number, each in enumerate(rounds)]]
        for rounds in (a, b)
    ]
    there, back = ratio_between(*sides, 50), ratio_between(*reversed(sides), 50)
    assert there.value * back.value == pytest.approx(1)
    assert there.low * back.high == pytest.approx(1)
