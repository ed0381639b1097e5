"""A difference between two artefacts is measured, and a bound that it breaks is said to be."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from ghostedge.conversion.classes import agreement_pct, score_parity
from ghostedge.conversion.compare import Rounding
from ghostedge.conversion.gap import Gap
from ghostedge.conversion.images import spread
from ghostedge.formats.budget import Budget
from ghostedge.formats.table import TARGETS
from ghostedge.records.manifest import Parity

REFERENCE = np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 1.0]], np.float32)


def compared(logits: np.ndarray, budget: Budget):  # type: ignore[no-untyped-def,type-arg] # a test's helper
    return score_parity(
        logits.astype(np.float32),
        REFERENCE,
        reference="m.onnx",
        image_source="2 images",
        budget=budget,
    )


def test_equal_scores_have_no_difference_and_full_agreement() -> None:
    found = compared(REFERENCE, Budget(0.0, 100.0, 100.0))
    assert (found.max_abs_diff, found.agreement_pct, found.sqnr_db) == (0.0, 100.0, None)
    assert found.within_budget


@pytest.mark.parametrize("scale", [1e-3, 1.0, 400.0])
def test_the_bound_on_a_difference_is_a_share_of_the_largest_score_however_large(
    scale: float,
) -> None:
    scaled, shifted = REFERENCE * np.float32(scale), (REFERENCE + 0.003) * np.float32(scale)
    gap = Gap.of_scores(shifted.astype(np.float32), scaled)
    assert gap.keeps(Budget(max_difference=1e-3))  # 0.003 ≤ 1e-3 · 4
    assert not gap.keeps(Budget(max_difference=5e-4))


class Chaotic:
    """A network that makes ``gain`` times as much of what its input is off by."""

    def __init__(self, gain: float) -> None:
        self.gain, self.calls = gain, 0

    def values(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        self.calls += 1
        return {"y": 400 * (1 + np.float32(self.gain) * (batch - 1).mean(axis=(1, 2, 3)))}


def judged_by_rounding(gain: float, off: float) -> tuple[Parity, Chaotic]:
    """A file that is off by this share of its largest number, where the gain is so large."""
    model = Chaotic(gain)
    rounding = Rounding(model, [np.ones((1, 1, 1, 1), np.float32)])  # type: ignore[arg-type] # a stand-in for Model
    judge = partial(
        score_parity,
        REFERENCE * np.float32(1 + off),
        REFERENCE,
        reference="m",
        image_source="2 images",
    )
    return rounding.judged(judge, TARGETS["onnx"].output_budgets["float32"]), model


EPS = float(np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    ("gain", "off", "kept"),
    [
        (1, 5e-5, True),
        (1, 1e-3, False),  # a real difference of a network that rounding hardly moves
        (1e-3 / EPS, 1e-3, True),  # what one rounding of the input does to it
        (1e-5 / EPS, 1e-3, False),
        (1e-1 / EPS, 5e-3, True),
        (1e-1 / EPS, 5e-2, False),  # whatever rounding does: not shown to be the same function
    ],
)
def test_a_difference_may_be_what_float32_rounding_makes_of_the_network(
    gain: float, off: float, kept: bool
) -> None:
    found, model = judged_by_rounding(gain, off)
    assert found.within_budget is kept
    assert found.max_relative_diff == pytest.approx(off, rel=1e-2)
    assert (model.calls == 0) is (off < 1e-4)  # it is only asked where the bound is missed


def test_a_bound_that_allows_for_rounding_says_so() -> None:
    found, _ = judged_by_rounding(1e-4 / EPS, 5e-4)
    assert found.budget == (
        "differences within 0.001 of the output's largest number: "
        "10 times what it moves when its input is rounded"
    )


def test_another_top1_breaks_a_bound_on_agreement() -> None:
    swapped = REFERENCE[:, ::-1]
    found = compared(swapped, Budget(min_agreement_pct=50.0))
    assert found.agreement_pct == 0.0
    assert not found.within_budget


def test_damage_that_leaves_every_top1_breaks_the_bound_on_noise() -> None:
    damaged = REFERENCE * np.array([[0.0, 0.0, 1.0], [3.0, 0.0, 1.0]], np.float32)
    found = compared(damaged, TARGETS["onnx"].class_budgets["int8"])
    assert found.agreement_pct == 100.0
    assert found.sqnr_db is not None
    assert found.sqnr_db < 0
    assert not found.within_budget


def test_what_all_scores_of_an_image_have_in_common_is_neither_noise_nor_signal() -> None:
    shifted = REFERENCE + np.array([[50.0], [-7.0]], np.float32)
    assert compared(shifted, Budget(min_sqnr_db=100.0)).within_budget
    noise = np.array([[0.5, -0.5, 0.0], [0.0, 0.5, -0.5]], np.float32)
    offset = Gap.of_scores(REFERENCE + 1000 + noise, REFERENCE + np.float32(1000))
    assert offset.sqnr_db == pytest.approx(10 * np.log10((2 + 26 / 3) / 1.0), abs=0.01)


def test_every_budget_of_a_classifier_bounds_its_scores_and_not_the_top1_alone() -> None:
    for target in TARGETS.values():
        assert target.class_budgets.keys() == target.output_budgets.keys()
        for budget in target.class_budgets.values():
            assert budget.max_difference is not None or budget.min_sqnr_db is not None


def test_a_row_that_is_only_assumed_to_be_scores_keeps_the_ratio_of_other_networks() -> None:
    assumed, known = (TARGETS["onnx"].class_budget("int8", assumed=a) for a in (True, False))
    assert (assumed.min_agreement_pct, assumed.min_sqnr_db) == (90.0, 20.0)
    assert (known.min_agreement_pct, known.min_sqnr_db) == (90.0, 10.0)
    tflite = TARGETS["tflite"]
    assert tflite.class_budget("float32", assumed=True) == tflite.output_budgets["float32"]


def test_scores_that_are_not_numbers_break_every_bound() -> None:
    broken = REFERENCE.copy()
    broken[0, 0] = np.nan
    assert not compared(broken, Budget(min_agreement_pct=0.0)).within_budget


def test_a_budget_says_what_it_bounds() -> None:
    assert str(Budget(1e-3, 20.0, 90.0)) == (
        "differences within 0.001 of the output's largest number, same top-1 on 90 %, "
        "sqnr at least 20 dB"
    )


def test_agreement_is_a_percentage() -> None:
    assert agreement_pct(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0])) == 75.0


@pytest.mark.parametrize(
    ("total", "count", "chosen"),
    [(3, 5, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (101, 3, [0, 50, 100]), (10, 1, [0])],
)
def test_a_sample_is_spread_over_the_whole_set(total: int, count: int, chosen: list[int]) -> None:
    assert spread(total, count) == chosen
