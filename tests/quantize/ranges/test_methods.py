from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ghostedge_quantize.codes import Range, affine, quantize_array
from ghostedge_quantize.ranges.methods import (
    HALF,
    READERS,
    Histogram,
    divergence,
    entropy_range,
    merged,
    mse_range,
    percentile_range,
    read_range,
    squared_error,
    whole_range,
)
from ghostedge_quantize.settings import Method

# A subnormal may underflow to zero where bins are wide, and so into the bin beside its own.
values_of_tensors = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)


def filled(*arrays: np.ndarray) -> Histogram:
    histogram = Histogram()
    for values in arrays:
        histogram.add(values, Range(float(values.min()), float(values.max())))
    return histogram


def real_error(values: np.ndarray, ends: Range) -> float:
    params = affine(ends)
    real = (quantize_array(values, params).astype(np.float64) - params.zero_point) * params.scale
    return float(((real - values) ** 2).sum())


def heavy_tailed(count: int = 200_000) -> np.ndarray:
    return np.random.default_rng(1).standard_t(3, count).astype(np.float32)


def test_every_value_is_counted_in_its_bin() -> None:
    width = 1 / HALF
    values = np.array([-width, -width / 2, 0, width / 2, width, 1 - width / 2], np.float32)
    histogram = filled(values)
    assert histogram.width == width
    assert np.flatnonzero(histogram.counts).tolist() == [HALF - 1, HALF, HALF + 1, 2 * HALF - 1]
    assert histogram.counts[histogram.counts > 0].tolist() == [2, 2, 1, 1]
    assert histogram.ends == (values.min(), values.max())


@settings(deadline=None, max_examples=100)
@given(arrays(np.float32, st.integers(2, 60), elements=values_of_tensors))
def test_adding_in_parts_in_any_order_counts_the_same_as_at_once(values: np.ndarray) -> None:
    whole = filled(values)
    for parts in (values[:1], values[1:]), (values[::-1][:-1], values[:1]):
        added = filled(*parts)
        assert added.width == whole.width
        assert added.ends == whole.ends
        assert np.array_equal(added.counts, whole.counts)
    assert whole.counts.sum() == len(values)


def test_bins_stay_fine_beside_the_larger_end() -> None:
    histogram = filled(np.array([-3.0, 1.0], np.float32), np.array([700.0], np.float32))
    assert 700 / HALF < histogram.width <= 2 * 700 / HALF


def test_percentile_leaves_out_the_same_share_at_both_tails() -> None:
    values = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
    ends = percentile_range(filled(values))
    low, high = np.quantile(values, [0.5e-4, 1 - 0.5e-4])
    assert ends.low == pytest.approx(low, abs=0.01)
    assert ends.high == pytest.approx(high, abs=0.01)


def test_percentile_of_a_relu_output_keeps_zero_as_its_low_end() -> None:
    values = np.maximum(np.random.default_rng(0).normal(size=100_000), 0).astype(np.float32)
    assert percentile_range(filled(values)).low == 0


def test_mse_draws_both_ends_in_when_the_tails_are_heavy() -> None:
    values = heavy_tailed()
    values[0], values[1] = 200, -100
    whole, drawn_in = filled(values).ends, mse_range(filled(values))
    assert whole.low < drawn_in.low < 0 < drawn_in.high < whole.high
    assert real_error(values, drawn_in) < real_error(values, whole)


@pytest.mark.parametrize("outliers", [(), (200, -100), (40,)])
def test_mse_is_as_good_as_an_exhaustive_search_over_both_ends(outliers: tuple[int, ...]) -> None:
    values = heavy_tailed(50_000)
    values[: len(outliers)] = outliers
    low, high = filled(values).ends
    tries = [
        real_error(values, Range(low * a, high * b))
        for a in np.linspace(0.05, 1, 39)
        for b in np.linspace(0.05, 1, 39)
    ]
    assert real_error(values, mse_range(filled(values))) < 1.02 * min(tries)


def test_mse_keeps_the_whole_range_of_evenly_spread_values() -> None:
    values = np.linspace(-1, 3, 100_001, dtype=np.float32)
    low, high = mse_range(filled(values))
    assert low == pytest.approx(-1, abs=0.03)
    assert high == pytest.approx(3, abs=0.04)


@pytest.mark.parametrize("method", ["auto", *READERS])
@pytest.mark.parametrize("value", [0.0, 3.0, -1e-3, 1e30])
def test_a_constant_tensor_has_a_range_by_every_method(method: Method, value: float) -> None:
    _, ends = read_range(filled(np.full(100, value, np.float32)), method)
    assert affine(ends).scale > 0
    assert ends.low <= value <= ends.high


