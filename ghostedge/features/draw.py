"""One layer as up to three grids of tiles: the model's, the other's, the difference of the two.

The first two share their colours, channel by channel, so that a tile has the same colour in both
where it has the same value. The difference has a scale of its own.

Pillow draws all of it, not matplotlib: feature maps are pixels, which are to stay pixels, and
Pillow is on every device already, so that a ``.tflite`` can be looked into where it runs. A picture
is drawn as indices into a palette of 256: the first 200 are a colour map, the rest run from black
to white, so that text drawn on white blends through greys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ghostedge.features.compare import Matched
from ghostedge.formats.format import Layer, Maps
from ghostedge.records.features import Difference, Pictures
from ghostedge.show.words import NO_NOISE, decibel_words

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


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_WIDTH = 736
_TILE_LEAST, _TILE_MOST = 80, 224
_MARGIN, _GROUP_GAP, _TILE_GAP = 8, 12, 2
_TITLE, _TEXT, _LABEL = 24, 18, 17
_LINE = 1.35
_HEAD_LINES = 4
_BAR_WIDTH, _BAR_HEIGHT = 160, 12


@dataclass(frozen=True)
class Tile:
    """One channel: its palette indices, uint8 [height, width], and the words above it."""

    pixels: npt.NDArray[np.uint8]
    label: str


@dataclass(frozen=True)
class Grid:
    """A picture to be drawn.

    Attributes:
        title: The first line.
        lines: Those below it.
        bar: What the two ends of the colours stand for.
        colours: The colour map, as in `palette`.
        groups: Tiles that stand together, all of one size.
    """

    title: str
    lines: Sequence[str]
    bar: tuple[str, str]
    colours: Sequence[str]
    groups: Sequence[Sequence[Tile]]


def draw(grid: Grid, path: Path) -> None:
    """Write a grid as a PNG of at most 256 colours."""
    tiles = [[_scaled(tile.pixels) for tile in group] for group in grid.groups]
    height, width = tiles[0][0].shape
    group_width = len(tiles[0]) * (width + _TILE_GAP) - _TILE_GAP
    label_height = round(_LABEL * _LINE)
    columns = max(1, (_WIDTH - 2 * _MARGIN + _GROUP_GAP) // (group_width + _GROUP_GAP))
    rows = math.ceil(len(tiles) / columns)
    wide = max(_WIDTH, 2 * _MARGIN + group_width)
    head = [*_wrapped(grid.title, _TITLE, wide), *_wrapped_all(grid.lines, wide)]
    # Grids of one layer, side by side, are to have their tiles at the same height.
    head += [("", _TEXT)] * (_HEAD_LINES - len(head))
    top = _MARGIN + sum(round(size * _LINE) for _, size in head) + round(_TEXT * _LINE) + _MARGIN
    high = top + rows * (label_height + height + _GROUP_GAP)
    canvas = Image.new("L", (wide, high), WHITE)
    pen = ImageDraw.Draw(canvas)
    _draw_head(pen, canvas, head, grid.bar)
    for place, (group, arrays) in enumerate(zip(grid.groups, tiles, strict=True)):
        row, column = divmod(place, columns)
        left = _MARGIN + column * (group_width + _GROUP_GAP)
        above = top + row * (label_height + height + _GROUP_GAP)
        for tile, array in zip(group, arrays, strict=True):
            pen.text((left, above), tile.label, fill=BLACK, font=_font(_LABEL))
            canvas.paste(Image.fromarray(array), (left, above + label_height))
            corner = left + width - 1, above + label_height + height - 1
            pen.rectangle((left, above + label_height, *corner), outline=GREY)
            left += width + _TILE_GAP
    canvas.putpalette(palette(grid.colours))
    canvas.save(path, format="PNG", optimize=True)


def _draw_head(
    pen: ImageDraw.ImageDraw,
    canvas: Image.Image,
    head: Sequence[tuple[str, int]],
    bar: tuple[str, str],
) -> None:
    """The lines, then the colours between the words for their ends."""
    y = _MARGIN
    for text, size in head:
        pen.text((_MARGIN, y), text, fill=BLACK, font=_font(size))
        y += round(size * _LINE)
    font = _font(_TEXT)
    low, high = bar
    pen.text((_MARGIN, y), low, fill=BLACK, font=font)
    left = _MARGIN + math.ceil(font.getlength(low)) + 6
    ramp = np.linspace(0, LEVELS - 1, _BAR_WIDTH).astype(np.uint8)
    canvas.paste(Image.fromarray(np.tile(ramp, (_BAR_HEIGHT, 1))), (left, y + 4))
    pen.text((left + _BAR_WIDTH + 6, y), high, fill=BLACK, font=font)


def _scaled(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Every pixel as a square, small maps enlarged; large ones thinned out evenly."""
    height, width = pixels.shape
    thinned = pixels[:: math.ceil(height / _TILE_MOST), :: math.ceil(width / _TILE_MOST)]
    times = math.ceil(_TILE_LEAST / max(thinned.shape))
    return np.ascontiguousarray(thinned.repeat(times, axis=0).repeat(times, axis=1))


def _wrapped_all(lines: Sequence[str], width: int) -> list[tuple[str, int]]:
    return [part for line in lines for part in _wrapped(line, _TEXT, width)]


def _wrapped(text: str, size: int, width: int) -> list[tuple[str, int]]:
    """A text as lines that fit, broken between words where it can be, each with its size."""
    font, room, lines = _font(size), width - 2 * _MARGIN, [""]
    for word in _plain(text).split():
        for piece in _pieces(word, font, room):
            longer = f"{lines[-1]} {piece}".strip()
            if font.getlength(longer) <= room:
                lines[-1] = longer
            else:
                lines.append(piece)
    return [(line, size) for line in lines]


def _pieces(word: str, font: _Font, room: int) -> Iterator[str]:
    """A word, cut where it alone is too long for a line."""
    while font.getlength(word) > room:
        fits = next(n for n in range(len(word) - 1, 0, -1) if font.getlength(word[:n]) <= room)
        yield word[:fits]
        word = word[fits:]
    yield word


def _plain(text: str) -> str:
    """Pillow's own font draws a box for most of what is not ASCII."""
    return text.encode("ascii", "replace").decode("ascii")


def _font(size: int) -> _Font:
    return ImageFont.load_default(size)


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
    change /= np.array([_span(*pair) for pair in zip(maps, change, strict=True)])[:, None, None]
    shown = change[[channel for group in drawing.groups for channel in group]]
    end = min(_bounds(np.abs(shown))[1], 1.0)

    def tile(channel: int) -> Tile:
        pixels = indices(change[channel], -end, end) if end else _level(change[channel])
        db = matched.channel_db[channel]
        return Tile(pixels, f"{channel}: {NO_NOISE if db is None else round(db)}")

    difference = matched.difference
    cosine = "none" if difference.cosine is None else f"{difference.cosine:.5f}"
    lines = (
        f"{drawing.against} minus {drawing.model}",
        f"SQNR {decibel_words(difference.sqnr_db)}, "
        f"median channel {decibel_words(difference.channel_db)}, cosine {cosine}",
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
