"""`convert --corruptions` and `bench --corruptions` on the bundled network: the same scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import pytest

import ghostedge
from ghostedge.records.manifest import Manifest, manifest_of

Command = Callable[..., CompletedProcess[str]]
IMAGES = 24


@pytest.fixture(scope="module")
def drawings(glyphs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corruptions") / "drawings"
    glyphs.write_images(folder, count=72, seed=3)
    return folder


@pytest.fixture(scope="module")
def converted(
    example_checkpoint: Path, drawings: Path, tmp_path_factory: pytest.TempPathFactory
) -> Manifest:
    return ghostedge.convert(
        example_checkpoint,
        int8=True,
        calib=drawings,
        eval=drawings,
        corruptions=("contrast", "noise"),
        corruption_images=IMAGES,
        equalize=False,  # neither changes how the network is scored; both take long
        bias_correction="none",
        output=tmp_path_factory.mktemp("corruptions") / "out",
    )


def test_every_file_is_scored_on_the_same_corrupted_images(converted: Manifest) -> None:
    scores = [artefact.corrupted for artefact in converted.artefacts]
    assert len(scores) == 4
    for artefact, of_file in zip(converted.artefacts, scores, strict=True):
        assert of_file is not None
        assert (of_file.images, of_file.of_images) == (IMAGES, 72)
        assert of_file.precision == artefact.precision
        assert len(of_file.scores) == 11
        by_name = {(each.corruption, each.strength): each.top1_pct for each in of_file.scores}
        # Drawings are known as they are; of 5 % of their contrast nothing is.
        assert by_name["none", 0] > 90
        assert by_name["contrast", 5] < 40 < by_name["noise", 1]
    assert len({of_file.pixels_crc32 for of_file in scores if of_file}) == 1


def test_the_float_files_agree_on_every_corrupted_image(converted: Manifest) -> None:
    onnx, tflite = (a.corrupted for a in converted.artefacts if a.precision == "float32")
    assert onnx is not None
    assert tflite is not None
    assert [each.hits for each in onnx.scores] == [each.hits for each in tflite.scores]


def test_the_manifest_is_read_back_with_the_scores(converted: Manifest) -> None:
    file = converted.folder / "manifest.json"
    document = json.loads(file.read_text())
    assert document["manifest_version"] == 2
    assert manifest_of(document, file).artefacts == converted.artefacts
    for artefact in document["artefacts"]:  # as an older version wrote it
        del artefact["corrupted"]
    assert manifest_of(document, file).artefacts[0].corrupted is None


def test_bench_gives_the_same_scores_and_shows_them(
    converted: Manifest, drawings: Path, in_process: Command, tmp_path: Path
) -> None:
    files = [converted.folder / a.file for a in converted.artefacts if a.format == "tflite"]
    options = ("--corruptions", "noise,contrast", "--corruption-images", str(IMAGES))
    run, short = tmp_path / "run.json", ("--min-seconds", "0.02", "--min-runs", "3")
    done = in_process("bench", *files, "--data", drawings, *options, *short, "-o", run)
    assert done.returncode == 0, done.stderr
    name = converted.name
    assert f"{name}_int8.tflite beside {name}.tflite on corrupted images" in done.stdout
    assert "24 of 72 images" in done.stdout
    results = json.loads(run.read_text())["runs"][0]["results"]
    document = converted.to_dict()
    wanted = [a["corrupted"] for a in document["artefacts"] if a["format"] == "tflite"]
    assert [result["corrupted"] for result in results] == json.loads(json.dumps(wanted))
    compared = in_process("compare", run, run)
    assert compared.returncode == 0, compared.stderr
    base = tmp_path / "runs.jsonl"
    again = in_process("bench", files[0], "--data", drawings, *options, *short, "--db", base)
    assert again.returncode == 0, again.stderr
    assert in_process("report", run, "-o", tmp_path / "report.md").returncode == 0
    assert "## Corrupted images" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--corruptions", "noise"), "there are no labelled images to corrupt"),
        (("--data", "set", "--corruptions", "nose"), "no corruption 'nose' (closest: noise)"),
    ],
)
def test_bench_refuses_what_makes_no_sense(
    example_checkpoint: Path, in_process: Command, options: tuple[str, ...], message: str
) -> None:
    bundled = example_checkpoint.with_name("ghostnet_050_glyphs_int8.tflite")
    done = in_process("bench", bundled, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
