"""Bad images are found before any work, all at once."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ghostedge_runtime import image_check
from ghostedge_runtime.errors import ImageError
from ghostedge_runtime.image_check import ImageCheck, check_images


def encoded(kind: str, size: int = 40) -> bytes:
    noise = np.random.default_rng(size).integers(0, 256, (size, size, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


def spoilt(data: bytes) -> bytes:
    """A PNG whose header and end are whole, but not the pixels between."""
    middle = len(data) // 2
    return data[:middle] + bytes(200) + data[middle + 200 :]


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set so large that none of its images can be decoded on trial."""
    monkeypatch.setattr(image_check, "DECODE_SECONDS", -1.0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_cut_image_is_found_by_its_end(tmp_path: Path, no_time: None, kind: str) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.write_bytes(encoded(kind))
    cut.write_bytes(encoded(kind)[:-600])
    found = check_images([whole, cut])
    if kind == "BMP":  # it has no end to look at
        assert found.bad == {}
        found = check_images([whole, cut], decode_all=True)
    assert list(found.bad) == [cut]


def test_bytes_behind_an_image_are_no_fault(tmp_path: Path, no_time: None) -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        (tmp_path / kind).write_bytes(encoded(kind) + bytes(100))
    assert check_images(sorted(tmp_path.iterdir())).bad == {}


def test_what_has_no_header_is_bad_and_all_are_named_in_order(tmp_path: Path) -> None:
    for name, data in (("c", b""), ("a", b"text"), ("b", encoded("PNG")), ("d", encoded("PNG"))):
        (tmp_path / name).write_bytes(data)
    paths = [tmp_path / name for name in "cabde"]
    found = check_images(paths)
    assert list(found.bad) == [tmp_path / "c", tmp_path / "a", tmp_path / "e"]
    with pytest.raises(ImageError, match="3 of 5 images cannot be used") as caught:
        found.refuse("--calib")
    for part in (f"{tmp_path / 'c'}: it is empty", f"{tmp_path / 'a'}: it is not a JPEG"):
        assert part in str(caught.value)
    assert "--skip-bad-images" in str(caught.value)


def test_many_bad_images_are_counted_behind_the_first_ten() -> None:
    bad = {Path(str(n)): ImageError("bad", where=str(n)) for n in range(1234)}
    with pytest.raises(ImageError) as caught:
        ImageCheck(2000, 2000, bad).refuse("f")
    lines = caught.value.what.split("\n")
    assert lines[0] == "1,234 of 2,000 images cannot be used:"
    assert lines[1:11] == [f"  {n}: bad" for n in range(10)]
    assert lines[11:] == ["  and 1,224 more"]


def test_pixels_are_decoded_as_time_allows_and_all_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(4)]
    for path in paths:
        path.write_bytes(encoded("PNG"))
    paths[2].write_bytes(spoilt(encoded("PNG")))
    assert list(check_images(paths).bad) == [paths[2]]
    monkeypatch.setattr(image_check, "DECODE_SECONDS", -1.0)
    found = check_images(paths)
    assert found.bad == {}
    assert found.decoded == 0
    assert found.words == ("4 images looked at: the header and end of all, 0 decoded in full")
    assert list(check_images(paths, decode_all=True).bad) == [paths[2]]


@given(st.integers(0, 300))
def test_the_trial_visits_each_image_once_and_spreads(count: int) -> None:
    paths = [Path(str(n)) for n in range(count)]
    order = list(image_check._spread_out(paths))
    assert sorted(order) == sorted(paths)
    if count >= 8:
        first = sorted(int(str(path)) for path in order[:4])
        assert max(b - a for a, b in pairwise(first)) <= count / 2 + 1
