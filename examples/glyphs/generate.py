"""Draw labelled images of the 36 glyphs 0–9 and A–Z: data for a demo that needs no network.

Each image shows one glyph of Pillow's own font at a random size, place, angle and colour, on a
gradient cluttered with shapes, crossed by strokes, blurred and noisy. It is made from its own
(seed, index), so neither order nor process count changes it. It is synthetic: a score on it says
that a conversion kept a network's function, not that the network is good on photographs.

    python examples/glyphs/generate.py out/glyphs --images 2000 --seed 1 --size 64
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ghostedge_runtime.errors import GhostEdgeError, InputError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

LABELS = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
SUFFIXES = {"jpeg": ".jpg", "png": ".png"}

# Lengths are shares of the image's side, so that every size shows the same scene.
FONT_SIZE = (0.70, 1.10)
MAX_ANGLE = 20.0  # degrees; beyond it 6, 9, M and W begin to trade places
MAX_CUT = 0.06  # of the glyph's box may lie outside the image
MIN_CONTRAST = 60.0  # of 255, glyph against the mean background
CLUTTER = (3, 9)  # shapes behind the glyph, the upper bound left out
STROKES = (0, 3)  # lines across it, likewise
STROKE_WIDTH = 0.03
BLUR = (0.0, 0.018)
NOISE = (2.0, 18.0)  # standard deviation, of 255

LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # ITU-R BT.601


def label_of(index: int) -> int:
    """Position in ``LABELS`` of image ``index``: in turn, so that the classes are balanced."""
    return index % len(LABELS)


def draw_image(seed: int, index: int, size: int = 64) -> Image.Image:
    """Draw image ``index`` of the set that ``seed`` names.

    Args:
        seed: 0 to 2³² - 1; sets of different seeds share no image.
        index: Place in the set, from 0; it decides the glyph, see ``label_of``.
        size: Height and width in pixels.

    Returns:
        An RGB image of ``size`` × ``size`` pixels.

    Raises:
        MissingDependencyError: Pillow is too old or was built without FreeType.
    """
    rng = np.random.default_rng((seed, index))
    image = _gradient(rng, size)
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(*CLUTTER)):
        _draw_shape(pen, rng, size)
    _paste_glyph(image, LABELS[label_of(index)], rng)
    for _ in range(rng.integers(*STROKES)):
        _draw_stroke(pen, rng, size)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(*BLUR) * size))
    return _add_noise(image, rng)


def make_arrays(
    seed: int, indices: Iterable[int], size: int = 64
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw images into memory.

    Returns:
        Images, uint8 of shape (len(indices), size, size, 3), RGB; and their places in ``LABELS``,
        int64 of shape (len(indices),).
    """
    order = list(indices)
    images = np.empty((len(order), size, size, 3), np.uint8)
    for row, index in enumerate(order):
        images[row] = np.asarray(draw_image(seed, index, size))
    return images, np.array([label_of(index) for index in order], np.int64)


