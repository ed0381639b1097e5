"""Decoding, resizing and cropping are those of torchvision and timm; bad files are named."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ghostedge_runtime import images
from ghostedge_runtime.errors import ImageError
from ghostedge_runtime.images import normalize, open_image, prepare
from ghostedge_runtime.metadata import IMAGENET_MEAN, IMAGENET_STD, Preprocessing


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_a_path_bytes_a_pillow_image_and_an_array_are_the_same_image(tmp_path: Path) -> None:
    pixels = noise(5, 7)
    image = Image.fromarray(pixels)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(image))
    for source in (path, str(path), path.read_bytes(), image, pixels):
        opened = open_image(source)
        assert opened.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(opened), pixels)


@pytest.mark.parametrize("kind", images.FORMATS)
def test_every_format_of_the_list_is_decoded(kind: str) -> None:
    grey = Image.new("RGB", (6, 4), (90, 90, 90))
    assert open_image(encoded(grey, kind)).size == (6, 4)


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (Image.new("L", (2, 2), 40), (40, 40, 40)),
        (Image.new("RGBA", (2, 2), (10, 20, 30, 0)), (10, 20, 30)),
        (Image.new("RGB", (2, 2), (255, 0, 0)).convert("P"), (255, 0, 0)),
        (Image.fromarray(np.full((2, 2), 65535, np.uint16)), (255, 255, 255)),
        (Image.new("1", (2, 2), 1), (255, 255, 255)),
    ],
    ids=["grey", "transparent", "palette", "16-bit", "bilevel"],
)
def test_other_modes_become_rgb(image: Image.Image, pixel: tuple[int, int, int]) -> None:
    assert open_image(encoded(image)).getpixel((0, 0)) == pixel


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    red, green, blue = open_image(encoded(cyan, "JPEG")).getpixel((4, 4))
    assert red < 10
    assert min(green, blue) > 245


def test_the_exif_orientation_is_left_alone_as_in_training() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show"
    lying = Image.new("RGB", (10, 4))
    assert open_image(encoded(lying, "JPEG", exif=exif)).size == (10, 4)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty"),
        (b"just text", "not a JPEG, PNG, BMP or WebP"),
        (encoded(Image.new("RGB", (4, 4)), "GIF"), "not a JPEG, PNG, BMP or WebP"),
        (encoded(Image.fromarray(noise(64, 64)))[:2000], "cannot be decoded"),
        (encoded(Image.fromarray(noise(64, 64)), "JPEG")[:1500], "cannot be decoded"),
    ],
    ids=["empty", "text", "another format", "cut png", "cut jpeg"],
)
def test_a_bad_file_is_an_error_that_names_it(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=complaint) as caught:
        open_image(path)
    assert caught.value.where == str(path)
    assert caught.value.remedy


def test_a_missing_file_and_a_folder_are_errors_that_name_them(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(ImageError, match="cannot be read") as caught:
            open_image(path)
        assert caught.value.where == str(path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_an_array_of_another_shape_or_dtype_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match=str(array.dtype)) as caught:
        open_image(array)
    assert str(array.shape) in str(caught.value)


def test_something_that_is_no_image_at_all_is_refused_by_its_type() -> None:
    with pytest.raises(ImageError, match="a dict is not an image"):
        open_image({})  # type: ignore[arg-type]  # the user's mistake under test


def test_an_image_over_the_pixel_cap_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = encoded(Image.new("RGB", (20, 10)))
    monkeypatch.setattr(images, "MAX_PIXELS", 200)
    assert open_image(file).size == (20, 10)
    monkeypatch.setattr(images, "MAX_PIXELS", 199)
    with pytest.raises(ImageError, match="20×10 pixels"):
        open_image(file)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [150, 90], ids=["Pillow would warn", "Pillow raises"])
def test_what_pillow_takes_for_a_bomb_is_an_error(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    file = encoded(Image.new("RGB", (20, 10)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ImageError):
        open_image(file)


def test_our_cap_lies_below_the_one_pillow_warns_at() -> None:
    assert images.MAX_PIXELS < Image.MAX_IMAGE_PIXELS


def test_an_image_too_elongated_to_resize_is_refused() -> None:
    with pytest.raises(ImageError, match="too elongated"):
        prepare(np.zeros((1, 400_000, 3), np.uint8), Preprocessing())


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "BMP", "WEBP"]),
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
    length=st.integers(0, 10**6),
)
def test_a_damaged_image_is_decoded_or_refused_but_never_another_error(
    kind: str, edits: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(encoded(Image.fromarray(noise(24, 24)), kind))
    for place, value in edits:
        data[place % len(data)] = value
    with contextlib.suppress(ImageError):
        assert open_image(bytes(data[: length % (len(data) + 1)])).mode == "RGB"


# Worked out by hand with torchvision's rules: the shorter side becomes floor(input / crop_pct),
# the longer int(short * long / short side); the crop's corner is round((resized - crop) / 2),
# halves to even.
@pytest.mark.parametrize(
    ("size", "input_side", "crop_pct", "resized", "corner"),
    [
        ((480, 640), 224, 0.875, (256, 341), (16, 58)),  # (341 - 224) / 2 = 58.5 → 58
        ((333, 500), 224, 0.875, (256, 384), (16, 80)),  # 384.38 → 384
        ((500, 333), 224, 0.875, (384, 256), (80, 16)),
        ((375, 500), 224, 0.95, (235, 313), (6, 44)),  # 235.8 → 235; 5.5 → 6, 44.5 → 44
        ((32, 32), 64, 1.0, (64, 64), (0, 0)),
        ((100, 64), 64, 1.0, (100, 64), (18, 0)),
    ],
)
def test_resize_and_crop_equal_a_hand_computed_reference(
    size: tuple[int, int],
    input_side: int,
    crop_pct: float,
    resized: tuple[int, int],
    corner: tuple[int, int],
) -> None:
    pixels = noise(*size)
    top, left = corner
    reference = np.asarray(
        Image.fromarray(pixels).resize((resized[1], resized[0]), Image.Resampling.BICUBIC)
    )[top : top + input_side, left : left + input_side]
    chosen = Preprocessing((input_side, input_side), "bicubic", crop_pct)
    np.testing.assert_array_equal(prepare(pixels, chosen), reference)


def test_a_target_that_is_not_square_is_covered_keeping_the_aspect() -> None:
    pixels = noise(300, 400)
    # Ratios 300/128 and 400/200; the smaller, 2, gives 150×200, cropped to 128×200 from row 11.
    reference = np.asarray(Image.fromarray(pixels).resize((200, 150), Image.Resampling.BILINEAR))
    chosen = Preprocessing((128, 200), "bilinear", crop_pct=1.0)
    np.testing.assert_array_equal(prepare(pixels, chosen), reference[11:139])


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    crop_pct=st.floats(0.3, 1.0),
)
def test_any_image_comes_out_at_the_input_size(
    size: tuple[int, int], target: tuple[int, int], crop_pct: float
) -> None:
    result = prepare(np.zeros((*size, 3), np.uint8), Preprocessing(target, "nearest", crop_pct))
    assert result.shape == (*target, 3)
    assert result.dtype == np.uint8


def test_bgr_models_get_the_channels_turned_round() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    chosen = Preprocessing((4, 4), crop_pct=1.0, color_order="BGR")
    assert prepare(red, chosen)[0, 0].tolist() == [0, 0, 200]


def test_normalising_is_exactly_torchvisions_arithmetic() -> None:
    torch = pytest.importorskip("torch")
    pixels = noise(16, 16)[np.newaxis]
    scaled = torch.from_numpy(pixels).to(torch.float32).div(255)
    expected = scaled.sub(torch.tensor(IMAGENET_MEAN)).div(torch.tensor(IMAGENET_STD))
    result = normalize(pixels, Preprocessing())
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected.numpy())


def test_every_real_photo_is_prepared(photos: Path) -> None:
    paths = images.list_images(photos)
    assert len(paths) == len(list(photos.iterdir()))
    shapes = {prepare(path, Preprocessing()).shape for path in paths[:20]}
    assert shapes == {(224, 224, 3)}
