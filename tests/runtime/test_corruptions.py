"""Seven ways to make an image worse: stronger is farther, and everyone sees the same pixels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ghostedge_runtime.corruptions import (
    CORRUPTIONS,
    STRENGTHS,
    chosen_corruptions,
    corrupt,
    form_count,
)
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.folders import list_images
from ghostedge_runtime.images import prepare
from ghostedge_runtime.metadata import Preprocessing

Pixels = npt.NDArray[np.uint8]
NAMES = tuple(CORRUPTIONS)


def drawn(height: int, width: int, channels: int = 3) -> Pixels:
    """Slopes and stripes, the same everywhere."""
    y, x = np.mgrid[:height, :width]
    planes = ((x * 3 + y) % 256, (x * y // 7) % 256, 255 - (y * 2) % 256, (x + y) % 256)
    return np.stack(planes[:channels], axis=-1).astype(np.uint8)


def distance(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(np.int64) - b).mean())


@pytest.mark.parametrize("side", [32, 64, 128, 224, 256])
@pytest.mark.parametrize("name", NAMES)
def test_a_stronger_corruption_is_farther_from_the_image(
    pictures: Path, name: str, side: int
) -> None:
    preprocessing = Preprocessing(input_size=(side, side))
    some = [prepare(path, preprocessing) for path in list_images(pictures)[::12]]
    distances = [
        np.mean([distance(corrupt(pixels, name, strength), pixels) for pixels in some])
        for strength in STRENGTHS
    ]
    assert distances[0] > 0
    assert distances == sorted(set(distances))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 300),
    st.integers(1, 200),
    st.sampled_from((1, 3, 4)),
    st.sampled_from(NAMES),
    st.sampled_from(STRENGTHS),
)
def test_any_image_keeps_its_shape_and_type(
    height: int, width: int, channels: int, name: str, strength: int
) -> None:
    pixels = drawn(height, width, channels)
    before = pixels.copy()
    worse = corrupt(pixels, name, strength)
    assert (worse.shape, worse.dtype) == (pixels.shape, np.uint8)
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(worse, corrupt(pixels, name, strength))
    if channels == 4:
        np.testing.assert_array_equal(worse[..., 3], pixels[..., 3])


@pytest.mark.parametrize("name", NAMES)
def test_blue_first_is_corrupted_as_red_first_is(name: str) -> None:
    pixels = drawn(40, 48)
    blue_first = np.ascontiguousarray(pixels[..., ::-1])
    worse = corrupt(blue_first, name, 3, color_order="BGR")
    np.testing.assert_array_equal(worse[..., ::-1], corrupt(pixels, name, 3))


@pytest.mark.parametrize("name", ["noise", "haze"])
def test_another_image_gets_another_pattern_and_another_strength_the_same(name: str) -> None:
    grey = np.full((64, 64, 3), 120, np.uint8)
    brighter = np.full((64, 64, 3), 121, np.uint8)
    weak, strong = (corrupt(grey, name, strength) - 120.0 for strength in (1, 2))
    other = corrupt(brighter, name, 1) - 121.0
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(weak.ravel(), other.ravel())[0, 1]) < 0.6


def test_noise_has_the_deviation_that_the_papers_table_has() -> None:
    """Of greys that it leaves inside 0 to 255: CIFAR-10-C's 0.10 and ImageNet-C's 0.08."""
    for side, strength, deviation in ((32, 5, 0.10), (224, 1, 0.08)):
        greys = [np.full((side, side, 3), value, np.uint8) for value in range(120, 136)]
        noise = [corrupt(grey, "noise", strength) - grey.astype(np.float64) for grey in greys]
        assert np.std(noise) / 255 == pytest.approx(deviation, rel=0.02)
        assert abs(np.mean(noise)) < 0.5


def test_brightness_adds_to_the_largest_channel_and_keeps_the_hue() -> None:
    pixels = np.array([[[100, 50, 25], [0, 0, 0], [250, 250, 0]]], np.uint8)
    worse = corrupt(np.repeat(pixels, 64, axis=0).repeat(22, axis=1), "brightness", 5)
    # At 64 pixels 0.5 of white, 127.5; the black one becomes grey, the third is at the end.
    assert worse[0, 0].tolist() == [228, 114, 57]
    assert worse[0, 22].tolist() == [128, 128, 128]
    assert worse[0, 44].tolist() == [255, 255, 0]


def test_contrast_shrinks_toward_the_mean_of_each_channel() -> None:
    pixels = np.zeros((64, 64, 1), np.uint8)
    pixels[:, 32:] = 200
    worse = corrupt(pixels, "contrast", 1)  # 0.4 of it is left
    assert np.unique(worse).tolist() == [60, 140]


def test_pixelation_joins_whole_blocks() -> None:
    pixels = drawn(64, 64)
    worse = corrupt(pixels, "pixelation", 5).astype(np.int64)  # half as many pixels
    blocks = worse.reshape(32, 2, 32, 2, 3)
    assert (blocks.max(axis=(1, 3)) == blocks.min(axis=(1, 3))).all()


def test_haze_whitens_and_a_black_image_stays_black() -> None:
    dark = drawn(64, 64) // 2
    dark[0, 0] = 255
    assert corrupt(dark, "haze", 3).mean() > dark.mean()
    black = np.zeros((64, 64, 3), np.uint8)
    np.testing.assert_array_equal(corrupt(black, "haze", 5), black)


def test_between_the_published_sizes_a_strength_lies_between() -> None:
    blur = CORRUPTIONS["blur"]
    assert [blur.amount(5, side) for side in (8, 32, 64, 224, 256)] == [1.0, 1.0, 1.5, 6.0, 6.0]
    assert blur.amount(5, 120) == pytest.approx(3.0, rel=0.01)  # half way between 64 and 224


# Of `drawn` images of these sizes, all strengths in turn: other bytes mean other scores.
DIGESTS = {
    "noise": "0c251ff3c74791ba",
    "blur": "c8b721f00fc05eae",
    "jpeg": "499ae3c76b30c545",
    "brightness": "836d2ba3eda56631",
    "contrast": "11031153cd368d73",
    "haze": "492cc7fb105a3207",
    "pixelation": "66f52ac237d7b4fc",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_pixels_are_those_of_every_other_machine(name: str) -> None:
    digest = hashlib.sha256()
    for size in ((64, 64), (97, 135), (224, 224)):
        for strength in STRENGTHS:
            digest.update(corrupt(drawn(*size), name, strength).tobytes())
    assert digest.hexdigest()[:16] == DIGESTS[name]


@pytest.mark.parametrize("strength", [0, 6, -1, 2.5, True])
def test_a_strength_outside_1_to_5_is_refused(strength: int) -> None:
    with pytest.raises(InputError, match="strength is 1 to 5"):
        corrupt(drawn(8, 8), "noise", strength)


@pytest.mark.parametrize(
    "pixels", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 2), np.uint8), np.zeros((8, 8, 3))]
)
def test_what_is_no_image_is_refused(pixels: Pixels) -> None:
    with pytest.raises(InputError, match=r"height, width, 1, 3 or 4"):
        corrupt(pixels, "noise", 1)


def test_names_are_chosen_in_the_tables_order() -> None:
    assert chosen_corruptions(["haze", "noise"]) == ("noise", "haze")
    assert chosen_corruptions(["all"]) == NAMES
    assert chosen_corruptions(()) == ()
    assert form_count(NAMES) == 36


@pytest.mark.parametrize(
    ("words", "message"),
    [(["blu"], r"no corruption 'blu' \(closest: blur\)"), (["jpeg", "jpeg"], "listed twice")],
)
def test_a_wrong_name_is_an_error_that_says_what_there_is(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        chosen_corruptions(words)
    assert raised.value.where == "--corruptions"


def test_a_photograph_of_any_kind_can_be_corrupted() -> None:
    for mode in ("L", "RGB", "RGBA"):
        pixels = np.asarray(Image.new(mode, (20, 10), 77))
        pixels = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
        for name in NAMES:
            assert corrupt(pixels, name, 1).shape == pixels.shape
