"""Images: decoded, resized, cropped and normalised as at training time.

The transform is the evaluation transform of torchvision and timm (``crop_mode="center"``),
reproduced with numpy and Pillow alone so that a device needs neither. EXIF orientation is **not**
applied: ``torchvision.datasets.ImageFolder`` and timm's readers decode with
``Image.open(path).convert("RGB")``, which leaves a rotated photograph rotated, and a network is to
see on the device what it saw in its evaluation.

Files are hostile until decoded: only the decoders of the four formats named here are tried, and an
image of more than `MAX_PIXELS` is refused from its header. That cap lies below the size at which
Pillow warns of a decompression bomb, so whatever Pillow would warn about is an error here. An
animated image counts as its first frame. Listing folders is in `folders` and only passed on here.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ghostedge_runtime.errors import ImageError
from ghostedge_runtime.folders import LabelledImages, list_images, list_labelled
from ghostedge_runtime.metadata import Preprocessing

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "MODES",
    "ImageSource",
    "LabelledImages",
    "check_header",
    "is_image",
    "list_images",
    "list_labelled",
    "mode_of",
    "normalize",
    "open_image",
    "prepare",
]

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
MAX_PIXELS = 8192 * 8192
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""What images are decoded to for a network of so many input channels: Pillow's names."""

ImageSource = Union[str, "os.PathLike[str]", bytes, Image.Image, npt.NDArray[Any]]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def is_image(source: Any, rank: int) -> bool:
    """Whether something is one image rather than arrays for an input of ``rank`` axes."""
    if isinstance(source, np.ndarray):
        return source.dtype == np.uint8 and source.ndim in (2, 3) and source.ndim < rank
    return isinstance(source, (str, os.PathLike, bytes, Image.Image))


def open_image(source: ImageSource, mode: str = "RGB") -> Image.Image:
    """Decode an image.

    Palette, grey, CMYK, transparent and colour images take the mode by Pillow's ``convert``: grey
    (``L``) is ITU-R 601-2 luma, an image without transparency is opaque (255) in ``RGBA``, and
    ``RGB`` leaves transparency out. Of 16 bits a channel the upper eight count (``value >> 8``).

    Args:
        source: A path, the bytes of an image file, a Pillow image, or a uint8 array of shape
            (height, width, 3) in RGB order; for another mode also (height, width, channels).
        mode: One of `MODES`.

    Raises:
        ImageError: It is missing, empty, cut short, not a JPEG, PNG, BMP or WebP, larger than
            `MAX_PIXELS`, or an array of another shape or dtype.
    """
    if isinstance(source, np.ndarray):
        array = _within_cap(_from_array(source, mode), "the array given")
        return _in_mode(array, mode, "the array given")
    if isinstance(source, Image.Image):
        return _in_mode(_within_cap(source, "the image given"), mode, "the image given")

    def read(file: Any, size: int, where: str) -> Image.Image:
        return _in_mode(_header(file, size, where), mode, where)

    if isinstance(source, bytes):
        return read(io.BytesIO(source), len(source), "the image bytes given")
    if isinstance(source, (str, os.PathLike)):
        return _from_file(Path(source), read)
    raise ImageError(
        f"a {type(source).__name__} is not an image",
        remedy="pass a path, bytes, a Pillow image or a uint8 array of shape (height, width, 3)",
    )


