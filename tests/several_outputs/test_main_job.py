"""The main job on networks that score no classes, from Python and from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ghostedge
from ghostedge.conversion.outputs import budget_words
from ghostedge.formats.table import TARGETS
from ghostedge.records.manifest import Manifest
from ghostedge.show.tables import conversion_table
from ghostedge_runtime import Model
from ghostedge_runtime.errors import InputError


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ghostedge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def converted(example, folder: Path, **options) -> Manifest:
    case = example.case
    return ghostedge.convert(
        example.module,
        (1, case.channels, *case.size),
        name=case.name,
        output=folder / "out",
        output_names=case.stated,
        mean=case.preprocessing.mean,
        std=case.preprocessing.std,
        crop_pct=1.0,
        **options,
    )


@pytest.fixture(scope="module")
def manifest(example, tmp_path_factory) -> Manifest:
    folder = tmp_path_factory.mktemp(example.case.name)
    calib = example.files[0].parent
    return converted(example, folder, int8=True, calib=calib, calib_images=8, output_type="int8")


def test_every_file_is_held_to_its_source_output_by_output(example, manifest):
    assert not manifest.missed
    for artefact in manifest.artefacts:
        budget = TARGETS[artefact.format].output_budgets[artefact.precision]
        parity = artefact.parity
        assert parity.agreement_pct is None
        assert [each.name for each in parity.outputs] == list(example.case.outputs)
        assert parity.max_abs_diff == max(each.max_abs_diff for each in parity.outputs)
        assert parity.budget == budget_words(budget)
        assert [tensor.name for tensor in artefact.outputs] == list(example.case.outputs)


def test_int8_is_told_by_signal_to_noise_against_its_source_and_the_float_file(manifest):
    float_onnx, _, int8_onnx, int8_tflite = manifest.artefacts
    assert float_onnx.float_sqnr_db is None
    assert int8_onnx.float_sqnr_db == int8_onnx.parity.worst.counted_db
    assert 18 <= int8_tflite.float_sqnr_db <= 60
    assert int8_tflite.float_agreement_pct is None
    table = "\n".join(
        "".join(segment.text for segment in line) for line in rendered(conversion_table(manifest))
    )
    assert f"sqnr {int8_onnx.parity.worst.counted_db:.1f} dB" in table
    assert "sqnr to float" in table
    assert "top-1" not in table


def rendered(table):
    from rich.console import Console  # noqa: PLC0415 - of this helper alone

    return Console(width=200).render_lines(table)


def test_the_manifest_on_disk_says_the_same(manifest):
    document = json.loads((manifest.folder / "manifest.json").read_text())
    assert document["manifest_version"] == 2
    int8 = document["artefacts"][2]
    assert int8["parity"]["agreement_pct"] is None
    assert {output["name"] for output in int8["parity"]["outputs"]} == {
        output["name"] for output in int8["outputs"]
    }
    assert all(output["scale"] > 0 for output in int8["outputs"])
    assert document["metadata"]["classifies"] is False


def test_what_the_runtime_computes_is_what_the_network_does(
    example, manifest, channels_first, signal_to_noise
):
    wanted = example.answers(example.images[7:8])
    for artefact in manifest.artefacts[2:]:
        model = Model(manifest.folder / artefact.file)
        assert not model.is_classifier
        found = model.values(example.files[7])
        for name, values in wanted.items():
            mine = found[name] if artefact.format == "onnx" else channels_first(found[name])
            assert signal_to_noise(mine, values) >= 15


def test_run_prints_every_output(example, manifest):
    file = manifest.folder / manifest.artefacts[3].file
    done = run("run", file, example.files[0], "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert [output["name"] for output in told["outputs"]] == list(example.case.outputs)
    values = Model(file).values(example.files[0])
    for output in told["outputs"]:
        assert output["shape"] == list(values[output["name"]].shape)
        assert output["mean"] == pytest.approx(float(np.mean(values[output["name"]])))


def test_channels_are_said_and_images_follow_them(example, manifest):
    facts = {fact.name: fact.value for fact in manifest.inferred}
    words = {1: "1: L", 3: "3: RGB", 4: "4: RGBA"}
    assert facts["input channels"] == words[example.case.channels]
    height, width = example.case.size
    assert facts["input_size"] == f"{height}×{width}"
    assert facts["classes"].startswith("none")


@pytest.mark.parametrize(
    ("flags", "where"),
    [
        ({"max_drop": 0.5, "eval": "labelled"}, "--eval"),
        ({"min_agreement": 99.0}, "--min-agreement"),
    ],
)
def test_budgets_and_scores_in_top1_are_refused(example, tmp_path, flags, where):
    if example.case.name != "pyramid":
        return
    calib = example.files[0].parent
    labelled = tmp_path / "labelled" / "a"
    labelled.mkdir(parents=True)
    (labelled / "a.png").write_bytes(example.files[0].read_bytes())
    options = {**flags, **({"eval": labelled.parent} if "eval" in flags else {})}
    with pytest.raises(InputError) as caught:
        converted(example, tmp_path, int8=True, calib=calib, **options)
    assert caught.value.where == where
    assert "class" in caught.value.what
    assert caught.value.remedy.startswith("leave it out")
    assert not (tmp_path / "out").exists()


def test_bench_times_it_but_refuses_to_score_it(example, manifest):
    if example.case.name != "embedder":
        return
    file = manifest.folder / manifest.artefacts[1].file
    quick = ("--min-seconds", "0", "--min-runs", "1")
    assert run("bench", file, *quick).returncode == 0
    done = run("bench", file, "--data", example.files[0].parent)
    assert done.returncode == 2
    assert "it scores no classes: its outputs are embedding float32 [1, 64]" in done.stderr
    assert "leave --data out" in done.stderr


def test_names_that_do_not_fit_the_outputs_are_refused(example, tmp_path):
    if example.case.name != "pyramid":
        return
    with pytest.raises(InputError, match="2 names for 3 outputs") as caught:
        ghostedge.convert(
            example.module, (1, 3, 96, 160), output=tmp_path / "out", output_names=["a", "b"]
        )
    assert caught.value.where == "--output-names"
