"""Images made worse, as a camera, a lens, a codec or the weather makes them: seven ways, 1 to 5.

The corruptions and their strengths are those of Hendrycks and Dietterich, Benchmarking Neural
Network Robustness to Common Corruptions and Perturbations, ICLR 2019. They published a table for
each of three image sizes (CIFAR-10-C at 32 pixels, Tiny-ImageNet-C at 64, ImageNet-C at 224);
`Corruption` holds these and, for a size between, interpolates along logarithms, so that a strength
takes about as much away from a small image as from a large one. Below 32 and above 224 pixels the
nearest table holds.

As in all three of their sets an image is corrupted **after** it was resized and cropped to the
network's size. A strength then means the same whatever camera a photograph is from, and all files
of a network see the same pixels.

Equal pixels give equal corrupted pixels on every machine: the random numbers of noise and haze are
those of ``numpy.random.RandomState``, whose stream NumPy keeps for good, seeded by the CRC-32 of
the corruption's name and the image's pixels. A strength does not enter the seed: the same pattern
grows stronger. Blur, JPEG and pixelation are Pillow's, which computes them in integers. Numpy and
Pillow are all it takes; the packages imagenet-c and imagecorruptions need OpenCV and scikit-image.
"""

from __future__ import annotations

import difflib
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from ghostedge_runtime.errors import InputError

Pixels = npt.NDArray[np.uint8]
"""(height, width, 1 or 3): grey, or red, green and blue."""

STRENGTHS = (1, 2, 3, 4, 5)
ALL = "all"
"""The word that stands for every corruption."""

_SIDES = (32, 64, 224)
_DECIMALS = 4
_DECAY = 2.0
_KEPT = 8


@dataclass(frozen=True)
class Corruption:
    """A way to make an image worse.

    Attributes:
        words: What its amount is.
        tables: For images of 32, 64 and 224 pixels, the amount of each strength.
        apply: Takes pixels, the amount and a seed; returns pixels of the same shape.
    """

    words: str
    tables: tuple[tuple[float, ...], ...]
    apply: Callable[[Pixels, float, int], Pixels]

    def amount(self, strength: int, side: int) -> float:
        """The amount of a strength for an image whose shorter side is so many pixels."""
        known = np.log([table[strength - 1] for table in self.tables])
        at = np.log(np.clip(side, _SIDES[0], _SIDES[-1]))
        # Rounded, so that the last bit of a machine's logarithm changes no image.
        return round(float(np.exp(np.interp(at, np.log(_SIDES), known))), _DECIMALS)


def corrupt(
    pixels: npt.NDArray[np.uint8], name: str, strength: int, *, color_order: str = "RGB"
) -> npt.NDArray[np.uint8]:
    """An image made worse.

    Args:
        pixels: uint8 (height, width, channels) of a prepared image; 1, 3 or 4 channels, of which
            the fourth, how opaque it is, stays as it is.
        name: One of `CORRUPTIONS`.
        strength: 1 to 5.
        color_order: Of the channels: ``RGB`` or ``BGR``.

    Returns:
        uint8 of the same shape and channel order.

    Raises:
        InputError: There is no such corruption or strength, or the array is no such image.
    """
    (corruption,) = (CORRUPTIONS[each] for each in chosen_corruptions([name]))
    if isinstance(strength, bool) or strength not in STRENGTHS:
        raise InputError(f"a corruption's strength is 1 to 5, got {strength!r}")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise InputError(
            "pixels to corrupt are uint8 of shape (height, width, 1, 3 or 4), got "
            f"{pixels.dtype} of shape {pixels.shape}"
        )
    colours = slice(2, None, -1) if color_order == "BGR" else slice(0, 3)
    seen = np.ascontiguousarray(pixels[..., colours])
    amount = corruption.amount(strength, min(pixels.shape[:2]))
    worse: npt.NDArray[np.uint8] = pixels.copy()
    worse[..., colours] = corruption.apply(seen, amount, _seed(name, seen))
    return worse


def chosen_corruptions(words: Sequence[str], where: str = "--corruptions") -> tuple[str, ...]:
    """The corruptions that words name, in the table's order; ``all`` names every one.

    Args:
        words: Names.
        where: Who named them, for errors.

    Raises:
        InputError: One is unknown, or named twice.
    """
    for word in words:
        if word != ALL and word not in CORRUPTIONS:
            close = difflib.get_close_matches(word, CORRUPTIONS, 1)
            raise InputError(
                f"there is no corruption {word!r}{f' (closest: {close[0]})' if close else ''}",
                where=where,
                remedy=f"use {ALL}, or some of {', '.join(CORRUPTIONS)}, with commas between",
            )
        if words.count(word) > 1:
            raise InputError(f"{word} is listed twice", where=where, remedy="list it once")
    return tuple(name for name in CORRUPTIONS if name in words or ALL in words)


def form_count(names: Sequence[str]) -> int:
    """In how many forms an image is scored: as it is, and each corruption at each strength."""
    return 1 + len(STRENGTHS) * len(names)


def pixels_crc32(pixels: npt.NDArray[np.uint8], start: int = 0) -> int:
    """The CRC-32 of an image's pixels, after that of what came before."""
    return zlib.crc32(pixels.tobytes(), start)


def _seed(name: str, pixels: Pixels) -> int:
    return pixels_crc32(pixels, zlib.crc32(name.encode()))


