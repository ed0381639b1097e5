"""The articles' four networks, trained for a moment, through the main job to int8.

A moment's training leaves them unsure of most pictures, so two files agree on fewer of them than
trained ones would; what the trained ones reach is in ``examples/articles/README.md``.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ghostedge_runtime.images import list_images

ARTICLES = Path(__file__).resolve().parents[2] / "examples" / "articles"
needs_keras = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("keras", "tensorflow")),
    reason="needs keras and tensorflow (pip install 'ghostedge[keras]')",
)


def run(*arguments: object, may_return: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode in may_return, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def few(cifar_test: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 of the test pictures, a folder per class."""
    root = tmp_path_factory.mktemp("few")
    for path in list_images(cifar_test)[::25]:
        (root / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, root / path.parent.name)
    return root


def train(script: str, *network: str, pictures: Path, few: Path, out: Path) -> Path:
    """Train on 500 pictures; the weights' file."""
    epochs = 8 if network else 2  # Keras's have no batch norm to start them
    options = ("--data", pictures, "--test", few, "--out", out, "--epochs", epochs)
    said = run(ARTICLES / script, *network, *options)
    return Path(said.splitlines()[-1].split(": top-1")[0])


def converted_ops(model: Path, *flags: object, pictures: Path, few: Path) -> Counter[str]:
    """Assert what holds for all four; the operators of the int8 TFLite."""
    out = model.parent / "out"
    sets = ("--int8", "--calib", pictures, "--calib-images", 100, "--eval", few)
    manifest: dict[str, Any] = json.loads(
        run(
            "-m",
            "ghostedge",
            "convert",
            model,
            *flags,
            *sets,
            "-o",
            out,
            "--json",
            may_return=(0, 3),
        )
    )
    onnx, tflite, int8_onnx, int8_tflite = manifest["artefacts"]
    assert onnx["parity"]["max_abs_diff"] < 1e-3
    assert tflite["parity"]["max_abs_diff"] < 1e-4
    assert int8_onnx["accuracy"]["top1_pct"] > onnx["accuracy"]["top1_pct"] - 5
    assert int8_onnx["parity"]["agreement_pct"] > 80
    assert int8_tflite["parity"]["agreement_pct"] > 95
    assert int8_tflite["bytes"] < 0.45 * tflite["bytes"]
    path = out / int8_tflite["file"]
    seen = json.loads(run("-m", "ghostedge", "inspect", path, "--json"))
    ops = Counter({op["op"]: op["count"] for op in seen["ops"]})
    assert ops["TRANSPOSE"] == ops["PADV2"] == 0
    return ops


def test_the_pytorch_network_keeps_its_softmax_attention(
    cifar_calib: Path, few: Path, tmp_path: Path
) -> None:
    model = train("train_torch.py", pictures=cifar_calib, few=few, out=tmp_path)
    factory = f"{ARTICLES / 'torch_networks.py'}:attentive"
    ops = converted_ops(model, "--factory", factory, pictures=cifar_calib, few=few)
    assert (ops["SOFTMAX"], ops["MAX_POOL_2D"], ops["CONCATENATION"]) == (3, 5, 6)


@needs_keras
def test_parallel_streams_are_flattened_into_a_dense_layer(
    cifar_calib: Path, few: Path, tmp_path: Path
) -> None:
    model = train("train_keras.py", "parallel_streams", pictures=cifar_calib, few=few, out=tmp_path)
    ops = converted_ops(model, pictures=cifar_calib, few=few)
    assert (ops["CONV_2D"], ops["MAX_POOL_2D"], ops["FULLY_CONNECTED"]) == (9, 6, 2)
    assert ops["DEQUANTIZE"] == 2  # of the pixels and the logits


@needs_keras
def test_a_layer_class_needs_its_code(cifar_calib: Path, few: Path, tmp_path: Path) -> None:
    model = train("train_keras.py", "added_streams", pictures=cifar_calib, few=few, out=tmp_path)
    code = ARTICLES / "keras_networks.py"
    ops = converted_ops(model, "--custom-objects", code, pictures=cifar_calib, few=few)
    assert (ops["CONV_2D"], ops["MAX_POOL_2D"], ops["ADD"]) == (9, 9, 4)  # one takes the mean off
    assert ops["MUL"] == 0  # batch norm is in the convolutions


@needs_keras
def test_the_keras_network_keeps_its_softmax_attention(
    cifar_calib: Path, few: Path, tmp_path: Path
) -> None:
    model = train("train_keras.py", "attentive", pictures=cifar_calib, few=few, out=tmp_path)
    ops = converted_ops(model, pictures=cifar_calib, few=few)
    assert (ops["SOFTMAX"], ops["MAX_POOL_2D"], ops["CONCATENATION"]) == (3, 5, 6)
