"""A classifier's file is held to its scores and to what it puts first."""

from __future__ import annotations

import numpy as np

from ghostedge.conversion.classes import agreement_pct, score_parity
from ghostedge.formats.table import TARGETS, Budget
from ghostedge.records.manifest import Parity

REFERENCE = np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 1.0]], np.float32)


def compared(logits: np.ndarray, budget: Budget) -> Parity:
    return score_parity(
        logits.astype(np.float32),
        REFERENCE,
        reference="m.onnx",
        image_source="2 images",
        budget=budget,
    )


def test_equal_scores_have_no_difference_and_full_agreement() -> None:
    parity = compared(REFERENCE, Budget(0.0, 100.0, 100.0))
    assert (parity.max_abs_diff, parity.agreement_pct, parity.sqnr_db) == (0.0, 100.0, None)
    assert parity.within_budget


def test_another_top1_breaks_a_bound_on_agreement() -> None:
    swapped = REFERENCE[:, ::-1]
    parity = compared(swapped, Budget(min_agreement_pct=50.0))
    assert parity.agreement_pct == 0.0
    assert not parity.within_budget


def test_damage_that_leaves_every_top1_breaks_the_bound_on_noise() -> None:
    damaged = REFERENCE * np.array([[0.0, 0.0, 1.0], [3.0, 0.0, 1.0]], np.float32)
    parity = compared(damaged, TARGETS["onnx"].class_budgets["int8"])
    assert parity.agreement_pct == 100.0
    assert parity.sqnr_db is not None
    assert parity.sqnr_db < 0
    assert not parity.within_budget


def test_scores_that_are_not_numbers_break_every_bound() -> None:
    broken = REFERENCE.copy()
    broken[0, 0] = np.nan
    assert not compared(broken, Budget(min_agreement_pct=0.0)).within_budget


def test_agreement_is_a_percentage() -> None:
    assert agreement_pct(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0])) == 75.0
