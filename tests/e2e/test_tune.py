"""``ghostedge tune`` as a person uses it, on the bundled network; nothing is said of its speed."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import ghostedge
from ghostedge.console import SilentReporter
from ghostedge.devices import DevicesFailedError
from ghostedge.records.manifest import manifest_of
from ghostedge.records.tuning import TuningReport
from ghostedge.tuning import search, timer
from ghostedge.tuning.reopen import read_manifest, reopen
from ghostedge_runtime import Model
from ghostedge_runtime.bench.run import run_bench
from ghostedge_runtime.errors import DeviceError
from ghostedge_runtime.record import BenchJob, BenchRun, Settings

Command = Callable[..., CompletedProcess[str]]
NAME = "ghostnet_050_glyphs"


@pytest.fixture(scope="module", autouse=True)
def brief_measuring() -> Iterator[None]:
    """Single bursts and two loads: enough for the way of the data, for no figure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timer, "SETTINGS", Settings(0.01, min_runs=2, max_warmup_seconds=0.01))
        patch.setattr(search, "DECIDING_LOADS", 2)
        patch.setattr(search, "SCREENING_LOADS", 1)
        yield


@pytest.fixture(scope="module")
def images(glyphs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 labelled images, one of each class."""
    folder = tmp_path_factory.mktemp("glyphs") / "labelled"
    glyphs.write_images(folder, count=36, seed=5)
    return folder


def classifier(path: Path) -> Path:
    """Four convolutions, two of them under a shortcut, and a mean: 36 classes, random weights."""
    random = np.random.default_rng(0)
    tensors, nodes = [], []
    for name, source, target, shape in (
        ("stem", "image", "a", (8, 3, 3, 3)),
        ("block.one", "a", "b", (8, 8, 3, 3)),
        ("block.two", "b", "c", (8, 8, 3, 3)),
        ("head", "d", "e", (36, 8, 1, 1)),
    ):
        weight = random.normal(size=shape).astype(np.float32) / np.sqrt(np.prod(shape[1:]))
        tensors.append(numpy_helper.from_array(weight, f"{name}.weight"))
        pads = [shape[-1] // 2] * 4
        inputs = [source, f"{name}.weight"]
        nodes.append(helper.make_node("Conv", inputs, [target], name=name, pads=pads))
    nodes.insert(3, helper.make_node("Add", ["a", "c"], ["d"], name="add"))
    nodes.append(helper.make_node("GlobalAveragePool", ["e"], ["f"], name="mean"))
    nodes.append(helper.make_node("Flatten", ["f"], ["scores"], name="flatten"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("image", (1, 3, 32, 32)), ("scores", (1, 36)))
    ]
    graph = helper.make_graph(nodes, "classifier", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def conversion(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small classifier in float and int8."""
    folder = tmp_path_factory.mktemp("tune")
    ghostedge.convert(
        classifier(folder / "net.onnx"), int8=True, calib=images, calib_images=8,
        task="classify", output=folder / "out",
    )  # fmt: skip
    return folder / "out"


@pytest.fixture
def out(conversion: Path, tmp_path: Path) -> Path:
    """A folder of its own for each test."""
    return Path(shutil.copytree(conversion, tmp_path / "out"))


def recipe(path: Path, **rules: dict[str, str]) -> Path:
    """A recipe's file: of each format, patterns with their precisions; nothing in halves."""
    engines = {"tflite": "litert", "onnx": "onnxruntime"}
    files = {
        name: {
            "backend": engines[name],
            "split": False,
            "rules": [{"layers": k, "precision": v} for k, v in named.items()],
        }
        for name, named in rules.items()
    }
    path.write_text(json.dumps({"tuning_version": 1, "files": files}))
    return path


def report_of(out: Path) -> TuningReport:
    path = out / "manifest.json"
    report = manifest_of(json.loads(path.read_text()), path).tuning
    assert report is not None
    return report


def test_a_recipe_by_hand_writes_the_layers_it_names_float_and_is_written_again_the_same(
    out: Path, tmp_path: Path, in_process: Command
) -> None:
    some = {"*": "float32", "block.*": "int8"}
    path = recipe(tmp_path / "mine.json", tflite=some, onnx={"*": "float32"})
    done = in_process("tune", out, "--recipe", path, "--json")
    assert done.returncode == 0, done.stderr
    tflite, onnx_file = json.loads(done.stdout)["files"]
    assert tflite["float_layers"] == ["stem", "head"]
    assert tflite["trials"][0]["agreement_pct"] > 75
    assert tflite["trials"][0]["p50_ms"] is None
    with Model(out / tflite["file"]) as model:
        assert model.metadata is not None
        assert model.metadata.quantization is not None
        assert model.metadata.quantization.float_layers == ("stem", "head")
    assert (out / onnx_file["file"]).read_bytes() == (out / "net.onnx").read_bytes()

    assert not json.loads((out / "tuning.json").read_text())["files"]["tflite"]["split"]
    (out / tflite["file"]).unlink()
    again = in_process("tune", out, "--recipe", out / "tuning.json", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["files"][0]["sha256"] == tflite["sha256"]


def test_a_search_leaves_files_recipe_report_and_measurements_and_goes_on_from_them(
    out: Path, images: Path, tmp_path: Path, in_process: Command
) -> None:
    arguments = ("tune", out, "--format", "tflite", "--eval", images)
    done = in_process(*arguments)
    assert done.returncode == 0, done.stderr
    assert "tune tflite on local: 4 layers in 3 parts" in done.stderr
    (file,) = report_of(out).files
    assert file.stopped == "search done"
    assert file.verdict in " ".join(done.stdout.split())
    tried = {trial.choice: trial for trial in file.trials}
    int8 = json.loads((out / "manifest.json").read_text())["artefacts"][3]
    assert tried["int8"].sha256 == int8["sha256"]
    assert tried["float32"].agreement_pct == 100
    assert tried["int8"].top1_pct is not None
    assert {"float stem", "float up to block"} <= tried.keys()
    assert any(trial.on_front for trial in file.trials)
    before = report_of(out).loads
    assert len((out / "tuning.measurements.jsonl").read_text().splitlines()) == before
    page = in_process("report", out / "manifest.json", "-o", tmp_path / "it.md")
    assert page.returncode == 0, page.stderr
    assert "## Tuned files" in (tmp_path / "it.md").read_text()

    missed = in_process(*arguments, "--max-mb", "0.0001")
    assert f"{before} measurements of before are taken over" in missed.stderr
    assert missed.returncode == 3  # nothing is as small as that
    assert "no choice keeps the budget; the nearest is" in " ".join(missed.stderr.split())
    assert (out / "net_tuned.tflite").stat().st_size <= int8["bytes"]


def test_converting_and_tuning_go_in_one_command(
    images: Path, tmp_path: Path, in_process: Command
) -> None:
    net, out = classifier(tmp_path / "net.onnx"), tmp_path / "out"
    arguments = ("convert", net, "--calib", images, "--task", "classify", "--tune", "-o", out)
    refused = in_process(*arguments)
    assert (refused.returncode, out.exists()) == (2, False)
    assert "--tune: there is nothing to choose between without int8" in refused.stderr
    done = in_process(*arguments, "--int8", "--format", "onnx", "--json")
    assert done.returncode == 0, done.stderr
    (file,) = json.loads(done.stdout)["tuning"]["files"]
    assert (out / file["file"]).exists()


def test_a_device_that_goes_away_ends_with_2_and_its_name_and_keeps_what_was_measured(
    out: Path, monkeypatch: pytest.MonkeyPatch, in_process: Command
) -> None:
    runs = iter([True, True, False])

    def run_on(devices: list[str], job: BenchJob, reporter: Any) -> tuple[BenchRun]:
        if next(runs):
            return (run_bench(job),)
        gone = DeviceError("the connection was lost", where=devices[0])
        raise DevicesFailedError((), {devices[0]: gone})

    monkeypatch.setattr(timer, "run_on", run_on)
    before = {path.name for path in out.iterdir()}
    done = in_process("tune", out, "--device", "ssh://pi@board", "--format", "onnx")
    assert done.returncode == 2
    assert "error: ssh://pi@board: the connection was lost" in done.stderr
    assert "the same command goes on from there" in " ".join(done.stderr.split())
    assert {path.name for path in out.iterdir()} - before == {"tuning.measurements.jsonl"}
    assert len((out / "tuning.measurements.jsonl").read_text().splitlines()) == 2


def test_ghostnet_is_tuned_by_its_blocks_and_float_ghost_modules_are_in_halves(
    example_checkpoint: Path, images: Path, tmp_path: Path, in_process: Command
) -> None:
    out = tmp_path / "out"
    ghostedge.convert(
        example_checkpoint, int8=True, calib=images, calib_images=4, equalize=False,
        bias_correction="none", ranges="minmax", output=out,
    )  # fmt: skip
    conversion = reopen(read_manifest(out), None, SilentReporter())
    counts = {}
    for split in (True, False):
        path = tmp_path / "first_blocks.onnx"
        conversion.write("onnx", conversion.layers[:12], path, split=split)
        ops = Counter(node.op_type for node in onnx.load(path).graph.node)
        counts[split] = (ops["Concat"], ops["Add"])
    assert counts[True] == (counts[False][0] - 2, counts[False][1] + 2)

    done = in_process("tune", out, "--format", "tflite", "--minutes", "0.01")
    assert done.returncode == 0, done.stderr
    assert "96 layers in 20 parts" in done.stderr
    (file,) = report_of(out).files
    assert file.layer_count == 96
    assert {trial.choice for trial in file.trials} >= {"int8", "float32"}
    assert (out / f"{NAME}_tuned.tflite").exists()


def changed_images(out: Path, tmp_path: Path) -> tuple[Any, ...]:
    folder = tmp_path / "others"
    folder.mkdir()
    for shade in range(8):
        Image.new("RGB", (64, 64), (shade, 90, 3)).save(folder / f"{shade}.png")
    return (out, "--calib", folder)


def changed_file(out: Path, tmp_path: Path) -> tuple[Any, ...]:
    with (out / "net.tflite").open("ab") as file:
        file.write(b"more")
    return (out,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (lambda out, tmp: (tmp / "nothing",), "cannot be read"),
        (changed_file, "it is not the file that the manifest names"),
        (changed_images, "quantizing again gives another file than net_int8.onnx"),
        (lambda out, tmp: (out, "--calib", tmp / "gone"), "calibrated on are not there"),
        (lambda out, tmp: (out, "--max-drop", 1), "a drop in accuracy needs labelled images"),
        (lambda out, tmp: (out, "--format", "openvino"), "has no float32 and int8 files"),
        (lambda out, tmp: (out, "--minutes", 0), "--minutes: must be above 0"),
        (lambda out, tmp: (out, "--threads", "0"), "--threads: must be whole numbers from 1 on"),
        (lambda out, tmp: (out, "--max-mb", -1), "--max-mb: must be above 0"),
        (lambda out, tmp: (out, "--device", "pi"), "pi"),
        (
            lambda out, tmp: (out, "--recipe", recipe(tmp / "r.json", onnx={"stm*": "float32"})),
            "the rule 'stm*' names no layer (closest: stem)",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused_and_nothing_is_written(
    out: Path, tmp_path: Path, in_process: Command, arguments: Any, said: str
) -> None:
    before = sorted(path.name for path in out.iterdir())
    done = in_process("tune", *arguments(out, tmp_path))
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert sorted(path.name for path in out.iterdir()) == before


def test_a_network_without_classes_is_tuned_by_time_and_size_alone(
    images: Path, tmp_path: Path, in_process: Command
) -> None:
    net, out = classifier(tmp_path / "net.onnx"), tmp_path / "out"
    ghostedge.convert(net, int8=True, calib=images, task="regress", format=("onnx",), output=out)
    for flag, value in (("--min-agreement", "99"), ("--eval", images)):
        refused = in_process("tune", out, flag, value)
        assert refused.returncode == 2
        assert f"{flag}: the network scores no classes" in refused.stderr
    assert in_process("tune", out, "--threads", "1,2").returncode == 0
    report = report_of(out)
    assert report.image_source is None
    assert {trial.agreement_pct for trial in report.files[0].trials} == {None}
    assert report.files[0].threads in (1, 2)
