"""The main job tells how sound each part of a detector's one output is."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

import ghostedge
from ghostedge.records.manifest import Manifest
from ghostedge.show.tables import conversion_table
from ghostedge_quantize.graph import joins


@pytest.fixture(scope="module")
def calib(pictures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calib")
    for index, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    return folder


def converted(module, side: int, calib: Path, output: Path) -> tuple[Manifest, str]:
    """The manifest, and the table that is printed of it."""
    manifest = ghostedge.convert(
        module,
        (1, 3, side, side),
        output=output,
        int8=True,
        calib=calib,
        equalize=False,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        crop_pct=1.0,
    )
    console = Console(width=240)
    with console.capture() as capture:
        console.print(conversion_table(manifest))
    return manifest, capture.get()


def test_the_worst_part_counts_and_is_named(yolov8, side, calib, tmp_path):
    manifest, table = converted(yolov8, side, calib, tmp_path / "out")
    assert not manifest.missed
    float_onnx, _, int8_onnx, int8_tflite = manifest.artefacts
    (output,) = int8_onnx.parity.outputs
    assert float_onnx.parity.within_budget
    assert output.worst_part.kind == "part"
    assert output.worst_part.name in ("channels 0 to 3: Mul", "channels 4 to 9: Sigmoid")
    assert output.worst_part.sqnr_db >= 20
    assert int8_onnx.float_sqnr_db == output.worst_part.sqnr_db
    assert int8_tflite.float_sqnr_db >= 20
    assert f"sqnr {output.worst_part.sqnr_db:.1f} dB (logits, {output.worst_part.name})" in table


def test_scores_lost_to_a_shared_scale_miss_the_budget(yolov8, side, calib, tmp_path, monkeypatch):
    monkeypatch.setattr(joins, "MOST_UNLIKE", float("inf"))
    manifest, table = converted(yolov8, side, calib, tmp_path / "out")
    assert manifest.missed[0].startswith(manifest.artefacts[2].file)
    assert "(logits, channels 4 to 9: Sigmoid)" in manifest.missed[0]
    (output,) = manifest.artefacts[2].parity.outputs
    assert output.sqnr_db >= 20
    assert output.worst_part.sqnr_db < 10
    assert not output.within_budget
    assert f"✗ sqnr {output.worst_part.sqnr_db:.1f} dB (logits, channels 4 to 9: Sigmoid)" in table
