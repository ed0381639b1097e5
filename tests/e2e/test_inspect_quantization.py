"""``ghostedge inspect --quantization`` on real weights: figures, the picture, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from ghostedge.records.manifest import Manifest


def inspect(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ghostedge", "inspect", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def int8(converted: Manifest) -> Path:
    return converted.folder / "model_int8.onnx"


def test_the_worst_come_first_then_every_layer_and_a_picture(
    int8: Path, trained_calib: Path, tmp_path: Path
) -> None:
    done = inspect(
        "--quantization", int8, "--calib", trained_calib, "--images", 8, "-o", tmp_path / "a.png"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("model_int8.onnx on 8 images")
    assert "weights measured against the float model" in lines[1]
    ranked = [line for line in lines if line.startswith(("1. ", "2. ", "3. "))]
    assert [line[0] for line in ranked] == ["1", "2", "3"]
    for layer in ("conv_stem/Conv", "classifier/Gemm", ranked[0].split()[1]):
        assert any(line.startswith("│") and layer in line for line in lines)
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert picture.height > picture.width  # a row for each of 128 layers
    assert len(np.unique(pixels, axis=0)) > 10


def test_the_same_as_one_json_document(int8: Path, trained_calib: Path) -> None:
    done = inspect("--quantization", int8, "--calib", trained_calib, "--images", 4, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    analysis = report["analysis"]
    assert Path(report["float_model"]).name == "model.onnx"
    assert analysis["bias_corrected"] is True
    assert len(analysis["worst"]) == 3
    weighted = [layer for layer in analysis["layers"] if layer["weights"]]
    assert len(weighted) == 96  # 95 convolutions, one dense layer
    assert {layer["weights"]["source"] for layer in weighted} == {"float model"}
    assert all(layer["weights"]["sqnr_db"] > 20 for layer in weighted)
    assert sum(layer["share"] for layer in analysis["layers"]) == pytest.approx(1)
    alone = sum(layer["effect"]["mse"] for layer in analysis["layers"])
    assert alone == pytest.approx(analysis["total"]["mse"], rel=0.5)


def test_a_range_cut_to_a_quarter_is_the_worst_also_without_the_float_file(
    int8: Path, trained_calib: Path, tmp_path: Path
) -> None:
    model = onnx.load(int8)
    tensor = "blocks.4.0/Add"
    pair = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and tensor in n.input)
    scale = next(t for t in model.graph.initializer if t.name == pair.input[1])
    narrow = numpy_helper.from_array(numpy_helper.to_array(scale) / 4, "narrow_scale")
    model.graph.initializer.append(narrow)
    for node in model.graph.node:
        if node.output[0] == pair.output[0] or node.input[0] == pair.output[0]:
            node.input[1] = "narrow_scale"
    onnx.save(model, tmp_path / "damaged.onnx")
    done = inspect(
        "--quantization",
        tmp_path / "damaged.onnx",
        "--calib",
        trained_calib,
        "--images",
        4,
        "--json",
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["float_model"] is None
    assert any("--float" in note for note in report["notes"])
    weights = [layer["weights"] for layer in report["analysis"]["layers"] if layer["weights"]]
    assert {each["source"] for each in weights} == {"rounding step"}
    worst = report["analysis"]["worst"][0]
    assert worst["name"] == tensor
    assert "clipped" in worst["cause"]


@pytest.mark.parametrize(
    ("file", "arguments", "said"),
    [
        ("model_int8.onnx", [], "pass --calib FOLDER"),
        ("model_int8.onnx", ["--calib", "nowhere"], "nowhere"),
        ("model_int8.onnx", ["--calib", "empty"], "no image"),
        ("model_int8.onnx", ["--calib", "empty", "--plot", "a.jpg"], "ends in .png"),
        ("model_int8.onnx", ["--calib", "empty", "--plot", "no/a.png"], "no such folder"),
        ("model_int8.onnx", ["--calib", "empty", "--images", "0"], "--images"),
        ("model_int8.tflite", ["--calib", "empty"], "NAME_int8.onnx"),
        ("model.onnx", ["--calib", "grey"], "not quantized"),
        ("nowhere.onnx", ["--calib", "grey"], "no such file"),
        ("manifest.json", ["--calib", "grey"], "NAME_int8.onnx"),
    ],
)
def test_what_cannot_be_measured_is_said_with_a_remedy(
    converted: Manifest, tmp_path: Path, file: str, arguments: list[str], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "grey").mkdir()
    Image.new("RGB", (80, 60), (120, 130, 140)).save(tmp_path / "grey" / "grey.png")
    done = inspect("--quantization", converted.folder / file, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("flag", ["--float", "--plot"])
def test_its_options_alone_are_refused(int8: Path, tmp_path: Path, flag: str) -> None:
    done = inspect(int8, flag, tmp_path / "layers.png")
    assert done.returncode == 2
    assert f"{flag} is for --quantization" in done.stderr
