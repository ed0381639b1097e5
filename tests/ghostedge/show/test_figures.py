"""Nothing that is left out of a chart goes unsaid, and the front is what no point beats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge.show.figures import (
    DRAWN_SENSORS,
    MOST_DOTS,
    histogram,
    pareto_front,
    sensor_lines,
    steps,
)
from ghostedge_runtime.record import Round, Snapshot

SAMPLES = st.lists(st.integers(1_000, 10**10), min_size=1, max_size=60).map(tuple)


@given(st.lists(SAMPLES, min_size=1, max_size=4))
@settings(deadline=None, max_examples=100)
def test_every_sample_is_in_a_bin_or_counted_as_beyond(rounds):
    found = histogram([Round(0.0, samples) for samples in rounds])
    samples = [ns for each in rounds for ns in each]
    assert sum(found.counts) + found.beyond == len(samples)
    assert found.max_ms == pytest.approx(max(samples) / 1e6)
    assert found.beyond <= 0.01 * len(samples) + 1


def test_a_lone_straggler_does_not_squeeze_the_rest_into_one_bin():
    found = histogram([Round(0.0, (*range(1_000_000, 1_001_000), 900_000_000))])
    assert found.beyond == 1
    assert found.max_ms == 900.0
    assert min(found.counts[:30]) > 0


def test_a_long_tail_gets_widening_bins_so_that_the_bulk_keeps_its_shape():
    found = histogram([Round(0.0, (*range(1_000_000, 1_900_000, 10_000), *[300_000_000] * 10))])
    assert found.logarithmic
    assert sum(count > 0 for count in found.counts) > 4
    ratios = np.divide(found.edges_ms[1:], found.edges_ms[:-1])
    assert np.ptp(ratios) < 1e-3


def test_no_samples_are_no_distribution():
    assert histogram([]) is None
    assert steps([Round(0.0, ())]) is None


def test_a_step_is_the_median_of_its_rounds_and_says_how_many():
    rounds = [Round(float(n), (n * 10**6, (n + 2) * 10**6)) for n in range(2 * MOST_DOTS + 1)]
    found = steps(rounds)
    assert found.each == 3
    assert found.at_s[:2] == (0.0, 3.0)
    assert found.p50_ms[0] == np.median([0, 2, 1, 3, 2, 4])
    assert len(found.at_s) <= MOST_DOTS


def test_the_hottest_sensors_and_the_slowest_clocks_are_kept_at_their_worst():
    trace = [
        Snapshot(
            float(n),
            temperatures_c={"a": 40.0, "b": 60.0 + (n == 151), "c": 50.0},
            clocks_mhz={"x": 2400.0, "y": 600.0 if n == 30 else 2400.0},
        )
        for n in range(200)
    ]
    temperature, clock = DRAWN_SENSORS
    hot, slow = sensor_lines(trace, temperature, 2), sensor_lines(trace, clock, 1)
    assert [line.name for line in hot.lines] == ["b", "c"]
    assert hot.all == 3
    assert max(hot.lines[0].values) == 61.0
    assert [line.name for line in slow.lines] == ["y"]
    assert min(slow.lines[0].values) == 600.0


def test_a_machine_that_tells_nothing_has_no_lines():
    assert [sensor_lines([Snapshot(0.0)], sensor, 5) for sensor in DRAWN_SENSORS] == [None, None]


POINTS = st.lists(
    st.tuples(st.integers(1, 6).map(float), st.integers(80, 86).map(float)), max_size=14
)


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(POINTS)
@settings(deadline=None, max_examples=200)
def test_a_point_is_on_the_front_if_and_only_if_no_other_beats_it(points):
    unbeaten = {i for i, p in enumerate(points) if not any(beats(q, p) for q in points)}
    assert set(pareto_front(points)) == unbeaten


@given(POINTS)
@settings(deadline=None, max_examples=100)
def test_along_the_front_slower_is_never_less_accurate(points):
    front = [points[i] for i in pareto_front(points)]
    assert front == sorted(front)
    assert [accuracy for _, accuracy in front] == sorted(accuracy for _, accuracy in front)


def test_a_slower_model_that_is_no_better_is_left_out():
    assert pareto_front([(5.0, 90.0), (3.0, 88.0), (4.0, 87.0), (6.0, 90.0)]) == [1, 0]
