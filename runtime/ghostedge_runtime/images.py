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
from collections.abc import Sequence
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
    "ImageSource",
    "LabelledImages",
    "list_images",
    "list_labelled",
    "normalize",
    "open_image",
    "prepare",
]

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
MAX_PIXELS = 8192 * 8192

ImageSource = Union[str, "os.PathLike[str]", bytes, Image.Image, npt.NDArray[Any]]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def open_image(source: ImageSource) -> Image.Image:
    """Decode an image to RGB.

    Palette, grey, CMYK, 16-bit and transparent images become RGB by Pillow's ``convert``.

    Args:
        source: A path, the bytes of an image file, a Pillow image, or a uint8 array of shape
            (height, width, 3) in RGB order.

    Raises:
        ImageError: It is missing, empty, cut short, not a JPEG, PNG, BMP or WebP, larger than
            `MAX_PIXELS`, or an array of another shape or dtype.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decoded(source, "the image given")
    if isinstance(source, bytes):
        return _opened(io.BytesIO(source), len(source), "the image bytes given")
    if isinstance(source, (str, os.PathLike)):
        return _from_file(Path(source))
    raise ImageError(
        f"a {type(source).__name__} is not an image",
        remedy="pass a path, bytes, a Pillow image or a uint8 array of shape (height, width, 3)",
    )


def prepare(source: ImageSource, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Decode, resize the shorter side, crop the centre.

    Args:
        source: What `open_image` takes.
        preprocessing: Of the model the image is for.

    Returns:
        uint8 (height, width, 3) of ``preprocessing.input_size``, channels in
        ``preprocessing.color_order``.

    Raises:
        ImageError: As `open_image`; also an image so elongated that its resized form would
            exceed `MAX_PIXELS`.
    """
    image = open_image(source)
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
    if preprocessing.color_order == "BGR":
        pixels = pixels[..., ::-1]
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


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ImageError(
            f"an image array must be uint8 of shape (height, width, 3), "
            f"got {array.dtype} of shape {array.shape}",
            remedy="for raw model input use predict()",
        )
    return Image.fromarray(np.ascontiguousarray(array), "RGB")


def _from_file(path: Path) -> Image.Image:
    try:
        with path.open("rb") as file:
            return _opened(file, path.stat().st_size, str(path))
    except OSError as error:
        raise ImageError(
            f"it cannot be read ({error.strerror or error})",
            where=path,
            remedy="give the path of a JPEG, PNG, BMP or WebP file",
        ) from error


def _opened(file: Any, size: int, where: str) -> Image.Image:
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
    return _decoded(image, where)


def _decoded(image: Image.Image, where: str) -> Image.Image:
    width, height = image.size
    if width * height > min(MAX_PIXELS, Image.MAX_IMAGE_PIXELS or MAX_PIXELS):
        raise ImageError(
            f"it is {width}×{height} pixels, more than the {MAX_PIXELS:,} that are decoded",
            where=where,
            remedy="scale it down first",
        )
    try:
        image.load()
        return image if image.mode == "RGB" else image.convert("RGB")
    except Exception as error:  # as in _opened: the decoders' errors have no common base
        raise _broken(error, where) from error


def _broken(error: Exception, where: str) -> ImageError:
    return ImageError(
        f"it cannot be decoded ({error})",
        where=where,
        remedy="it may be cut short or damaged: replace or remove it",
    )


def _name(source: ImageSource) -> str | None:
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
