"""One layer as up to three grids: the model's, the other's, and the difference of the two.

The first two share their colours, channel by channel, so that a tile has the same colour in both
where it has the same value. The difference has a scale of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ghostedge.features.colours import DIVERGING, SEQUENTIAL, indices
from ghostedge.features.compare import Difference, Matched
from ghostedge.features.graph import Layer
from ghostedge.features.picture import Grid, Tile, draw
from ghostedge.features.tap import Maps
from ghostedge.records.features import Pictures

_NO_ERROR = "exact"
_OUTSIDE = 0.005


@dataclass(frozen=True)
class Drawing:
    """What is drawn.

    Attributes:
        layer: The layer.
        groups: Channels that stand side by side.
        model: The network's name in the picture.
        against: The other's.
        rescaled: Whether the other's channels were given the model's scale.
    """

    layer: Layer
    groups: Sequence[Sequence[int]]
    model: str
    against: str
    rescaled: bool


def draw_layer(
    drawing: Drawing, maps: Maps, matched: Matched | None, folder: Path, stem: str
) -> Pictures:
    """Write a layer's pictures.

    Args:
        drawing: What is drawn.
        maps: The model's feature maps.
        matched: The other's, None without.
        folder: Where to.
        stem: How the files' names start.
    """
    which = _which(drawing, len(maps), by_error=matched is not None)
    bounds = [_bounds(channel) for channel in maps]
    bar = ("each channel: low", "high")

    def write(name: str, of: str, values: Maps, lines: Sequence[str]) -> str:
        def tile(channel: int) -> Tile:
            return Tile(indices(values[channel], *bounds[channel]), str(channel))

        grid = Grid(drawing.layer.name, (of, *lines), bar, SEQUENTIAL, _tiles(drawing, tile))
        draw(grid, folder / name)
        return name

    shape = f"{' x '.join(map(str, maps.shape))}{which}"
    first = write(f"{stem}.model.png", drawing.model, maps, (shape,))
    if matched is None:
        return Pictures(first)
    scale = scale_words(matched.difference, rescaled=drawing.rescaled)
    second = write(f"{stem}.against.png", drawing.against, matched.maps, (scale,))
    third = f"{stem}.difference.png"
    _draw_difference(drawing, maps, matched, folder / third)
    return Pictures(first, second, third)


def _draw_difference(drawing: Drawing, maps: Maps, matched: Matched, path: Path) -> None:
    """In percent of each channel's range of colours, so that a small channel's loss shows too."""
    change = matched.maps - maps
    change /= np.array([_span(*each) for each in zip(maps, change, strict=True)])[:, None, None]
    shown = change[[channel for group in drawing.groups for channel in group]]
    end = min(_bounds(np.abs(shown))[1], 1.0)

    def tile(channel: int) -> Tile:
        pixels = indices(change[channel], -end, end) if end else _level(change[channel])
        db = matched.channel_db[channel]
        return Tile(pixels, f"{channel}: {_NO_ERROR if db is None else round(db)}")

    found = matched.difference
    cosine = "none" if found.cosine is None else f"{found.cosine:.5f}"
    lines = (
        f"{drawing.against} minus {drawing.model}",
        f"SQNR {decibel_words(found.sqnr_db)}, median channel {decibel_words(found.channel_db)}, "
        f"cosine {cosine}",
        "above each channel: its number: its dB",
    )
    bar = (f"{-100 * end:.3g} % of the channel's range", f"+{100 * end:.3g} %")
    draw(Grid(drawing.layer.name, lines, bar, DIVERGING, _tiles(drawing, tile)), path)


def _bounds(values: Maps) -> tuple[float, float]:
    """The ends of the colours: few values, `_OUTSIDE` at each end, would leave the rest dark."""
    low, high = np.quantile(values, (_OUTSIDE, 1 - _OUTSIDE))
    if low == high:  # nearly all of one value, as where a ReLU fires in a corner
        low, high = values.min(), values.max()
    return float(low), float(high)


def _span(values: Maps, change: Maps) -> float:
    """A channel's range of colours; of a level one, its largest change."""
    low, high = _bounds(values)
    return (high - low) or float(np.abs(change).max()) or 1.0


def _level(values: Maps) -> np.ndarray:
    """The middle of the colours, where nothing differs anywhere."""
    return indices(np.full(values.shape, 0.5, np.float32), 0.0, 1.0)


def _tiles(drawing: Drawing, tile: Callable[[int], Tile]) -> list[list[Tile]]:
    return [[tile(channel) for channel in group] for group in drawing.groups]


def _which(drawing: Drawing, channels: int, *, by_error: bool) -> str:
    """What stands beside what, and how the channels were chosen."""
    drawn = sum(len(group) for group in drawing.groups)
    words = "; each primary channel with its ghost" if drawing.layer.primary else ""
    if drawn < channels:
        how = "those that differ most" if by_error else "evenly over all"
        words += f"; {drawn} of {channels} drawn: {how}"
    return words


def scale_words(difference: Difference, *, rescaled: bool) -> str:
    """What the other's channels were multiplied by."""
    if not rescaled:
        return "values as they are"
    low, high = difference.scale
    silent = f", {difference.unscaled} without a fit" if difference.unscaled else ""
    return f"each channel times its own factor, {low:.3g} to {high:.3g}{silent}"


def decibel_words(value: float | None) -> str:
    """A signal-to-noise ratio with one decimal, or that there is no noise."""
    return _NO_ERROR if value is None else f"{value:.1f} dB"
