"""Every kind of image has one rule, and it is Pillow's own but where that loses the picture."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import ghostedge
import ghostedge_runtime
from ghostedge_runtime.images import open_image, prepare
from ghostedge_runtime.metadata import Preprocessing

SIZE = (9, 7)


def noise(*shape: int, top: int = 256, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, shape)


def colours() -> Image.Image:
    return Image.fromarray(noise(7, 9, 3).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def palette(transparency: object) -> bytes:
    return encoded(colours().quantize(8), transparency=transparency)


KINDS = {
    "grey": encoded(colours().convert("L")),
    "grey with alpha": encoded(Image.merge("LA", [colours().convert("L")] * 2)),
    "1 bit": encoded(colours().convert("1")),
    "1 bit bmp": encoded(colours().convert("1"), "BMP"),
    "palette": encoded(colours().quantize(8)),
    "palette with a transparent colour": palette(3),
    "palette with alpha": palette(bytes([0, 60, 120, 180, 240, 255, 30, 90])),
    "rgba": encoded(Image.fromarray(noise(7, 9, 4).astype(np.uint8))),
    "rgba webp": encoded(Image.fromarray(noise(7, 9, 4).astype(np.uint8)), "WEBP", lossless=True),
    "rgb with a transparent colour": encoded(colours(), transparency=(1, 2, 3)),
    "cmyk": encoded(colours().convert("CMYK"), "JPEG"),
    "grey jpeg": encoded(colours().convert("L"), "JPEG"),
    "progressive": encoded(colours(), "JPEG", progressive=True),
    "animated webp": encoded(
        colours(), "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", SIZE)]
    ),
    "animated png": encoded(colours(), save_all=True, append_images=[Image.new("RGB", SIZE)]),
    "mpo": encoded(colours(), "MPO", save_all=True, append_images=[Image.new("RGB", SIZE)]),
}  # fmt: skip


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_rule_is_pillows_own_conversion_of_the_first_picture(kind: str, mode: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of which people would see every one
        found = open_image(KINDS[kind], mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = Image.open(io.BytesIO(KINDS[kind])).convert(mode)
    assert found.mode == mode
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_not_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("JPEG", "PNG", "WEBP"):
        turned = open_image(encoded(colours(), kind, exif=exif))
        np.testing.assert_array_equal(
            np.asarray(turned), np.asarray(open_image(encoded(colours(), kind)))
        )


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@given(values=st.lists(st.integers(0, 65535), min_size=1, max_size=40))
@settings(max_examples=30)
def test_16_bit_grey_keeps_its_upper_eight_bits(mode: str, values: list[int]) -> None:
    pixels = np.asarray([values], np.uint16)
    found = np.asarray(open_image(encoded(Image.fromarray(pixels)), mode))
    wanted = Image.fromarray((pixels >> 8).astype(np.uint8)).convert(mode)
    np.testing.assert_array_equal(found, np.asarray(wanted))


def test_16_bit_grey_in_memory_is_that_of_the_file() -> None:
    pixels = noise(7, 9, top=65536).astype(np.uint16)
    from_file = np.asarray(open_image(encoded(Image.fromarray(pixels))))
    for image in (
        Image.fromarray(pixels),
        Image.fromarray(pixels.astype(np.int32)),
        Image.frombytes("I;16B", SIZE, pixels.astype(">u2").tobytes()),
    ):
        assert image.mode.startswith("I")
        np.testing.assert_array_equal(np.asarray(open_image(image)), from_file)


def png_of_16_bits(colour_type: int, pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, which Pillow reads but does not write."""

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


@pytest.mark.parametrize(
    ("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)], ids=["L", "RGB", "LA", "RGBA"]
)
def test_every_16_bit_png_is_its_upper_eight_bits(colour_type: int, channels: int) -> None:
    pixels = noise(7, 9, channels, top=65536)
    eight = (pixels >> 8).astype(np.uint8)
    colour = np.repeat(eight[..., :1], 3, 2) if channels < 3 else eight[..., :3]
    alpha = eight[..., -1:] if channels in (2, 4) else np.full((7, 9, 1), 255, np.uint8)
    data = png_of_16_bits(colour_type, pixels)
    np.testing.assert_array_equal(np.asarray(open_image(data)), colour)
    np.testing.assert_array_equal(
        np.asarray(open_image(data, "RGBA")), np.concatenate([colour, alpha], 2)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_preparing_a_file_is_preparing_its_pixels(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(KINDS[kind])
    preprocessing = Preprocessing(input_size=(5, 5))
    np.testing.assert_array_equal(
        prepare(path, preprocessing), prepare(open_image(path), preprocessing)
    )


def test_one_function_decodes_for_all() -> None:
    roots = (Path(ghostedge.__file__).parent, Path(ghostedge_runtime.__file__).parent)
    decoding = {
        file.name
        for root in roots
        for file in root.rglob("*.py")
        if re.search(r"\bImage\.open\(", file.read_text(encoding="utf-8"))
    }
    # What it has just encoded itself, to make JPEG's artefacts, is no file of anybody's.
    assert decoding == {"images.py", "corruptions.py"}
