"""A difference between two artefacts is measured, and a bound that it breaks is said to be."""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge.conversion.checks import Budget, agreement_pct, parity
from ghostedge.conversion.imagesets import spread

REFERENCE = np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 1.0]], np.float32)


def compared(logits: np.ndarray, budget: Budget):  # type: ignore[no-untyped-def,type-arg] # a test's helper
    return parity(
        logits.astype(np.float32),
        REFERENCE,
        reference="m.onnx",
        image_source="2 images",
        budget=budget,
    )


def test_equal_logits_have_no_difference_and_full_agreement() -> None:
    found = compared(REFERENCE, Budget(max_abs_diff=0.0, min_agreement_pct=100.0))
    assert (found.max_abs_diff, found.agreement_pct, found.within_budget) == (0.0, 100.0, True)


def test_the_bound_on_logits_is_relative_to_the_largest_above_one() -> None:
    shifted = REFERENCE + np.float32(0.003)
    assert compared(shifted, Budget(max_abs_diff=1e-3)).within_budget  # 0.003 ≤ 1e-3 · 4
    assert not compared(shifted, Budget(max_abs_diff=5e-4)).within_budget


def test_another_top1_breaks_a_bound_on_agreement() -> None:
    swapped = REFERENCE[:, ::-1]
    found = compared(swapped, Budget(min_agreement_pct=50.0))
    assert found.agreement_pct == 0.0
    assert not found.within_budget


def test_logits_that_are_not_numbers_break_every_bound() -> None:
    broken = REFERENCE.copy()
    broken[0, 0] = np.nan
    assert not compared(broken, Budget(min_agreement_pct=0.0)).within_budget


def test_agreement_is_a_percentage() -> None:
    assert agreement_pct(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0])) == 75.0


@pytest.mark.parametrize(
    ("total", "count", "chosen"),
    [(3, 5, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (101, 3, [0, 50, 100]), (10, 1, [0])],
)
def test_a_sample_is_spread_over_the_whole_set(total: int, count: int, chosen: list[int]) -> None:
    assert spread(total, count) == chosen
