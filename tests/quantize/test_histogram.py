from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ghostedge_quantize.histogram import HALF, Histogram, mse_range, percentile_range
from ghostedge_quantize.ranges import Range, affine, quantize_array


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
@given(arrays(np.float32, st.integers(2, 60), elements=st.floats(-1e6, 1e6, width=32)))
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
    found = percentile_range(filled(values))
    low, high = np.quantile(values, [0.5e-4, 1 - 0.5e-4])
    assert found.low == pytest.approx(low, abs=0.01)
    assert found.high == pytest.approx(high, abs=0.01)


def test_percentile_of_a_relu_output_keeps_zero_as_its_low_end() -> None:
    values = np.maximum(np.random.default_rng(0).normal(size=100_000), 0).astype(np.float32)
    assert percentile_range(filled(values)).low == 0


def test_mse_draws_both_ends_in_when_the_tails_are_heavy() -> None:
    values = heavy_tailed()
    values[0], values[1] = 200, -100
    whole, found = filled(values).ends, mse_range(filled(values))
    assert whole.low < found.low < 0 < found.high < whole.high
    assert real_error(values, found) < real_error(values, whole)


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


def test_a_tensor_of_zeros_has_a_range_by_every_method() -> None:
    values = np.zeros(100, np.float32)
    assert affine(mse_range(filled(values))).scale > 0
    assert affine(percentile_range(filled(values))).scale > 0
