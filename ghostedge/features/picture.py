"""Draw channels as a grid of tiles under a heading. Pillow does all of it.

Not matplotlib: feature maps are pixels, which are to stay pixels, and Pillow is on every device
already, so that a ``.tflite`` can be looked into where it runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ghostedge.features.colours import BLACK, GREY, LEVELS, WHITE, palette

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
        colours: The colour map, as in `colours.palette`.
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
    return [each for line in lines for each in _wrapped(line, _TEXT, width)]


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
