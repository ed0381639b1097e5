"""Who sets a range, and what it clips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from ghostedge_quantize import calibrate
from ghostedge_quantize.codes import Range
from ghostedge_quantize.ranges.methods import Histogram
from ghostedge_quantize.ranges.use import ImageEnds, image_ends, range_use

Batches = Callable[..., list[np.ndarray]]


def _measured(*batches: np.ndarray) -> tuple[Histogram, ImageEnds]:
    histogram, of_images = Histogram(), ImageEnds()
    for batch in batches:
        histogram.add(batch, Range(float(batch.min()), float(batch.max())))
        of_images.add(*image_ends(batch, len(batch)))
    return histogram, of_images


def test_the_image_is_named_without_which_a_range_would_be_narrowest() -> None:
    images = np.tile(np.linspace(-1, 1, 100, dtype=np.float32), (6, 1))
    images[4] *= 3
    histogram, of_images = _measured(images[:4], images[4:])
    use = range_use("gate", Range(-3.0, 3.0), histogram, [of_images])
    assert (use.tensor, use.image) == ("gate", 4)
    assert use.widening == pytest.approx(3.0)
    assert use.clipped == 0.0


def test_an_image_beyond_the_range_widens_it_only_as_far_as_it_goes() -> None:
    images = np.tile(np.linspace(0, 1, 1000, dtype=np.float32), (4, 1))
    images[2] *= 10
    histogram, of_images = _measured(images)
    use = range_use("relu", Range(0.0, 2.0), histogram, [of_images])
    assert (use.image, use.widening) == (2, pytest.approx(2.0))
    assert use.clipped == pytest.approx(0.2, abs=0.001)  # 80 % of one image of four


def test_where_others_reach_as_far_no_image_sets_the_range() -> None:
    images = np.tile(np.linspace(-1, 1, 100, dtype=np.float32), (3, 1))
    histogram, of_images = _measured(images)
    assert range_use("x", Range(-1.0, 1.0), histogram, [of_images]).widening == 1.0


def test_a_single_image_is_held_against_none() -> None:
    histogram, of_images = _measured(np.ones((1, 8), np.float32))
    assert range_use("x", Range(0.0, 1.0), histogram, [of_images]).widening == 1.0


def test_copies_that_fill_up_a_batch_are_no_images() -> None:
    lows, highs = image_ends(np.ones((4, 2, 2), np.float32), 3)
    assert (len(lows), len(highs)) == (3, 3)


def test_of_one_image_all_its_patches_count() -> None:
    lows, highs = image_ends(np.array([[0, 1], [-2, 9]], np.float32), 1)
    assert (lows.tolist(), highs.tolist()) == ([-2.0], [9.0])


def test_every_range_of_a_graph_has_its_use_over_all_that_share_it(
    ghost: onnx.ModelProto, batches: Batches
) -> None:
    data = batches(6)
    data[-1][-1] *= 20
    ranges = calibrate(ghost, data, method="minmax")
    uses = {use.tensor: use for use in ranges.uses}
    assert set(uses) <= set(ranges.tensors)
    assert {"primary", "cheap"} & set(uses) == {"primary"}  # a concat's parts share their range
    last = sum(map(len, data)) - 1
    assert uses["input"].image == last
    assert uses["input"].widening > 5
    assert all(use.clipped == 0 for use in uses.values())


def test_what_has_fewer_rows_than_there_are_images_belongs_to_each() -> None:
    of_images = ImageEnds()
    of_images.add(*image_ends(np.float32(3.0).reshape(()), 2))
    of_images.add(*image_ends(np.array([[-1.0, 5.0]], np.float32), 3))
    assert np.concatenate(of_images.lows).tolist() == [3, 3, -1, -1, -1]
    assert np.concatenate(of_images.highs).tolist() == [3, 3, 5, 5, 5]
