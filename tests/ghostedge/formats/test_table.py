"""The bounds that the table of targets states."""

from __future__ import annotations

from ghostedge.formats.table import TARGETS, Budget


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


def test_a_budget_says_what_it_bounds() -> None:
    assert str(Budget(1e-3, 20.0, 90.0)) == (
        "differences within 0.001 of the output's largest number, same top-1 on 90 %, "
        "sqnr at least 20 dB"
    )
