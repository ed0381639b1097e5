"""Outputs that are no class scores are compared by difference and signal-to-noise ratio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostedge.conversion.artefacts import ModelFile
from ghostedge.conversion.checks import Budget, Gap
from ghostedge.conversion.imagesets import ImageSet
from ghostedge.conversion.kind import class_count
from ghostedge.conversion.measure import likeness
from ghostedge.conversion.signals import channels_first, signal_parity, worst_db

WANTED = np.array([[3.0, -4.0]], np.float32)
IMAGES = ImageSet([Path("a"), Path("b")], "2 images")


def test_the_ratio_is_of_the_sums_of_squares_over_all_images() -> None:
    gap = Gap.between(WANTED + np.float32(0.5), WANTED) + Gap.between(WANTED, WANTED)
    assert (gap.signal, gap.noise) == (50.0, 0.5)
    assert gap.sqnr_db == pytest.approx(20.0)
    assert (gap.largest, gap.difference) == (4.0, 0.5)


def test_labels_differ_by_the_share_of_unequal_ones() -> None:
    wanted = np.arange(20, dtype=np.float32)
    wrong = wanted.copy()
    wrong[:2] = 1000
    gap = Gap.of_labels(wrong, wanted) + Gap.of_labels(wrong, wanted)
    assert gap.difference == 0.1
    assert gap.sqnr_db == pytest.approx(20.0)
    assert gap.keeps(Budget(max_difference=0.1))
    assert Gap.of_labels(wanted, wanted).sqnr_db is None


def test_no_difference_has_no_ratio_and_keeps_every_bound() -> None:
    gap = Gap.between(WANTED, WANTED)
    assert gap.sqnr_db is None
    assert gap.keeps(Budget(max_difference=0.0, min_sqnr_db=100.0))


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (Budget(min_sqnr_db=16.9), True),
        (Budget(min_sqnr_db=17.1), False),
        (Budget(max_difference=0.13), True),  # 0.5 ≤ 0.13 · 4
        (Budget(max_difference=0.12), False),
        (Budget(max_difference=0.12, min_sqnr_db=10.0), False),
    ],
)
def test_a_bound_is_kept_or_broken(budget: Budget, kept: bool) -> None:
    assert Gap.between(WANTED + np.float32(0.5), WANTED).keeps(budget) is kept


def test_numbers_that_are_none_break_every_bound() -> None:
    assert not Gap.between(WANTED * np.float32(np.nan), WANTED).keeps(Budget())


def test_one_noisy_output_among_several_breaks_the_budget_and_is_named() -> None:
    gaps = {
        "p3": Gap.between(WANTED * np.float32(1.01), WANTED),
        "p4": Gap.between(WANTED * np.float32(1.5), WANTED),
    }
    found = signal_parity(gaps, "m.onnx", IMAGES, Budget(min_sqnr_db=20.0))
    assert not found.within_budget
    assert found.agreement_pct is None
    assert found.max_abs_diff == 2.0
    assert [each.name for each in found.outputs] == ["p3", "p4"]
    assert found.outputs[0].sqnr_db == pytest.approx(40.0, abs=1e-3)
    assert likeness(found) == "sqnr 6.0 dB of p4, the noisiest output,"
    assert worst_db(gaps.values()) == pytest.approx(6.02, abs=0.01)


def test_equal_outputs_are_said_to_be() -> None:
    gaps = {"p3": Gap.between(WANTED, WANTED)}
    found = signal_parity(gaps, "m.onnx", IMAGES, Budget(min_sqnr_db=20.0))
    assert found.within_budget
    assert found.worst is None
    assert likeness(found) == "no difference in any output"


def test_only_outputs_in_another_order_are_turned() -> None:
    file = ModelFile(Path("m.tflite"), "tflite", "float32", None, {"map": (0, 2, 3, 1)})
    image = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    turned = channels_first(file, {"map": image.transpose(0, 2, 3, 1), "vector": WANTED})
    np.testing.assert_array_equal(turned["map"], image)
    np.testing.assert_array_equal(turned["vector"], WANTED)


ROWS = np.array([[0.6, -0.8], [1.0, 0.0]], np.float32)


@pytest.mark.parametrize(
    ("answers", "classes"),
    [
        ((np.zeros((2, 10), np.float32),), 10),
        ((np.array([[0.0, 1.0, 0.0]], np.float32),), 3),  # sure probabilities are no embedding
        ((ROWS,), None),
        ((ROWS * 1.1,), 2),
        ((np.zeros((2, 10, 4, 4), np.float32),), None),
        ((np.zeros((2, 10), np.float32), np.zeros((2, 4), np.float32)), None),
    ],
)
def test_classes_are_one_row_of_numbers_that_is_no_unit_vector(
    answers: tuple[np.ndarray, ...], classes: int | None
) -> None:
    assert class_count(answers) == classes
