"""Samples of an image set."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ghostedge.conversion.images import Batches, ImageSet, spread
from ghostedge_runtime.metadata import Preprocessing


@pytest.mark.parametrize(
    ("total", "count", "chosen"),
    [(3, 5, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (101, 3, [0, 50, 100]), (10, 1, [0])],
)
def test_a_sample_is_spread_over_the_whole_set(total: int, count: int, chosen: list[int]) -> None:
    assert spread(total, count) == chosen


def test_a_batch_asked_for_by_its_number_is_the_one_that_a_pass_yields() -> None:
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)) for _ in range(5)]
    batches = Batches(ImageSet(pictures, ""), Preprocessing((8, 8)), 2)
    of_a_pass = [*batches]
    assert len(batches) == len(of_a_pass) == 3
    for number in (2, 0, 1):
        np.testing.assert_array_equal(batches[number], of_a_pass[number])
    with pytest.raises(IndexError):
        batches[3]


def test_images_prepared_on_every_core_keep_their_order() -> None:
    pictures = [Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(20)]
    prepared = ImageSet(pictures, "").prepared(Preprocessing((8, 8), crop_pct=1.0))
    assert [int(pixels[0, 0, 0]) for pixels in prepared] == list(range(20))
