"""The commands as a person types them: tables, JSON, exit codes."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ghostedge.records.manifest import Manifest
from ghostedge_runtime.images import list_images
from ghostedge_runtime.record import read_runs

Command = Callable[..., subprocess.CompletedProcess[str]]


def ghostedge(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ghostedge", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_convert_prints_what_it_inferred_and_a_table_of_what_it_wrote(
    in_process: Command, trained: Any, tmp_path: Path
) -> None:
    done = in_process("convert", trained.checkpoint, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"architecture: {trained.architecture} (from the weights' shapes)" in done.stderr
    assert "synthetic images" in done.stdout
    for file in ("model.onnx", "model.tflite"):
        assert file in done.stdout
        assert (tmp_path / "model_ghostedge" / file).is_file()
    assert "int8" not in done.stdout


def test_small_weights_need_no_images(
    in_process: Command, trained_checkpoint: Path, tmp_path: Path
) -> None:
    done = in_process(
        "convert", trained_checkpoint, "--precision", "dynamic, float16", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)["artefacts"]
    assert [a["precision"] for a in made[::2]] == ["float32", "float16", "dynamic"]
    assert all(a["parity"]["within_budget"] for a in made)
    assert all((a["speed_up"] is None) == (a["precision"] == "float32") for a in made)


def test_a_default_nobody_stated_is_printed_as_one(
    in_process: Command, trained_checkpoint: Path, tmp_path: Path
) -> None:
    alone = shutil.copy(trained_checkpoint, tmp_path / "alone.pt")
    done = in_process("convert", alone, "--input-size", "64", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "input_size: 64×64 (from --input-size)" in done.stderr
    assert "crop_pct: 0.875 (the family's ImageNet default" in done.stderr
    assert "labels: none" in done.stderr


def test_convert_prints_one_json_document_and_nothing_else_on_stdout(
    trained_checkpoint: Path, pictures: Path, tmp_path: Path
) -> None:
    """Without the slow steps of int8, whose accuracy is not the point."""
    done = ghostedge(
        "convert", trained_checkpoint, "--int8", "--calib", pictures, "--calib-images", 8,
        "--no-equalize", "--bias-correction", "none", "--ranges", "minmax",
        "--output-type", "int8", "--json", "-o", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["arguments"]["calib_images"] == 8
    for artefact in manifest["artefacts"][2:]:
        (output,) = artefact["outputs"]
        assert output["dtype"] == "int8"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--int8"], "pass --calib FOLDER"),
        (["--int8", "--calib", "nowhere"], "nowhere"),
        (["--precision", "float16,int8"], "pass --calib FOLDER"),
        (["--precision", "int4"], "there is no 'int4'"),
        (["--precision", "float16,float16"], "listed twice"),
        (["--precision", "dynamic", "--ranges", "mse"], "only to int8"),
        (["--strict"], "no images that could speak"),
        (["--eval", "nowhere"], "nowhere"),
        (["--width", "0.75"], "width"),
        (["--num-classes", "7"], "7"),
        (["--arch", "resnet50"], "resnet50"),
        (["--labels", "nowhere.txt"], "nowhere.txt"),
        (["--mean", "1,b"], "--mean"),
        (["--crop-pct", "3"], "crop_pct"),
        (["--ema"], "ema"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_written(
    in_process: Command, trained_checkpoint: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = in_process("convert", trained_checkpoint, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_half_a_checkpoint_is_refused_where_it_ends(
    trained_checkpoint: Path, tmp_path: Path
) -> None:
    data = trained_checkpoint.read_bytes()
    (tmp_path / "half.pt").write_bytes(data[: len(data) // 2])
    done = ghostedge("convert", "half.pt", cwd=tmp_path)
    assert done.returncode == 2
    assert "half.pt" in done.stderr
    assert f"{len(data) // 2:,}" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = ghostedge("convert", "nowhere.pt", "--debug", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_bench_shows_models_side_by_side_for_each_thread_count(converted: Manifest) -> None:
    done = ghostedge(
        "bench", *(converted.folder / f"model{s}.tflite" for s in ("", "_int8")),
        "--threads", "1,2", "--min-seconds", "0.1", "--min-runs", "5", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    results = run["results"]
    assert [(Path(r["case"]["model"]).name, r["case"]["threads"]) for r in results] == [
        ("model.tflite", 1),
        ("model.tflite", 2),
        ("model_int8.tflite", 1),
        ("model_int8.tflite", 2),
    ]
    assert all(r["runs"] >= 5 and r["score"] is None for r in results)
    assert results[0]["ratio"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert run["machine"]["machine"] == platform.machine()


def test_bench_keeps_what_it_measured_and_says_what_it_cannot_keep(
    converted: Manifest, tmp_path: Path
) -> None:
    model = converted.folder / "model_int8.tflite"
    quick = ("--min-seconds", "0", "--min-runs", "3")
    kept = tmp_path / "run.json"
    done = ghostedge("bench", model, *quick, "-o", kept)
    assert done.returncode == 0, done.stderr
    (run,) = read_runs(kept)
    p50_ms = run.results[0].p50_ms
    assert p50_ms is not None
    assert f"{p50_ms.value:.2f}" in done.stdout
    assert run.command[:2] == ("ghostedge", "bench")
    refused = ghostedge("bench", model, *quick, "-o", tmp_path / "none" / "run.json")
    assert refused.returncode == 2
    assert "no such folder" in refused.stderr


def test_bench_scores_the_very_same_file(
    converted: Manifest, trained: Any, trained_test: Path, tmp_path: Path
) -> None:
    for label in trained.labels[6:9:2]:
        for image in list_images(trained_test / label)[:20]:
            (tmp_path / label).mkdir(exist_ok=True)
            shutil.copy(image, tmp_path / label)
    done = ghostedge(
        "bench", converted.folder / "model_int8.tflite", "--data", tmp_path,
        "--min-seconds", "0", "--min-runs", "3", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    (result,) = run["results"]
    assert result["score"]["images"] == 40
    assert result["score"]["top1_pct"] >= 70.0
    assert result["preprocessing"]["count"] == run["settings"]["images"] == 40


def test_run_keeps_going_past_a_broken_picture_and_says_so(
    in_process: Command, *, converted: Manifest, trained: Any, trained_test: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not an image")
    picture = list_images(trained_test / trained.sure_label)[0]
    model = converted.folder / "model_int8.tflite"
    done = in_process("run", model, tmp_path / "broken.jpg", picture, "--json")
    assert done.returncode == 2
    assert "broken.jpg" in done.stderr
    (result,) = json.loads(done.stdout)
    assert result["classes"][0]["label"] == trained.sure_label
    assert [c["score"] for c in result["classes"]] == sorted(
        (c["score"] for c in result["classes"]), reverse=True
    )


def test_run_takes_a_folder_of_pictures(
    in_process: Command, converted: Manifest, trained: Any, trained_test: Path
) -> None:
    folder = trained_test / trained.labels[8]
    done = in_process("run", converted.folder / "model.tflite", folder, "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == len(list_images(folder))


@pytest.mark.parametrize("file", ["model.onnx", "model.tflite", "model_int8.onnx"])
def test_every_file_has_the_networks_macs(
    in_process: Command, converted: Manifest, trained: Any, file: str
) -> None:
    done = in_process("inspect", converted.folder / file, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["macs"] == trained.macs
    assert document["metadata"]["architecture"]["name"] == trained.architecture


def test_inspect_says_what_a_checkpoint_is(in_process: Command, trained: Any) -> None:
    done = in_process("inspect", trained.checkpoint, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["facts"]["architecture"] == trained.architecture
    assert document["facts"]["classes"] == str(len(trained.labels))
    assert document["macs"] == trained.macs


def test_every_activation_of_the_int8_file_is_int8(
    in_process: Command, converted: Manifest
) -> None:
    done = in_process("inspect", converted.folder / "model_int8.tflite", "--json")
    ops = {op["op"]: (op["count"], op["int8"]) for op in json.loads(done.stdout)["ops"]}
    # The uint8 image on its way to int8, which XNNPACK knows by way of float, and the logits.
    assert ops.pop("DEQUANTIZE") == (2, 0)
    assert ops["QUANTIZE"] == (1, 1)
    assert all(count == int8 for count, int8 in ops.values())


@pytest.mark.parametrize("command", ["run", "inspect", "bench"])
def test_half_a_model_file_is_refused(converted: Manifest, tmp_path: Path, command: str) -> None:
    data = (converted.folder / "model_int8.tflite").read_bytes()
    half = tmp_path / "half.tflite"
    half.write_bytes(data[: len(data) // 2])
    done = ghostedge(command, half, *([half] if command == "run" else []))
    assert done.returncode == 2
    assert "half.tflite" in done.stderr
    assert "Traceback" not in done.stderr


def test_flags_override_a_config_that_belongs_to_other_weights(
    in_process: Command, trained: Any, tmp_path: Path
) -> None:
    classes = len(trained.labels)
    alone = shutil.copy(trained.checkpoint, tmp_path / "tuned.pt")
    stale = {"architecture": trained.architecture, "num_classes": 1000}
    (tmp_path / "config.json").write_text(json.dumps(stale))
    refused = in_process("convert", alone, cwd=tmp_path)
    assert refused.returncode == 2
    assert f"--num-classes {classes}" in refused.stderr
    done = in_process(
        "convert", alone, "--num-classes", classes, "--input-size", "64", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "passed over, since the flags say so too" in done.stderr
