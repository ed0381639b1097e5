"""The weights name the preprocessing that they were trained with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from ghostedge_convert.statistics.candidates import Candidate
from ghostedge_convert.statistics.early import EarlyNorms
from ghostedge_convert.statistics.measure import NormLayer, NormStatistics
from ghostedge_convert.statistics.preprocessing import (
    PreprocessingVerdict,
    judge_each,
    judge_preprocessing,
)
from ghostedge_convert.statistics.stem import Stem, measure_stem
from ghostedge_runtime.metadata import Preprocessing

Pixels = npt.NDArray[np.uint8]
Trained = Callable[[Preprocessing], onnx.ModelProto]
Prepared = Callable[[Preprocessing], Pixels]

SIDE = 32
IMAGENET = Preprocessing(input_size=(SIDE, SIDE))
LITE = replace(IMAGENET, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
HALF = replace(IMAGENET, mean=(0.5,) * 3, std=(0.5,) * 3)
UNIT = replace(IMAGENET, mean=(0.0,) * 3, std=(1.0,) * 3)
BYTES = replace(IMAGENET, mean=(0.0,) * 3, std=(1 / 255,) * 3)
CAFFE = replace(
    IMAGENET,
    mean=(103.94 / 255, 116.78 / 255, 123.68 / 255),
    std=(1 / 255,) * 3,
    color_order="BGR",
)
GREY = replace(IMAGENET, mean=(0.1307,), std=(0.3081,))
CLEAR = replace(IMAGENET, mean=(0.485, 0.456, 0.406, 0.5), std=(0.229, 0.224, 0.225, 0.5))
ODD = replace(IMAGENET, mean=(0.2, 0.35, 0.3), std=(0.11, 0.15, 0.12))


@pytest.fixture(scope="module")
def judge(stem_wanting: Trained, pixels: Prepared) -> Callable[..., PreprocessingVerdict]:
    """judge(wanted, in_use, every=2): on every second picture of those it was trained on."""

    def judged(
        wanted: Preprocessing, in_use: Preprocessing, every: int = 2
    ) -> PreprocessingVerdict:
        plain = pixels(replace(in_use, color_order="RGB"))[::every]
        measured = measure_stem(stem_wanting(wanted), [plain])
        assert measured is not None
        return judge_preprocessing(measured, in_use)

    return judged


@pytest.mark.parametrize("wanted", [IMAGENET, LITE, UNIT, BYTES, CAFFE, GREY, CLEAR, ODD])
def test_what_the_network_was_trained_with_fits(
    judge: Callable[..., PreprocessingVerdict], wanted: Preprocessing
) -> None:
    verdict = judge(wanted, wanted)
    assert verdict.verdict == "fits"
    assert verdict.best == verdict.in_use
    assert not verdict.overwhelming
    assert verdict.in_use.misfit < 0.03
    assert verdict.images == 42


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (LITE, "(x - 127) / 128"),
        (UNIT, "0 to 1"),
        (BYTES, "0 to 255"),
        (CAFFE, "Caffe's means of bytes"),
    ],
)
def test_another_is_named_where_imagenets_was_assumed(
    judge: Callable[..., PreprocessingVerdict], wanted: Preprocessing, name: str
) -> None:
    verdict = judge(wanted, IMAGENET)
    assert (verdict.verdict, verdict.overwhelming) == ("other", True)
    assert (verdict.best.name, verdict.best.color_order) == (name, wanted.color_order)
    np.testing.assert_allclose(verdict.best.mean, wanted.mean, atol=1e-6)
    np.testing.assert_allclose(verdict.best.std, wanted.std, rtol=1e-6)
    assert verdict.in_use.name == "ImageNet's mean and std"
    assert verdict.in_use.misfit > 10 * verdict.best.misfit
    assert verdict.tried[0].misfit <= verdict.best.misfit


def test_mnists_is_named_for_a_network_of_grey_images(
    judge: Callable[..., PreprocessingVerdict],
) -> None:
    verdict = judge(GREY, replace(GREY, mean=(0.5,), std=(0.5,)))
    assert (verdict.verdict, verdict.best.name) == ("other", "MNIST's mean and std")


def test_the_order_of_the_colours_is_told(judge: Callable[..., PreprocessingVerdict]) -> None:
    verdict = judge(LITE, replace(LITE, color_order="BGR"))
    assert (verdict.verdict, verdict.best.color_order) == ("other", "RGB")
    assert verdict.best.mean == LITE.mean


def test_two_that_make_the_same_of_an_image_are_not_held_against_each_other(
    judge: Callable[..., PreprocessingVerdict],
) -> None:
    verdict = judge(LITE, HALF)
    assert (verdict.verdict, verdict.in_use.name) == ("fits", "mean and std of 0.5")


def test_a_mean_and_std_of_its_own_is_solved_where_nothing_in_use_fits(
    judge: Callable[..., PreprocessingVerdict],
) -> None:
    verdict = judge(ODD, IMAGENET)
    assert (verdict.verdict, verdict.best.name) == ("own", "its own")
    assert verdict.own is not None
    for solved, wanted, error in (
        (verdict.best.mean, ODD.mean, verdict.own.mean_error),
        (verdict.best.std, ODD.std, verdict.own.std_error),
    ):
        assert np.all(np.abs(np.subtract(solved, wanted)) < 4 * np.array(error) + 0.01)
    assert max(verdict.own.std_error) < 0.05


def test_a_handful_of_images_overwhelms_nobody(judge: Callable[..., PreprocessingVerdict]) -> None:
    verdict = judge(LITE, IMAGENET, every=12)
    assert verdict.images == 7
    assert (verdict.verdict, verdict.overwhelming) == ("other", False)


def test_of_one_image_something_is_said(judge: Callable[..., PreprocessingVerdict]) -> None:
    verdict = judge(LITE, BYTES, every=84)
    assert verdict.images == 1
    assert (verdict.verdict, verdict.overwhelming) == ("other", False)


def test_order_and_values_are_told_together_where_both_are_wrong(
    judge: Callable[..., PreprocessingVerdict],
) -> None:
    verdict = judge(LITE, replace(IMAGENET, color_order="BGR"))
    assert (verdict.verdict, verdict.overwhelming) == ("other", True)
    assert (verdict.best.name, verdict.best.color_order) == ("(x - 127) / 128", "RGB")


def test_several_are_judged_as_each_alone(stem_wanting: Trained, pixels: Prepared) -> None:
    measured = measure_stem(stem_wanting(LITE), [pixels(LITE)[::2]])
    assert measured is not None
    assert judge_each(measured, [IMAGENET, LITE]) == [
        judge_preprocessing(measured, IMAGENET),
        judge_preprocessing(measured, LITE),
    ]


def _seen(stem: Stem, far: float) -> EarlyNorms:
    """A second batch norm, whose mean is so many stds off under every preprocessing."""

    def early(candidate: Candidate) -> NormStatistics:
        zeros = np.zeros((stem.images, 4))
        norm = NormLayer("second", zeros[0], zeros[0] + 1, 0.0, zeros + far, zeros + 1 + far**2)
        return NormStatistics((norm, norm), stem.images)

    return early


def test_nothing_is_replaced_where_images_are_unlike_training_even_so(
    stem_wanting: Trained, pixels: Prepared
) -> None:
    stem = measure_stem(stem_wanting(LITE), [pixels(LITE)[::2]])
    assert stem is not None
    familiar = judge_preprocessing(stem, IMAGENET, _seen(stem, 0.1))
    assert (familiar.overwhelming, familiar.unlike) == (True, None)
    strange = judge_preprocessing(stem, IMAGENET, _seen(stem, 1.0))
    assert (strange.verdict, strange.overwhelming) == ("other", False)
    assert strange.best == familiar.best
    assert strange.unlike == pytest.approx(0.5)  # a mean off by a standard deviation


@pytest.mark.usefixtures("photos")  # drawn pictures tell the order of colours
def test_what_the_images_do_not_tell_apart_is_named_beside_it(
    stem_wanting: Trained, pixels: Prepared
) -> None:
    close = replace(IMAGENET, mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616))
    stem = measure_stem(stem_wanting(close), [pixels(close)[::2]])
    assert stem is not None
    verdict = judge_preprocessing(stem, close)
    assert verdict.verdict == "fits"
    named = [(each.name, each.color_order) for each in verdict.as_likely]
    assert [order for _, order in named] == ["BGR"]
    # Close to it, so that it fits too, and is not worth a word.
    assert judge_preprocessing(stem, IMAGENET).verdict == "fits"
    sure = measure_stem(stem_wanting(LITE), [pixels(LITE)[::2]])
    assert sure is not None
    assert judge_preprocessing(sure, LITE).as_likely == ()


def test_of_images_without_colours_no_order_is_named(
    stem_wanting: Trained, pixels: Prepared
) -> None:
    grey = pixels(LITE).mean(-1, keepdims=True).astype(np.uint8).repeat(3, -1)
    for in_use in (LITE, IMAGENET, replace(IMAGENET, color_order="BGR")):
        stem = measure_stem(stem_wanting(LITE), [grey])
        assert stem is not None
        assert stem.is_grey
        verdict = judge_preprocessing(stem, in_use)
        assert {each.color_order for each in verdict.tried} == {in_use.color_order}
        assert verdict.best.color_order == in_use.color_order
