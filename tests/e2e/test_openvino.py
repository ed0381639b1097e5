"""OpenVINO IR as a third format: written, compared, timed, and read by every command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import pytest

import ghostedge
from ghostedge.records.manifest import Artefact, Manifest
from ghostedge_runtime.errors import MissingDependencyError

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def images(glyphs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("glyphs") / "images"
    glyphs.write_images(folder, count=72, seed=5)
    return folder


@pytest.fixture(scope="module")
def manifest(
    example_checkpoint: Path, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> Manifest:
    return ghostedge.convert(
        example_checkpoint,
        int8=True,
        calib=images,
        eval=images,
        ranges="minmax",
        equalize=False,
        bias_correction="fast",
        format=("onnx", "tflite", "openvino"),
        output=tmp_path_factory.mktemp("openvino") / "out",
    )


def artefact(manifest: Manifest, suffix: str) -> Artefact:
    return next(a for a in manifest.artefacts if a.file.endswith(suffix))


def test_a_float_and_an_int8_ir_stand_beside_the_other_formats(manifest: Manifest) -> None:
    name = "ghostnet_050_glyphs"
    assert {path.name for path in manifest.folder.iterdir()} == {
        *(f"{name}{part}{suffix}" for part in ("", "_int8") for suffix in (".onnx", ".tflite")),
        *(f"{name}{part}{suffix}" for part in ("", "_int8") for suffix in (".xml", ".bin")),
        "manifest.json",
    }
    assert "openvino" in manifest.versions


def test_each_is_compared_with_its_onnx_file_by_its_own_budget(manifest: Manifest) -> None:
    assert manifest.missed == ()
    plain, int8 = artefact(manifest, "glyphs.xml"), artefact(manifest, "_int8.xml")
    assert plain.parity is not None
    assert int8.parity is not None
    assert plain.parity.reference == "ghostnet_050_glyphs.onnx"
    assert plain.parity.max_relative_diff is not None
    assert plain.parity.max_relative_diff < 1e-4
    assert int8.parity.reference == "ghostnet_050_glyphs_int8.onnx"
    assert int8.parity.budget == "same top-1 on 95 %, sqnr at least 20 dB"


def test_the_manifest_counts_the_weights_beside_the_graph_and_keeps_times(
    manifest: Manifest,
) -> None:
    plain = artefact(manifest, "glyphs.xml")
    files = [manifest.folder / f"ghostnet_050_glyphs{suffix}" for suffix in (".xml", ".bin")]
    assert plain.bytes == sum(file.stat().st_size for file in files)
    assert plain.latency is not None
    assert plain.accuracy == artefact(manifest, "glyphs.onnx").accuracy


@pytest.mark.parametrize("suffix", ["", "_int8"])
def test_bench_run_inspect_and_report_take_it(
    suffix: str,
    manifest: Manifest,
    images: Path,
    in_process: Callable[..., CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    ir = manifest.folder / f"ghostnet_050_glyphs{suffix}.xml"
    image = next(images.rglob("*.jpg"))
    record, page = tmp_path / "run.json", tmp_path / "page.md"
    bench = ("bench", ir, "--backend", "openvino", "--min-seconds", 0, "--min-runs", 2)
    assert in_process(*bench, "--max-warmup-seconds", 0, "-o", record).returncode == 0
    assert in_process("report", record, "--format", "markdown", "-o", page).returncode == 0
    assert "OpenVINO" in page.read_text()
    run = json.loads(in_process("run", ir, image, "--json").stdout)
    assert run[0]["classes"][0]["label"] == image.parent.name
    inspected = json.loads(in_process("inspect", ir, "--json").stdout)
    assert inspected["kind"] == "openvino"
    assert inspected["sha256"] == artefact(manifest, f"glyphs{suffix}.xml").sha256


def test_without_openvino_nothing_is_begun(
    example_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] == "openvino" or name == "ghostedge.formats.openvino":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"writing .xml files needs") as caught:
        ghostedge.convert(example_checkpoint, format=("onnx", "openvino"), output=tmp_path / "out")
    assert caught.value.remedy == "pip install 'ghostedge[openvino]'"
    assert not (tmp_path / "out").exists()
