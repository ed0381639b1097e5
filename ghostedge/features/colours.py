"""Two colour maps and a ramp of greys in one palette of 256, without matplotlib.

A picture is drawn as palette indices: the first 200 are a colour map, the rest run from black to
white, so that text drawn on white blends through greys.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LEVELS = 200
BLACK, GREY, WHITE = LEVELS, 240, 255

# Matplotlib's viridis (CC0) at equal distances: dark to bright, readable without colour too.
_VIRIDIS = (
    "440154",
    "482878",
    "3e4989",
    "31688e",
    "26828e",
    "1f9e89",
    "35b779",
    "6ece58",
    "b5de2b",
)
_BRIGHTEST = "fde725"
SEQUENTIAL: tuple[str, ...] = (*_VIRIDIS, _BRIGHTEST)
# Blue below zero, white at it, red above; told apart by those who do not see red from green.
DIVERGING: tuple[str, ...] = ("08306b", "2171b5", "9ecae1", "ffffff", "fcae91", "cb181d", "67000d")


def palette(colours: Sequence[str]) -> list[int]:
    """768 numbers: red, green and blue of each of the 256 indices."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in colours], np.float64)
    places = np.linspace(0, len(anchors) - 1, LEVELS)
    ramp = [np.interp(places, np.arange(len(anchors)), anchors[:, i]) for i in range(3)]
    greys = np.linspace(0, 255, 256 - LEVELS)
    return [
        int(value)
        for rgb in (*zip(*ramp, strict=True), *((g, g, g) for g in greys))
        for value in np.rint(rgb)
    ]


def indices(values: npt.NDArray[np.float32], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Palette indices of values, ``low`` and below the first, ``high`` and above the last."""
    span = high - low
    if span <= 0:
        return np.zeros(values.shape, np.uint8)
    unit = np.clip((values.astype(np.float64) - low) / span, 0, 1)
    return np.rint(unit * (LEVELS - 1)).astype(np.uint8)