def _noise(pixels: Pixels, amount: float, seed: int) -> Pixels:
    return _rounded(pixels + 255 * amount * _normal(pixels.shape, seed))


@lru_cache(_KEPT)
def _normal(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float64]:
    return np.random.RandomState(seed).standard_normal(shape)


def _blur(pixels: Pixels, amount: float, seed: int) -> Pixels:  # noqa: ARG001 - the table's
    return _pixels(_image(pixels).filter(ImageFilter.GaussianBlur(amount)), pixels)


def _jpeg(pixels: Pixels, amount: float, seed: int) -> Pixels:  # noqa: ARG001 - the table's
    file = io.BytesIO()
    _image(pixels).save(file, "JPEG", quality=round(amount))
    with Image.open(file, formats=("JPEG",)) as image:
        return _pixels(image, pixels)


def _brightness(pixels: Pixels, amount: float, seed: int) -> Pixels:  # noqa: ARG001 - the table's
    """Hue and saturation stay, the value (the largest channel) grows."""
    value = pixels.max(axis=2, keepdims=True).astype(np.float64)
    brighter = np.minimum(value + 255 * amount, 255)
    scaled = pixels * (brighter / np.maximum(value, 1))
    return _rounded(np.where(value > 0, scaled, brighter))


def _contrast(pixels: Pixels, amount: float, seed: int) -> Pixels:  # noqa: ARG001 - the table's
    height, width, _ = pixels.shape
    mean = pixels.sum(axis=(0, 1), dtype=np.int64) / (height * width)
    return _rounded((pixels - mean) * amount + mean)


def _haze(pixels: Pixels, amount: float, seed: int) -> Pixels:
    """White of a cloud's shape is added, and all scaled so that the brightest stays as bright."""
    top = pixels.max() / 255
    hazy = pixels / 255 + amount * _cloud(pixels.shape[:2], seed)[..., np.newaxis]
    return _rounded(255 * hazy * (top / (top + amount)))


@lru_cache(_KEPT)
def _cloud(size: tuple[int, ...], seed: int) -> npt.NDArray[np.float64]:
    """Random values from 0 to 1: large soft shapes, each finer detail half as strong.

    Sums of random grids of 3, 5, 9, … points a side, enlarged, where Hendrycks and Dietterich have
    the diamond-square algorithm: they fit any height and width.
    """
    height, width = size
    random = np.random.RandomState(seed)
    cloud = np.zeros(size)
    for octave in range(1, max(1, (max(size) - 1).bit_length()) + 1):
        points = 2**octave + 1
        grid = random.randint(0, 256, (points, points), dtype=np.uint8)
        enlarged = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        cloud += np.asarray(enlarged) * _DECAY**-octave
    cloud -= cloud.min()
    largest = cloud.max()
    return cloud / largest if largest > 0 else np.full(size, 0.5)


def _pixelation(pixels: Pixels, amount: float, seed: int) -> Pixels:  # noqa: ARG001 - the table's
    image = _image(pixels)
    width, height = (max(1, int(side * amount)) for side in image.size)
    reduced = image.resize((width, height), Image.Resampling.BOX)
    return _pixels(reduced.resize(image.size, Image.Resampling.BOX), pixels)


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _pixels(image: Image.Image, like: Pixels) -> Pixels:
    return np.asarray(image).reshape(like.shape)


def _rounded(values: npt.NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_BRIGHTNESS, _CONTRAST = (0.1, 0.2, 0.3, 0.4, 0.5), (0.4, 0.3, 0.2, 0.1, 0.05)

CORRUPTIONS: Mapping[str, Corruption] = {
    "noise": Corruption(
        "standard deviation of Gaussian noise, white is 1",
        (
            (0.04, 0.06, 0.08, 0.09, 0.10),
            (0.04, 0.08, 0.12, 0.15, 0.18),
            (0.08, 0.12, 0.18, 0.26, 0.38),
        ),
        _noise,
    ),
    "blur": Corruption(
        "standard deviation of a Gaussian blur, in pixels",
        ((0.4, 0.6, 0.7, 0.8, 1), (0.5, 0.75, 1, 1.25, 1.5), (1, 2, 3, 4, 6)),
        _blur,
    ),
    "jpeg": Corruption(
        "quality of the JPEG file",
        ((80, 65, 58, 50, 40), (65, 58, 50, 40, 25), (25, 18, 15, 10, 7)),
        _jpeg,
    ),
    "brightness": Corruption(
        "added to the brightest channel, white is 1",
        ((0.05, 0.1, 0.15, 0.2, 0.3), _BRIGHTNESS, _BRIGHTNESS),
        _brightness,
    ),
    "contrast": Corruption(
        "share of the contrast that is left",
        ((0.75, 0.5, 0.4, 0.3, 0.15), _CONTRAST, _CONTRAST),
        _contrast,
    ),
    # Their fourth is as dense as their third at 224 and only rougher; here roughness stays.
    "haze": Corruption(
        "density of a white cloud",
        ((0.2, 0.5, 0.75, 1, 1.5), (0.4, 0.7, 1, 1.5, 2), (1.5, 2, 2.5, 2.75, 3)),
        _haze,
    ),
    "pixelation": Corruption(
        "width and height as a share of the image's",
        ((0.95, 0.9, 0.85, 0.75, 0.65), (0.9, 0.8, 0.7, 0.6, 0.5), (0.6, 0.5, 0.4, 0.3, 0.25)),
        _pixelation,
    ),
}
"""Every corruption by its name."""