def prepare(source: ImageSource, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Decode, resize the shorter side, crop the centre.

    Args:
        source: What `open_image` takes.
        preprocessing: Of the model the image is for; as many channels as it has means.

    Returns:
        uint8 (height, width, channels) of ``preprocessing.input_size``, channels in
        ``preprocessing.color_order``.

    Raises:
        ImageError: As `open_image`; also an image so elongated that its resized form would
            exceed `MAX_PIXELS`, and a number of channels that images do not have.
    """
    image = open_image(source, mode_of(preprocessing))
    width, height = image.size
    new_height, new_width = _resized((height, width), preprocessing)
    if new_height * new_width > MAX_PIXELS:
        raise ImageError(
            f"it is {width}×{height} pixels, too elongated to resize to {new_width}×{new_height}",
            where=_name(source),
            remedy="crop it first",
        )
    if (new_height, new_width) != (height, width):
        image = image.resize((new_width, new_height), _FILTERS[preprocessing.interpolation])
    pixels = np.asarray(image)[_centre((new_height, new_width), preprocessing.input_size)]
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    elif preprocessing.color_order == "BGR":
        pixels = pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]]
    return np.ascontiguousarray(pixels)


def normalize(
    pixels: npt.NDArray[np.uint8], preprocessing: Preprocessing
) -> npt.NDArray[np.float32]:
    """``(pixel / 255 - mean) / std`` per channel, in float32 as torchvision computes it.

    Args:
        pixels: uint8, channels last: (..., channels), in ``preprocessing.color_order``.
        preprocessing: Of the model the pixels are for.

    Returns:
        float32 of the same shape.
    """
    values = pixels.astype(np.float32)
    values /= np.float32(255)
    values -= np.asarray(preprocessing.mean, np.float32)
    values /= np.asarray(preprocessing.std, np.float32)
    return values


def mode_of(preprocessing: Preprocessing) -> str:
    """What images are decoded to for a network: one of `MODES`.

    Raises:
        ImageError: It has a number of channels that no image has.
    """
    channels = len(preprocessing.mean)
    if channels not in MODES:
        raise ImageError(
            f"no image has {channels} channels, as the preprocessing has",
            remedy="prepare arrays of the model's own shape and pass them to predict()",
        )
    return MODES[channels]


def _resized(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """Height and width after the resize.

    A square target follows torchvision's ``Resize(int)``, which cuts the longer side down to an
    integer; any other follows timm's ``ResizeKeepRatio``, which rounds both.
    """
    target = [math.floor(side / preprocessing.crop_pct) for side in preprocessing.input_size]
    if target[0] != target[1]:
        ratio = min(side / goal for side, goal in zip(size, target, strict=True))
        height, width = (round(side / ratio) for side in size)
        return height, width
    short, long = sorted(size)
    longer = int(target[0] * long / short)
    return (target[0], longer) if size[0] <= size[1] else (longer, target[0])


def _centre(size: Sequence[int], crop: Sequence[int]) -> tuple[slice, slice]:
    """The centre crop; half pixels round to even, as torchvision's ``center_crop`` does."""
    top, left = (round((have - want) / 2.0) for have, want in zip(size, crop, strict=True))
    return slice(top, top + crop[0]), slice(left, left + crop[1])


def _from_array(array: npt.NDArray[Any], mode: str) -> Image.Image:
    channels = next(count for count, name in MODES.items() if name == mode)
    shape = array.shape[:2] if array.ndim == 3 and array.shape[2] == 1 else array.shape
    depth = shape[2] if len(shape) == 3 else 1
    if (
        array.dtype != np.uint8
        or len(shape) not in (2, 3)
        or depth not in (3, channels)
        or array.size == 0
    ):
        more = "" if channels == 3 else f" or (height, width, {channels})"
        raise ImageError(
            f"an image array must be uint8 of shape (height, width, 3){more}, "
            f"got {array.dtype} of shape {array.shape}",
            remedy="for raw model input use predict()",
        )
    return Image.fromarray(np.ascontiguousarray(array.reshape(shape)), MODES[depth])


def check_header(path: Path) -> None:
    """Read an image's header, but not its pixels.

    Raises:
        ImageError: As `open_image`, as far as a header tells.
    """
    _from_file(path, _header)


def _from_file(path: Path, read: Callable[[Any, int, str], Image.Image]) -> Image.Image:
    try:
        with path.open("rb") as file:
            return read(file, path.stat().st_size, str(path))
    except OSError as error:
        raise ImageError(
            f"it cannot be read ({error.strerror or error})",
            where=path,
            remedy="give the path of a JPEG, PNG, BMP or WebP file",
        ) from error


def _header(file: Any, size: int, where: str) -> Image.Image:
    if size == 0:
        raise ImageError("it is empty (0 bytes)", where=where, remedy="replace or remove it")
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(
            "it is not a JPEG, PNG, BMP or WebP image, or its header is damaged",
            where=where,
            remedy="convert it to one of these formats, or remove it",
        ) from error
    # A damaged file makes Pillow's parsers raise whatever they trip over: OSError, SyntaxError,
    # ValueError, EOFError, struct.error, DecompressionBombError and more.
    except Exception as error:
        raise _broken(error, where) from error
    return _within_cap(image, where)


def _within_cap(image: Image.Image, where: str) -> Image.Image:
    width, height = image.size
    if width * height > min(MAX_PIXELS, Image.MAX_IMAGE_PIXELS or MAX_PIXELS):
        raise ImageError(
            f"it is {width}×{height} pixels, more than the {MAX_PIXELS:,} that are decoded",
            where=where,
            remedy="scale it down first",
        )
    return image


def _in_mode(image: Image.Image, mode: str, where: str) -> Image.Image:
    try:
        image.load()
        return _converted(image, mode)
    except Exception as error:  # as in _header: the decoders' errors have no common base
        raise _broken(error, where) from error


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """By Pillow's own rules, but for two modes.

    Grey of 16 bits keeps its upper eight, as Pillow itself keeps them of 16-bit colours; its
    ``convert`` would take every value above 255 for white. A palette with transparency goes by way
    of RGBA: the same colours, without Pillow's warning.
    """
    if image.mode.startswith("I"):
        values = np.clip(np.asarray(image, np.int64), 0, 65535)
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def _broken(error: Exception, where: str) -> ImageError:
    return ImageError(
        f"it cannot be decoded ({error})",
        where=where,
        remedy="it may be cut short or damaged: replace or remove it",
    )


def _name(source: ImageSource) -> str | None:
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