def test_divergence_is_zero_where_each_value_has_a_code_of_its_own() -> None:
    values, counts = np.array([0.0, 1.0, 2.0, 255.0]), np.array([5, 1, 7, 2])
    assert divergence(Range(0, 255), values, counts) == pytest.approx(0, abs=1e-12)


def test_divergence_of_values_that_share_a_code_is_of_their_counts_from_even_ones() -> None:
    values, counts = np.array([10.0, 10.2, 255.0]), np.array([3, 1, 4])
    # p = 3/8, 1/8, 4/8 against q = 2/8, 2/8, 4/8
    by_hand = 3 / 8 * np.log(3 / 2) + 1 / 8 * np.log(1 / 2)
    assert divergence(Range(0, 255), values, counts) == pytest.approx(by_hand)


def test_divergence_counts_outliers_as_the_outermost_value_in_one_distribution_only() -> None:
    values = np.array([-9.0, *range(256), 300.0])
    counts = np.array([1, *[3] * 256, 2])
    # Within: 3 each of 768; folded: 4, 3, …, 3, 5 of 771.
    folded = np.array([4, *[3] * 254, 5]) / 771
    by_hand = (folded * np.log(folded * 256)).sum()
    assert divergence(Range(0, 255), values, counts) == pytest.approx(by_hand)


def test_a_range_that_holds_fewer_values_than_codes_is_not_told_from_the_rest() -> None:
    values = np.arange(257.0)
    counts = np.ones(257, np.int64)
    assert np.isfinite(divergence(Range(0, 255), values, counts))
    assert divergence(Range(0, 254), values, counts) == np.inf


def test_entropy_does_not_draw_a_gate_in_to_the_one_value_that_it_mostly_has() -> None:
    values = np.random.default_rng(2).normal(3, 0.1, 100_000).astype(np.float32)
    values[:1000] = 6
    values[-1000:] = 1.5
    assert entropy_range(filled(values)).high > 3


@settings(deadline=None, max_examples=100)
@given(
    arrays(np.int64, st.integers(1, 300), elements=st.integers(1, 1000)),
    st.floats(0, 1),
    st.floats(0.01, 1),
)
def test_divergence_is_never_negative(counts: np.ndarray, low: float, high: float) -> None:
    values = np.linspace(-1, 1, len(counts))
    assert divergence(Range(-low, high), values, counts) >= -1e-9


def test_entropy_draws_in_a_far_end_and_leaves_the_near_one() -> None:
    values = np.random.default_rng(2).normal(size=200_000).astype(np.float32)
    values[0] = 30
    low, high = entropy_range(filled(values))
    assert high < 10
    assert low == pytest.approx(values.min(), rel=0.25)


def test_entropy_does_not_see_how_often_a_relu_put_out_zero() -> None:
    positive = np.abs(np.random.default_rng(2).laplace(size=50_000)).astype(np.float32) + 0.01
    zeros = np.zeros(1_000_000, np.float32)
    assert entropy_range(filled(positive, zeros)) == entropy_range(filled(positive))


@pytest.mark.parametrize("method", READERS)
def test_a_method_that_was_asked_for_is_the_one_that_is_used(method: Method) -> None:
    histogram = filled(heavy_tailed(20_000))
    assert read_range(histogram, method) == (method, READERS[method](histogram))


@settings(deadline=None, max_examples=50)
@given(arrays(np.float32, st.integers(2, 200), elements=st.floats(-1e4, 1e4, width=32)))
def test_auto_is_never_worse_than_any_of_the_methods(values: np.ndarray) -> None:
    histogram = filled(values)
    counted = histogram.filled()
    chosen, ends = read_range(histogram, "auto")
    assert ends == READERS[chosen](histogram)
    for read in READERS.values():
        assert squared_error(ends, *counted) <= squared_error(read(histogram), *counted)


def test_auto_clips_nothing_where_clipping_gains_nothing() -> None:
    histogram = filled(np.array([-1, 0.5, 3], np.float32))
    assert read_range(histogram, "auto") == ("minmax", whole_range(histogram))


def test_auto_follows_the_least_error_where_tails_are_heavy() -> None:
    histogram = filled(heavy_tailed())
    assert read_range(histogram, "auto") == ("mse", mse_range(histogram))


@given(st.lists(arrays(np.float32, st.integers(1, 50), elements=values_of_tensors), min_size=1))
@settings(max_examples=50, deadline=None)
def test_merged_histograms_are_the_one_of_all_values(parts: list[np.ndarray]) -> None:
    one, other = merged([filled(part) for part in parts]), filled(*parts)
    assert (one.ends, one.width) == (other.ends, other.width)
    assert np.array_equal(one.counts, other.counts)


def test_every_method_has_a_reader_and_auto_chooses_among_them() -> None:
    assert get_args(Method) == ("auto", *READERS)
