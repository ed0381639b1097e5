"""Two networks' feature maps are compared as numpy would, whatever scale equalization left."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge.features.compare import compare

Maps = npt.NDArray[np.float32]


def maps(channels: int = 6, side: int = 5, seed: int = 0) -> Maps:
    return np.random.default_rng(seed).normal(size=(channels, side, side)).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=8), st.integers(1, 6), st.integers(0, 99)
)
def test_a_positive_factor_on_a_channel_is_undone(
    factors: list[float], side: int, seed: int
) -> None:
    x = maps(len(factors), side, seed)
    found = compare(x, x * np.array(factors, np.float32)[:, None, None], rescaled=True)
    np.testing.assert_allclose(found.maps, x, rtol=1e-5)
    assert found.difference.scale == pytest.approx((1 / max(factors), 1 / min(factors)), rel=1e-5)
    assert found.difference.unscaled == 0
    assert found.difference.cosine == pytest.approx(1)


def test_without_rescaling_a_factor_is_a_difference() -> None:
    x = maps()
    found = compare(x, 0.9 * x, rescaled=False).difference
    assert found.sqnr_db == pytest.approx(20, abs=1e-4)
    assert found.channel_db == pytest.approx(20, abs=1e-4)
    assert found.scale == (1, 1)
    assert found.cosine == pytest.approx(1)


def test_equal_maps_have_no_noise_and_no_worst_channel() -> None:
    found = compare(maps(), maps(), rescaled=False).difference
    assert (found.sqnr_db, found.channel_db, found.worst) == (None, None, ())


def test_the_ratio_is_signal_power_over_noise_power() -> None:
    x, noise = maps(seed=1), 0.1 * maps(seed=2)
    found = compare(x, x + noise, rescaled=False).difference
    expected = 10 * np.log10(np.sum(x.astype(float) ** 2) / np.sum(noise.astype(float) ** 2))
    assert found.sqnr_db == pytest.approx(expected, abs=1e-3)


def test_a_small_channel_that_is_lost_shows_in_the_channels_not_in_the_whole() -> None:
    x = maps(4)
    x[:3] *= 0.01
    y = x.copy()
    y[:3] = 0
    found = compare(x, y, rescaled=False)
    assert found.difference.sqnr_db is not None
    assert found.difference.sqnr_db > 30
    assert found.difference.channel_db == pytest.approx(0)
    assert found.channel_db[3] is None
    assert found.worst_first[-1] == 3


def test_the_worst_channel_is_the_one_with_most_noise_for_its_size() -> None:
    x = maps(5)
    y = x.copy()
    y[1] *= 1.5
    y[4] *= 1.1
    worst = compare(x, y, rescaled=False).difference.worst
    assert [each.channel for each in worst] == [1, 4]
    assert worst[0].sqnr_db == pytest.approx(-20 * np.log10(0.5), abs=1e-3)


def test_silent_and_opposite_channels_take_the_others_factor() -> None:
    x = maps(4)
    y = 2 * x
    y[0], y[1] = 0, -x[1]
    found = compare(x, y, rescaled=True)
    assert found.difference.unscaled == 2
    assert found.difference.scale == pytest.approx((0.5, 0.5))
    np.testing.assert_allclose(found.maps[1], -0.5 * x[1], rtol=1e-6)


def test_a_channel_silent_in_float_counts_neither_in_the_median_nor_as_worst() -> None:
    x = maps(3)
    y = 0.9 * x
    x[2], y[2] = 0, 1e-3
    found = compare(x, y, rescaled=False)
    assert found.difference.channel_db == pytest.approx(20, abs=1e-4)
    assert found.worst_first[-1] == 2


def test_maps_of_zeros_have_no_angle() -> None:
    nothing = np.zeros((2, 3, 3), np.float32)
    found = compare(nothing, maps(2, 3), rescaled=True).difference
    assert found.cosine is None
    assert found.channel_db is None
    assert found.sqnr_db == 0
