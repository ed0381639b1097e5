"""Samples of an image set."""

from __future__ import annotations

import pytest

from ghostedge.conversion.images import spread


@pytest.mark.parametrize(
    ("total", "count", "chosen"),
    [(3, 5, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (101, 3, [0, 50, 100]), (10, 1, [0])],
)
def test_a_sample_is_spread_over_the_whole_set(total: int, count: int, chosen: list[int]) -> None:
    assert spread(total, count) == chosen