def write_images(
    folder: Path, *, count: int, seed: int, size: int = 64, image_format: str = "jpeg"
) -> None:
    """Write images into ``folder``, one sub-folder per label; all of them or none.

    Raises:
        InputError: The folder already holds something, or an argument is out of range.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            "it exists and is not an empty folder",
            where=folder,
            remedy="name a new folder, or remove this one first",
        )
    # A longer seed would spill into the generator's word for the index: sets could overlap.
    if count < 1 or size < 16 or not 0 <= seed < 2**32:
        raise InputError(
            f"cannot draw {count} images of {size} pixels from seed {seed}",
            remedy="ask for at least 1 image of at least 16 pixels, from a seed of 0 to 4294967295",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _fill(draft, count, seed, size, image_format)
        draft.chmod(0o755)  # mkdtemp keeps the folder to its owner
        draft.replace(folder)
    except BaseException:
        shutil.rmtree(draft)
        raise


def _fill(folder: Path, count: int, seed: int, size: int, image_format: str) -> None:
    for label in LABELS[:count]:
        (folder / label).mkdir()
    for index in range(count):
        path = folder / LABELS[label_of(index)] / f"{index:06d}{SUFFIXES[image_format]}"
        draw_image(seed, index, size).save(path, format=image_format, quality=92, subsampling=0)


def _gradient(rng: np.random.Generator, size: int) -> Image.Image:
    """Blend two colours along a random direction."""
    start, end = rng.integers(0, 256, (2, 3)).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    ramp = axis[:, None] * np.sin(angle) + axis[None, :] * np.cos(angle)
    # The corners lie at most √½ from the centre, so the share stays within [0, 1].
    share = (0.5 + ramp / np.sqrt(2.0)).astype(np.float32)[..., None]
    return Image.fromarray((start + (end - start) * share).astype(np.uint8))


def _draw_shape(pen: ImageDraw.ImageDraw, rng: np.random.Generator, size: int) -> None:
    """Draw a line, an ellipse, a box or a triangle, filled or as an outline."""
    x, y = rng.uniform(0, size, 2)
    dx, dy = rng.uniform(0.03, 0.3, 2) * size
    box = (x - dx, y - dy, x + dx, y + dy)
    colour = _any_colour(rng)
    fill = colour if rng.random() < 0.5 else None
    width = _any_width(rng, size)
    kind = rng.integers(4)
    if kind == 0:
        pen.line((*box[:2], x + dx, y + dy * rng.uniform(-1, 1)), fill=colour, width=width)
    elif kind == 1:
        pen.ellipse(box, fill=fill, outline=colour, width=width)
    elif kind == 2:
        pen.rectangle(box, fill=fill, outline=colour, width=width)
    else:
        pen.polygon((*box[:2], x + dx, y, x, y + dy), fill=fill, outline=colour, width=width)


def _draw_stroke(pen: ImageDraw.ImageDraw, rng: np.random.Generator, size: int) -> None:
    """Draw a line from edge to edge: over the glyph more often than not."""
    a, b = rng.uniform(0, size, 2)
    ends = (0, a, size, b) if rng.random() < 0.5 else (a, 0, b, size)
    pen.line(ends, fill=_any_colour(rng), width=_any_width(rng, size))


def _paste_glyph(image: Image.Image, label: str, rng: np.random.Generator) -> None:
    """Put a glyph on the image, turned, nearly all of it inside, in a colour that stands out."""
    size = image.width
    mask = _glyph_mask(label, round(rng.uniform(*FONT_SIZE) * size))
    mask = mask.rotate(rng.uniform(-MAX_ANGLE, MAX_ANGLE), Image.Resampling.BICUBIC, expand=True)
    x, y = (round(_any_offset(rng, size, side)) for side in mask.size)
    under = np.asarray(image.crop((x, y, x + mask.width, y + mask.height)), np.float32)
    image.paste(_standing_out(under.mean((0, 1)), rng), (x, y), mask)


@cache
def _glyph_mask(label: str, font_size: int) -> Image.Image:
    """Coverage of one upright glyph, cut to its ink."""
    font = _font(font_size)
    left, top, right, bottom = font.getbbox(label)
    mask = Image.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(mask).text((-left, -top), label, fill=255, font=font)
    return mask


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    remedy = "install Pillow 10.1 or later with FreeType: `pip install -U Pillow`"
    try:
        font = ImageFont.load_default(size)
    except (TypeError, ImportError) as error:  # TypeError: before 10.1 there was no size
        raise MissingDependencyError("Pillow has no scalable font here", remedy=remedy) from error
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise MissingDependencyError("Pillow was built without FreeType", remedy=remedy)
    return font


def _standing_out(under: NDArray[np.float32], rng: np.random.Generator) -> tuple[int, ...]:
    """Pick the first of some random colours whose luma is far from that of ``under``."""
    colours = rng.integers(0, 256, (8, 3))
    contrast = np.abs((colours - under) @ LUMA)
    enough = contrast >= MIN_CONTRAST
    chosen = enough.argmax() if enough.any() else contrast.argmax()
    return tuple(colours[chosen].tolist())


def _any_offset(rng: np.random.Generator, size: int, side: int) -> float:
    """Place a box of ``side`` within ``size``, at most ``MAX_CUT`` of it outside if it fits."""
    cut = MAX_CUT * side
    return float(rng.random() * (size - side + 2 * cut) - cut)


def _any_colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(0, 256, 3).tolist())


def _any_width(rng: np.random.Generator, size: int) -> int:
    return max(1, round(rng.uniform(0, STROKE_WIDTH) * size))


def _add_noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add Gaussian noise, independent per pixel and channel."""
    pixels = np.asarray(image, np.float32)
    noise = rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(*NOISE))
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Draw labelled images of 36 glyphs.")
    parser.add_argument("folder", type=Path, help="new folder to fill, one sub-folder per label")
    parser.add_argument("--images", type=int, default=2000, help="how many (default 2000)")
    parser.add_argument("--seed", type=int, default=1, help="which set (default 1)")
    parser.add_argument("--size", type=int, default=64, help="side in pixels (default 64)")
    parser.add_argument("--format", choices=sorted(SUFFIXES), default="jpeg", dest="image_format")
    args = parser.parse_args(arguments)
    try:
        write_images(
            args.folder,
            count=args.images,
            seed=args.seed,
            size=args.size,
            image_format=args.image_format,
        )
    except GhostEdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{args.folder}: {args.images} images of {args.size}×{args.size}, seed {args.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
