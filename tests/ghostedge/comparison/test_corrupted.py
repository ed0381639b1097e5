"""What int8 loses on corrupted images beyond clean ones, against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ghostedge.comparison.corrupted import (
    corrupted_pairs,
    loss_estimate,
    right_images,
    scored_once,
)

IMAGES = 40
LAST = {IMAGES - 1}
"""The image that int8 gets wrong even as it is."""
WRONG = {
    ("none", 0): LAST,
    ("noise", 1): LAST,
    ("noise", 2): {0, 1, 2, *LAST},
    ("noise", 3): {*range(10), *LAST},
    ("noise", 4): {*range(10), *LAST},
    ("noise", 5): {*range(12), *LAST},
}
FLOAT_WRONG = {("noise", 4): set(range(20, 25))}
"""Five images that float gets wrong there and int8 right, besides those that only int8 does."""


@pytest.fixture
def of_float(scored_result):
    return scored_result("m.tflite", {key: FLOAT_WRONG.get(key, set()) for key in WRONG})


@pytest.fixture
def of_int8(scored_result):
    return scored_result("m_int8.tflite", WRONG, precision="int8", sha256="int8")


@pytest.fixture
def pair(of_float, of_int8):
    (found,) = corrupted_pairs([of_float, of_int8])
    return found


def test_top1_and_drop_are_of_each_strength(pair):
    assert (pair.reference, pair.other, pair.clean) == (0, 1, (100.0, 97.5))
    (noise,) = pair.losses
    assert noise.corruption == "noise"
    assert [loss.strength for loss in noise.strengths] == [1, 2, 3, 4, 5]
    assert [loss.reference_pct for loss in noise.strengths] == [100, 100, 100, 87.5, 100]
    assert [loss.top1_pct for loss in noise.strengths] == [97.5, 90, 72.5, 72.5, 67.5]
    assert [loss.drop for loss in noise.strengths] == [2.5, 10, 27.5, 15, 32.5]


def test_beyond_clean_the_clean_drop_is_taken_off_image_by_image(pair):
    (noise,) = pair.losses
    beyond = [loss.beyond.value for loss in noise.strengths]
    assert beyond == pytest.approx([0, 7.5, 25, 12.5, 30])
    assert noise.mean.value == pytest.approx(15)


def test_a_loss_is_shown_where_chance_alone_would_hardly_make_it(pair):
    """Of ten lost none gained: 1 in 1,024. Of ten and five: 0.15; of three: 1 in 8."""
    (noise,) = pair.losses
    assert [loss.shown for loss in noise.strengths] == [False, False, True, False, True]
    assert noise.gives_way is noise.strengths[2]
    assert pair.first is noise


def test_the_interval_is_that_of_matched_pairs_with_two_images_more():
    losses = np.array([1] * 10 + [0] * 30)
    # Mean 10 / 42, variance (10 + 1) / 42 less its square: 0.2381 ± 1.96 · √(0.2052 / 42).
    estimate = loss_estimate(losses)
    assert estimate.value == 25
    assert (estimate.low, estimate.high) == pytest.approx((10.11, 37.51), abs=0.01)
    same = loss_estimate(np.zeros(500, np.int64))
    assert same.value == 0
    assert same.high == -same.low == pytest.approx(0.39, abs=0.01)


def test_the_interval_holds_the_truth_19_times_of_20():
    """Of 300 images, of which int8 loses 4 % and gains 2 %, drawn 1,000 times."""
    rng = np.random.default_rng(0)
    drawn = rng.choice([1, -1, 0], (1000, 300), p=[0.04, 0.02, 0.94])
    estimates = [loss_estimate(losses) for losses in drawn]
    held = np.mean([each.low <= 2.0 <= each.high for each in estimates])
    assert 0.93 <= held <= 0.98


def test_equal_files_lose_nothing_and_nothing_is_shown(scored_result, of_float):
    same = scored_result(
        "m_int8.tflite", {key: FLOAT_WRONG.get(key, set()) for key in WRONG}, precision="int8"
    )
    (pair,) = corrupted_pairs([of_float, replace(same, case=replace(same.case, sha256="b"))])
    assert pair.first is None
    assert not any(loss.shown for each in pair.losses for loss in each.strengths)


def test_by_luck_alone_a_whole_table_shows_a_loss_in_5_of_100(scored_result):
    """35 columns in which as many images are lost as gained: Holm's rule counts them together."""
    rng = np.random.default_rng(1)
    names = [("none", 0)] + [(name, s) for name in "abcdefg" for s in (1, 2, 3, 4, 5)]
    alarms = 0
    for _ in range(60):
        wrong = [{key: set(np.flatnonzero(rng.random(200) < 0.05)) for key in names} for _ in "ab"]
        for one in wrong:
            one["none", 0] = set()
        results = [
            scored_result("m.tflite", wrong[0], images=200),
            scored_result("i.tflite", wrong[1], images=200, precision="int8", sha256="i"),
        ]
        (pair,) = corrupted_pairs(results)
        alarms += any(loss.shown for each in pair.losses for loss in each.strengths)
    assert alarms <= 9  # 60 times 5 % are 3; more than 9 would be 1 in 1,000


def test_a_file_stands_beside_the_float_file_of_its_weights_and_images(
    scored_result, of_float, of_int8
):
    another = scored_result("x.tflite", WRONG, sha256="x", source="other")
    of_onnx = scored_result("m.onnx", WRONG, sha256="o", backend="onnxruntime")
    int8_onnx = scored_result(
        "m_int8.onnx", WRONG, sha256="p", backend="onnxruntime", precision="int8"
    )
    fewer = scored_result("m_int8.tflite", WRONG, sha256="f", precision="int8", pixels="other")
    results = [another, of_onnx, of_float, of_int8, int8_onnx, fewer]
    pairs = corrupted_pairs(results)
    assert [(pair.reference, pair.other) for pair in pairs] == [(2, 3), (1, 4)]
    # Without a float file of the same backend another one's does, for it is the same function.
    assert [(p.reference, p.other) for p in corrupted_pairs([of_onnx, of_int8])] == [(0, 1)]
    assert corrupted_pairs([of_int8]) == ()


def test_files_that_differ_in_threads_alone_count_once(of_float, of_int8):
    more = replace(of_int8, case=replace(of_int8.case, threads=4))
    assert [place for place, _ in scored_once([of_float, of_int8, more])] == [0, 1]
    assert len(corrupted_pairs([of_float, of_int8, more])) == 1


def test_float_computed_in_half_precision_is_held_against_float(of_float):
    half = replace(of_float, case=replace(of_float.case, precision_mode="fp16"))
    assert [(pair.reference, pair.other) for pair in corrupted_pairs([of_float, half])] == [(0, 1)]


def test_hits_are_read_in_the_folders_order(of_int8):
    clean = of_int8.corrupted.scores[0]
    assert clean.hits == "fffffffffe"
    assert right_images(clean, IMAGES).tolist() == [True] * 39 + [False]
