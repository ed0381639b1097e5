"""The generator of labelled glyphs: same seed, same images; a folder per label; all or nothing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from ghostedge_runtime.errors import InputError, MissingDependencyError
from ghostedge_runtime.folders import list_labelled

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "glyphs" / "generate.py"


def _bytes_by_name(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_seed_writes_the_same_bytes_and_another_seed_other_ones(
    generate: ModuleType, tmp_path: Path
) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        generate.write_images(tmp_path / name, count=40, seed=seed)
    first, again, other = (_bytes_by_name(tmp_path / name) for name in "abc")
    assert first == again
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())


def test_an_image_does_not_depend_on_those_drawn_before_it(generate: ModuleType) -> None:
    forward, _ = generate.make_arrays(3, range(12))
    backward, _ = generate.make_arrays(3, reversed(range(12)))
    np.testing.assert_array_equal(forward, backward[::-1])
    np.testing.assert_array_equal(forward[5], np.asarray(generate.draw_image(3, 5)))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    index=st.integers(0, 2**20),
    size=st.sampled_from([16, 33, 64, 224]),
)
def test_every_seed_index_and_size_draws_an_rgb_image(
    generate: ModuleType, seed: int, index: int, size: int
) -> None:
    image = generate.draw_image(seed, index, size)
    assert (image.mode, image.size) == ("RGB", (size, size))
    assert np.asarray(image).std() > 1


def test_no_two_images_of_a_set_are_equal(generate: ModuleType) -> None:
    images, _ = generate.make_arrays(1, range(200))
    assert len({image.tobytes() for image in images}) == 200


def test_arrays_hold_the_classes_in_turn(generate: ModuleType) -> None:
    images, targets = generate.make_arrays(1, range(72), size=32)
    assert (images.dtype, images.shape) == (np.uint8, (72, 32, 32, 3))
    assert targets.tolist() == [*range(36), *range(36)]


def test_the_folders_are_the_labels_and_hold_equal_shares(
    generate: ModuleType, tmp_path: Path
) -> None:
    generate.write_images(tmp_path / "set", count=80, seed=1)
    listed = list_labelled(tmp_path / "set", generate.LABELS, None)
    assert listed.class_names == tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    counts = Counter(listed.targets)
    assert sorted(counts) == list(range(36))
    assert set(counts.values()) == {2, 3}
    for path, target in zip(listed.paths, listed.targets, strict=True):
        assert int(path.stem) % 36 == target


def test_the_glyph_in_an_image_is_the_one_its_label_names(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without turning, clutter, blur and noise, the ink found is the label's own mask."""
    still = {"MAX_ANGLE": 0, "CLUTTER": (0, 1), "STROKES": (0, 1), "BLUR": (0, 0), "NOISE": (0, 0)}
    for name, value in {**still, "FONT_SIZE": (0.7, 0.7), "MAX_CUT": 0}.items():
        monkeypatch.setattr(generate, name, value)
    monkeypatch.setattr(generate, "_gradient", lambda rng, size: Image.new("RGB", (size, size)))
    for index, label in enumerate(generate.LABELS):
        pixels = np.asarray(generate.draw_image(0, index)).max(axis=2)
        rows, columns = np.nonzero(pixels.max(1))[0], np.nonzero(pixels.max(0))[0]
        ink = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        mask = np.asarray(generate._glyph_mask(label, round(0.7 * 64)))
        lit = mask[mask.any(1)][:, mask.any(0)]
        trimmed = lit[: ink.shape[0], : ink.shape[1]]
        assert np.corrcoef(ink.ravel(), trimmed.ravel())[0, 1] > 0.95, label


@pytest.mark.parametrize(("image_format", "suffix"), [("jpeg", ".jpg"), ("png", ".png")])
def test_both_formats_are_written_and_read_back(
    generate: ModuleType, tmp_path: Path, image_format: str, suffix: str
) -> None:
    generate.write_images(tmp_path / "set", count=3, seed=4, size=48, image_format=image_format)
    with Image.open(tmp_path / "set" / "2" / f"000002{suffix}") as image:
        assert image.format == image_format.upper()
        difference = np.abs(
            np.asarray(image, np.int16) - np.asarray(generate.draw_image(4, 2, 48), np.int16)
        )
    assert difference.max() == 0 if image_format == "png" else 0 < difference.mean() < 6


def test_a_folder_that_holds_something_is_refused_and_left_alone(
    generate: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(InputError, match="not an empty folder"):
        generate.write_images(tmp_path, count=3, seed=1)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_an_empty_folder_is_filled(generate: ModuleType, tmp_path: Path) -> None:
    generate.write_images(tmp_path, count=3, seed=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "1", "2"]


def test_an_interrupted_run_leaves_nothing(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = generate.draw_image

    def stop_at_two(seed: int, index: int, size: int) -> Image.Image:
        if index == 2:
            raise KeyboardInterrupt
        return original(seed, index, size)

    monkeypatch.setattr(generate, "draw_image", stop_at_two)
    with pytest.raises(KeyboardInterrupt):
        generate.write_images(tmp_path / "set", count=9, seed=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0, "seed": 1},
        {"count": 5, "seed": -1},
        {"count": 5, "seed": 2**32},
        {"count": 5, "seed": 1, "size": 8},
    ],
)
def test_numbers_out_of_range_are_refused(
    generate: ModuleType, tmp_path: Path, wrong: dict[str, int]
) -> None:
    with pytest.raises(InputError, match="cannot draw"):
        generate.write_images(tmp_path / "set", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_pillow_without_a_scalable_font_is_named(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_freetype(size: int) -> None:
        raise ImportError("The _imagingft C module is not installed")

    generate._font.cache_clear()
    monkeypatch.setattr(ImageFont, "load_default", no_freetype)
    with pytest.raises(MissingDependencyError, match="FreeType"):
        generate._font(41)


def test_the_command_writes_once_and_then_exits_2(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "new/set", "--images", "36", "--seed", "2"]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "36 images of 64×64, seed 2" in first.stdout
    before = _bytes_by_name(tmp_path)
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "remove this one first" in second.stderr
    assert "Traceback" not in second.stderr
    assert _bytes_by_name(tmp_path) == before
    assert len(before) == 36
