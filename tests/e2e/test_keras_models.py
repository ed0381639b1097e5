"""Keras models through the main job, as a person types it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ghostedge_runtime import Model
from ghostedge_runtime.images import list_images, prepare
from ghostedge_runtime.metadata import Preprocessing

MAKE = Path(__file__).parents[1] / "convert" / "sources" / "keras" / "make_models.py"


def ghostedge(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ghostedge", *map(str, arguments)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def made(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GhostNet as ``.keras``, ``.h5`` and SavedModel, and TensorFlow's answers."""
    missing = [n for n in ("keras", "tensorflow") if importlib.util.find_spec(n) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}: pip install 'ghostedge[keras]'")
    folder = tmp_path_factory.mktemp("keras")
    square = Preprocessing(input_size=(64, 64), crop_pct=1.0)
    images = np.stack([prepare(file, square) for file in list_images(pictures)[:4]])
    np.savez(folder / "images.npz", **{"64x64": images})
    done = subprocess.run(
        [sys.executable, MAKE, folder, folder / "images.npz", "ghostnet"],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def check_files(folder: Path, made: Path, pictures: Path) -> None:
    """The float files give Keras's probabilities for the pictures, from the files themselves."""
    expected = np.load(made / "ghostnet.npz")["logits"]
    for file in ("ghostnet.onnx", "ghostnet.tflite"):
        with Model(folder / file) as model:
            for path, row in zip(list_images(pictures)[:4], expected, strict=True):
                scores = {each.index: each.score for each in model.classify(path, top_k=10)}
                np.testing.assert_allclose([scores[i] for i in range(10)], row, atol=1e-3)


def test_a_keras_file_goes_all_the_way_to_int8(made: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = ghostedge(
        "convert", made / "ghostnet.keras", "--int8", "--calib", pictures, "--json", "-o", out
    )
    assert done.returncode == 0, done.stderr
    assert "mean: 0.5, 0.5, 0.5 (from the model's own first layers, which take 0 to 255)" in (
        done.stderr
    )
    assert "output is probabilities" in done.stderr
    document = json.loads(done.stdout)
    names = [artefact["file"] for artefact in document["artefacts"]]
    assert names == [
        f"ghostnet{precision}.{kind}" for precision in ("", "_int8") for kind in ("onnx", "tflite")
    ]
    assert all(artefact["parity"]["within_budget"] for artefact in document["artefacts"])
    assert document["artefacts"][0]["parity"]["reference"] == "Keras model"
    check_files(out, made, pictures)


def test_a_saved_model_goes_the_same_way(made: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = ghostedge("convert", made / "ghostnet", "-o", out)
    assert done.returncode == 0, done.stderr
    assert "Keras model (SavedModel)" in done.stderr
    check_files(out, made, pictures)


def test_an_h5_file_is_converted_whatever_keras_backend_the_user_has_set(
    made: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = ghostedge(
        "convert", made / "ghostnet.h5", "-o", out, "--input-size", "64", KERAS_BACKEND="tensorflow"
    )
    assert done.returncode == 0, done.stderr
    check_files(out, made, pictures)


@pytest.mark.parametrize(
    ("file", "flags", "words"),
    [
        ("ghostnet.keras", ["--input-size", "32"], "the model takes 64×64 images, not 32×32"),
        ("ghostnet.keras", ["--arch", "ghostnet_100"], "has no effect on it"),
        ("ghostnet.keras", ["--mean", "0.5"], "the network takes 3 channels"),
        ("ghostnet", ["--custom-objects", "x.py"], "has no effect on it"),
        ("absent.keras", [], "no such file"),
    ],
)
def test_what_contradicts_the_model_ends_with_status_2(
    made: Path, tmp_path: Path, file: str, flags: list[str], words: str
) -> None:
    done = ghostedge("convert", made / file, *flags, "-o", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_custom_objects_are_of_no_use_to_a_checkpoint(
    example_checkpoint: Path, tmp_path: Path
) -> None:
    flags = ["--custom-objects", "x.py", "-o", tmp_path / "out"]
    done = ghostedge("convert", example_checkpoint, *flags)
    assert done.returncode == 2
    assert "MODEL is no Keras model" in done.stderr


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved"])
def test_inspecting_a_keras_model_points_to_converting_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix:
        path.write_bytes(b"")
    else:
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"")
    done = ghostedge("inspect", path)
    assert done.returncode == 2
    assert "convert it, and inspect the .onnx or .tflite" in " ".join(done.stderr.split())
