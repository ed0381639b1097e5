"""The PNG: there, not empty, the same each time."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ghostedge.show.drawing import LIGHT
from ghostedge.show.picture import picture


def has(pixels: np.ndarray, colour: str) -> bool:
    wanted = list(bytes.fromhex(LIGHT[colour][1:]))
    return bool((pixels == wanted).all(axis=2).any())


def test_the_picture_shows_points_distributions_and_warnings_and_is_always_the_same(
    eight, contents_of
):
    contents = contents_of(eight)
    made = picture(contents)
    with Image.open(io.BytesIO(made)) as image:
        assert image.format == "PNG"
        assert image.width == 2240
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[0, 0] == 255).all()
    for colour in ("s0", "fill", "warn"):
        assert has(pixels, colour)
    assert picture(contents) == made


def test_a_picture_of_failures_alone_says_so_and_has_no_chart(bare, contents_of, run_of):
    with Image.open(io.BytesIO(picture(contents_of(run_of(bare.results[-1:]))))) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert has(pixels, "warn")
    assert not has(pixels, "s0")
