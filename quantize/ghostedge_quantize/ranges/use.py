"""How calibration images fill the ranges: who sets them, and what is clipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ghostedge_quantize.codes import MIN_SPAN, Range
from ghostedge_quantize.ranges.methods import Histogram

Ends = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RangeUse:
    """How the calibration images fill a range.

    Attributes:
        tensor: Whose range it is; of those that share it, the first.
        clipped: Share of the numbers that lie outside, 0 to 1.
        image: The image without which it would be narrowest, by its place in calibration.
        widening: How many times as wide it is as without that image; 1 where others reach as far.
    """

    tensor: str
    clipped: float
    image: int
    widening: float


@dataclass
class ImageEnds:
    """Lowest and highest value of a tensor for each image, collected batch by batch.

    Attributes:
        lows: float32 (N,) of each batch.
        highs: float32 (N,) of each batch.
    """

    lows: list[Ends] = field(default_factory=list)
    highs: list[Ends] = field(default_factory=list)

    def add(self, lows: Ends, highs: Ends) -> None:
        """Take the ends of a batch's images."""
        self.lows.append(lows)
        self.highs.append(highs)


def image_ends(values: np.ndarray, count: int) -> tuple[Ends, Ends]:
    """Lowest and highest value of the first ``count`` images of a batch of float32 activations."""
    # Of one image all rows are its own, be they patches or copies that fill up the batch; where
    # there are fewer rows than images, what is there belongs to each.
    if count > 1 and values.ndim and len(values) >= count:
        flat = values.reshape(len(values), -1)[:count]
        return flat.min(axis=1), flat.max(axis=1)
    return np.full(count, values.min()), np.full(count, values.max())


def range_use(
    tensor: str, ends: Range, histogram: Histogram, of_images: Sequence[ImageEnds]
) -> RangeUse:
    """How a range is filled.

    Args:
        tensor: What to call it.
        ends: The range.
        histogram: Of all values that share it.
        of_images: Of each tensor that shares it.
    """
    middles, counts = histogram.filled()
    values = np.clip(middles, *histogram.ends)  # an outermost bin's middle may lie beyond them
    outside = (values < ends.low) | (values > ends.high)
    lows = np.min([np.concatenate(part.lows) for part in of_images], axis=0)
    highs = np.max([np.concatenate(part.highs) for part in of_images], axis=0)
    image, widening = max(
        ((image, _widening(ends, lows, highs, image)) for image in _outermost(lows, highs)),
        key=lambda pair: pair[1],
    )
    return RangeUse(tensor, float(counts[outside].sum() / counts.sum()), image, widening)


def _outermost(lows: Ends, highs: Ends) -> tuple[int, ...]:
    return (int(lows.argmin()), int(highs.argmax()))


def _widening(ends: Range, lows: Ends, highs: Ends, image: int) -> float:
    """How many times as wide the range is as what the other images reach of it."""
    if len(lows) < 2:
        return 1.0
    low = max(ends.low, min(0.0, float(np.delete(lows, image).min())))
    high = min(ends.high, max(0.0, float(np.delete(highs, image).max())))
    return (ends.high - ends.low) / max(high - low, MIN_SPAN)
