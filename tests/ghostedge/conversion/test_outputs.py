"""Outputs that are no class scores are compared by difference and signal-to-noise ratio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostedge.conversion.artefacts import HeldTo, ModelFile
from ghostedge.conversion.compare import likeness
from ghostedge.conversion.gap import Gap
from ghostedge.conversion.images import ImageSet
from ghostedge.conversion.outputs import OutputGap, budget_words, channels_first, output_parity
from ghostedge.conversion.parts import Parts
from ghostedge.formats.table import TARGETS, Budget

WANTED = np.array([[3.0, -4.0]], np.float32)
ONE_PART = Parts("channel", ("channel 0",), np.zeros((1, 1), np.int64))
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
        "p3": OutputGap.between(WANTED * np.float32(1.01), WANTED, ONE_PART),
        "p4": OutputGap.between(WANTED * np.float32(1.5), WANTED, ONE_PART),
    }
    found = output_parity(gaps, "m.onnx", IMAGES, Budget(min_sqnr_db=20.0))
    assert not found.within_budget
    assert found.agreement_pct is None
    assert found.max_abs_diff == 2.0
    assert [each.name for each in found.outputs] == ["p3", "p4"]
    assert found.outputs[0].sqnr_db == pytest.approx(40.0, abs=1e-3)
    assert likeness(found) == "sqnr 6.0 dB of the noisiest output (p4)"
    assert found.sqnr_db == found.worst.counted_db == pytest.approx(6.02, abs=0.01)


BOXES_AND_SCORES = np.array([[[300.0, 200.0, 100.0], [0.9, 0.1, 0.5]]], np.float32)
STEP = np.array([[[0.6, -0.6, 0.6], [-0.9, -0.1, 0.5]]], np.float32)
ROWS_APART = np.array([0, 1]).reshape(1, 2, 1)


@pytest.mark.parametrize(("kind", "bound"), [("part", 20.0), ("channel", 30.0)])
def test_small_numbers_do_not_hide_behind_large_ones(kind, bound: float) -> None:
    names = ("channels 0: Mul", "channels 1: Sigmoid")
    parts = Parts(kind, names, ROWS_APART)
    lost = OutputGap.between(BOXES_AND_SCORES + STEP, BOXES_AND_SCORES, parts)
    assert lost.whole.sqnr_db == pytest.approx(48.1, abs=0.1)
    assert (lost.worst.name, lost.worst.sqnr_db) == (names[1], pytest.approx(0.0, abs=0.1))
    assert not lost.keeps(Budget(min_sqnr_db=20.0))
    quiet = OutputGap.between(BOXES_AND_SCORES + STEP / 10, BOXES_AND_SCORES, parts)
    assert quiet.worst.sqnr_db == pytest.approx(20.0, abs=0.1)
    assert quiet.keeps(Budget(min_sqnr_db=bound - 0.2))
    assert not quiet.keeps(Budget(min_sqnr_db=bound + 0.2))


def test_a_part_of_small_numbers_is_held_to_its_own_difference() -> None:
    parts = Parts("part", ("boxes", "scores"), ROWS_APART)
    wrong = BOXES_AND_SCORES + np.float32([[[0, 0, 0], [0.02, 0, 0]]])
    gap = OutputGap.between(wrong, BOXES_AND_SCORES, parts)
    assert gap.whole.keeps(Budget(max_difference=1e-3))
    assert not gap.keeps(Budget(max_difference=1e-3))


def test_a_channel_that_is_always_zero_has_no_ratio() -> None:
    parts = Parts("channel", ("channel 0", "channel 1"), ROWS_APART)
    wanted = BOXES_AND_SCORES * np.float32([[[1], [0]]])
    gap = OutputGap.between(wanted + np.float32(1e-3), wanted, parts)
    assert gap.worst.name == "channel 0"
    assert gap.keeps(Budget(min_sqnr_db=20.0))


AGES = np.linspace(36, 44, 16, dtype=np.float32).reshape(16, 1)
ONE_NUMBER = Parts("channel", ("channel 0",), np.zeros((1, 1), np.int64))


def test_a_number_that_is_the_same_for_every_image_breaks_the_budget_however_large_it_is() -> None:
    constant = OutputGap.between(np.full_like(AGES, 40), AGES, ONE_NUMBER)
    assert constant.whole.sqnr_db == pytest.approx(24.2, abs=0.1)
    assert constant.between_images_db == pytest.approx(0.0, abs=1e-6)
    assert not constant.keeps(Budget(min_sqnr_db=20.0))
    assert str(constant.parity("age", Budget(min_sqnr_db=20.0))) == "age; between images 0.0 dB"
    close = OutputGap.between(AGES + np.float32(0.2), AGES, ONE_NUMBER)
    assert close.between_images_db == pytest.approx(21.8, abs=0.1)
    assert close.keeps(Budget(min_sqnr_db=20.0))


def test_images_are_counted_together_and_few_or_equal_ones_say_nothing() -> None:
    noisy = AGES + np.float32(0.2)
    halves = [OutputGap.between(noisy[i::2], AGES[i::2], ONE_NUMBER) for i in (0, 1)]
    whole = OutputGap.between(noisy, AGES, ONE_NUMBER)
    assert (halves[0] + halves[1]).between_images_db == pytest.approx(whole.between_images_db)
    assert OutputGap.between(noisy[:7], AGES[:7], ONE_NUMBER).between_images_db is None
    same = np.full((16, 1), 40, np.float32)
    assert OutputGap.between(same + np.float32(0.2), same, ONE_NUMBER).between_images_db is None
    two = Parts("channel", ("channel 0", "channel 1"), np.array([[0, 1]]))
    assert OutputGap.between(np.hstack([noisy] * 2), np.hstack([AGES] * 2), two).images == 0


def test_the_budget_says_what_channels_are_held_to() -> None:
    assert budget_words(Budget(min_sqnr_db=20.0)).endswith(
        "at least 20 dB, 10 dB of any channel, 1 dB between images of a single number"
    )
    assert budget_words(Budget(max_difference=1e-4)) == str(Budget(max_difference=1e-4))


def test_equal_outputs_are_said_to_be() -> None:
    gaps = {"p3": OutputGap.between(WANTED, WANTED, ONE_PART)}
    found = output_parity(gaps, "m.onnx", IMAGES, Budget(min_sqnr_db=20.0))
    assert found.within_budget
    assert found.worst is None
    assert likeness(found) == "no difference in any output"


def test_only_outputs_in_another_order_are_turned() -> None:
    held_to = HeldTo(TARGETS["tflite"], "float32")
    file = ModelFile(Path("m.tflite"), "tflite", "float32", None, held_to, {"map": (0, 2, 3, 1)})
    image = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    turned = channels_first(file, {"map": image.transpose(0, 2, 3, 1), "vector": WANTED})
    np.testing.assert_array_equal(turned["map"], image)
    np.testing.assert_array_equal(turned["vector"], WANTED)
