"""Counts of a tensor's values, and the range that a method reads from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ghostedge_quantize.ranges import QMAX, QMIN, Method, Range, affine, hull
from ghostedge_runtime.errors import InputError

BINS = 8192
"""32 bins for each of the 256 int8 steps: fine enough to tell rounding from clipping."""
TAIL = 0.5e-4
"""Share of the values that a percentile range leaves out at each end (99.99 % stay)."""
SHRINKS = np.linspace(1.0, 0.2, 41).tolist()
"""Parts of an end that the search for the least squared error tries."""
ROUNDS = 2
"""How often that search returns to each end; a third round changed nothing measurable."""


@dataclass(frozen=True)
class Histogram:
    """Equal bins over a range that is known beforehand; its size does not depend on the data.

    Attributes:
        ends: Lowest and highest value that will come.
        counts: int64 [BINS], filled by ``add``.
    """

    ends: Range
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: np.ndarray) -> None:
        """Count a float32 array's values.

        Raises:
            InputError: A value lies outside ``ends``.
        """
        low, high = self.ends
        if not (values.min() >= low and values.max() <= high):
            raise InputError(
                "the calibration batches changed between two passes over them",
                remedy="pass batches that give the same arrays each time they are iterated",
            )
        scaled = values.reshape(-1) - np.float32(low)
        scaled *= np.float32(BINS / (high - low))
        counts = np.bincount(scaled.astype(np.intp), minlength=BINS + 1)
        self.counts[:] += counts[:BINS]
        self.counts[-1] += counts[BINS]

    @property
    def width(self) -> float:
        """Width of a bin."""
        return (self.ends.high - self.ends.low) / BINS

    @property
    def centers(self) -> np.ndarray:
        """float64 [BINS]: the middle of each bin."""
        return self.ends.low + (np.arange(BINS) + 0.5) * self.width


def percentile_range(histogram: Histogram) -> Range:
    """The range without the outermost ``TAIL`` of the values at either end."""
    below = np.cumsum(histogram.counts) / histogram.counts.sum()
    first = int(np.searchsorted(below, TAIL, side="right"))
    last = int(np.searchsorted(below, 1 - TAIL, side="left"))
    low, width = histogram.ends.low, histogram.width
    return hull([Range(low + first * width, low + (last + 1) * width)])


def mse_range(histogram: Histogram) -> Range:
    """The range whose int8 code has the least squared error over the counted values.

    Each end in turn is drawn in as far as helps, the other held: an end's best place hardly
    depends on the other's.
    """
    filled = histogram.counts > 0
    centers, counts = histogram.centers[filled], histogram.counts[filled]
    best = hull([histogram.ends])
    for _ in range(ROUNDS):
        for end in ("low", "high"):
            whole = getattr(histogram.ends, end)
            if whole == 0:
                continue
            tries = [best._replace(**{end: whole * part}) for part in SHRINKS]
            best = min([best, *tries], key=lambda ends: squared_error(ends, centers, counts))
    return best


def squared_error(ends: Range, values: np.ndarray, counts: np.ndarray) -> float:
    """Summed squared error of coding ``values``, each occurring ``counts`` times, in int8."""
    scale, zero_point = affine(hull([ends]))
    codes = np.clip(np.rint(values / float(scale)), QMIN - zero_point, QMAX - zero_point)
    return float(np.dot((values - codes * float(scale)) ** 2, counts))


READERS: Mapping[Method, Callable[[Histogram], Range]] = {
    "percentile": percentile_range,
    "mse": mse_range,
}
"""Methods that need the distribution; ``minmax`` needs the ends alone."""
