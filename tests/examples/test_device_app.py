"""The device app, as a device runs it: a process of its own on a model file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
APP = EXAMPLES / "device_app.py"


@pytest.fixture(scope="module")
def int8_model() -> Path:
    path = EXAMPLES / "glyphs" / "ghostnet_050_glyphs_int8.tflite"
    if not path.exists():
        pytest.skip(f"needs the converted {path.name}")
    return path


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, APP, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def _read_lines(arguments: Sequence[str | Path], count: int) -> list[str]:
    """Start the app, read that many lines of its output, and stop it."""
    command = [sys.executable, APP, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.terminate()
    return lines


def test_it_prints_path_label_score_and_milliseconds_of_each_image(
    generate: ModuleType, int8_model: Path, tmp_path: Path
) -> None:
    generate.write_images(tmp_path / "set", count=72, seed=90_211)
    images = sorted((tmp_path / "set").rglob("*.jpg"))
    done = _run(int8_model, *images)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [str(path) for path in images]
    right = sum(row[1] == path.parent.name for path, row in zip(images, rows, strict=True))
    assert right >= 61  # 85 % of 72: far from chance, with room for so small a sample
    assert all(0 < float(score) <= 1 for _, _, score, _ in rows)
    assert all(float(ms.removesuffix(" ms")) > 0 for *_, ms in rows)


def test_it_watches_a_folder_for_images(
    generate: ModuleType, int8_model: Path, tmp_path: Path
) -> None:
    for index in range(3):
        generate.draw_image(90_212, index).save(tmp_path / f"{index}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    lines = _read_lines([int8_model, "--watch", tmp_path], 3)
    assert [line.split("\t")[0] for line in lines] == [
        str(tmp_path / f"{index}.png") for index in range(3)
    ]


def test_a_bad_image_is_reported_and_the_next_one_still_classified(
    generate: ModuleType, int8_model: Path, tmp_path: Path
) -> None:
    bad, good = tmp_path / "bad.jpg", tmp_path / "good.png"
    bad.write_bytes(b"not a JPEG")
    generate.draw_image(90_212, 0).save(good)
    done = _run(int8_model, bad, good)
    assert done.returncode == 2
    assert str(bad) in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith(f"{good}\t")


def test_a_missing_folder_is_an_error_with_exit_2(int8_model: Path, tmp_path: Path) -> None:
    done = _run(int8_model, "--watch", tmp_path / "none")
    assert done.returncode == 2
    assert "no such folder" in done.stderr


def test_a_missing_model_is_an_error_with_exit_2(tmp_path: Path) -> None:
    done = _run(tmp_path / "none.tflite", "image.png")
    assert done.returncode == 2
    assert "none.tflite" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["a.png", "--watch", "."]])
def test_images_and_a_folder_exclude_each_other(arguments: list[str]) -> None:
    done = _run("model.tflite", *arguments)
    assert done.returncode == 2
    assert "give images, or a folder with --watch" in done.stderr
