"""``--max-drop`` and ``--min-agreement`` as a person uses them, on real weights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def convert(checkpoint: Path, output: Path, *arguments: object) -> Any:
    command = [sys.executable, "-m", "ghostedge", "convert", checkpoint, "-o", output, *arguments]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def some(
    trained_calib: Path, trained_test: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """50 calibration images and 200 labelled ones."""
    made = {}
    for name, source, count in (("calib", trained_calib, 50), ("eval", trained_test, 200)):
        made[name] = tmp_path_factory.mktemp(name)
        images = sorted(source.rglob("*.jp*g"))
        for image in images[:: len(images) // count][:count]:
            folder = made[name] / image.parent.name
            folder.mkdir(exist_ok=True)
            shutil.copy(image, folder)
    return made


def test_a_budget_that_full_int8_holds_costs_one_check(
    trained_checkpoint: Path, some: dict[str, Path], tmp_path: Path
) -> None:
    done = convert(
        trained_checkpoint, tmp_path / "out", "--int8", "--calib", some["calib"],
        "--eval", some["eval"], "--max-drop", 5, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "full int8 holds a drop of at most 5 points; no layer stays float" in done.stderr
    manifest = json.loads(done.stdout)
    guard = manifest["guard"]
    assert (guard["met"], guard["stopped"]) == (True, "int8 holds")
    assert [check["layers_float"] for check in guard["checks"]] == [0]
    float_file, _, onnx, tflite = manifest["artefacts"]
    top1 = float_file["accuracy"]["top1_pct"]
    assert guard["float_top1_pct"] == pytest.approx(top1)
    worst = min(each["accuracy"]["top1_pct"] for each in (onnx, tflite))
    assert guard["loss_points"] == pytest.approx(top1 - worst)
    assert not (tmp_path / "out.guard.jsonl").exists()


def test_a_budget_missed_in_time_exits_3_with_the_best_files_and_goes_on_later(
    trained_checkpoint: Path, some: dict[str, Path], tmp_path: Path
) -> None:
    """A crude int8 and 100 % agreement: out of reach of a second or two."""
    arguments = (
        "--int8", "--per-tensor", "--no-equalize", "--bias-correction", "none",
        "--calib", some["calib"], "--eval", some["eval"], "--min-agreement", 100,
        "--guard-minutes", 0.05,
    )  # fmt: skip
    done = convert(trained_checkpoint, tmp_path / "out", *arguments)
    assert done.returncode == 3, done.stderr
    assert "--guard-minutes gives it longer" in done.stderr
    assert "guard: at least 100 % agreement; 200 evaluation images" in done.stdout
    assert "0 of 96" in done.stdout
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    first = manifest["guard"]
    assert (first["met"], first["stopped"]) == (False, "time is up")
    assert any("100 % agreement" in sentence for sentence in manifest["missed"])
    state = tmp_path / "out.guard.jsonl"
    kept = state.read_text().splitlines()
    assert len(kept) >= 1
    done = convert(trained_checkpoint, tmp_path / "out", *arguments, "--json")
    second = json.loads(done.stdout)["guard"]
    assert second["resumed"] >= 1
    lines = state.read_text().splitlines()
    assert lines[: len(kept)] == kept
    assert len(set(lines)) == len(lines), "a measurement was repeated"
