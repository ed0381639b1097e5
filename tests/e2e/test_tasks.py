"""Classifiers of one number, and networks that are none, from the file to the closing table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from ghostedge_runtime import Model

Command = Callable[..., CompletedProcess[str]]
SIDE = 16
PLAIN = ("--mean", "0,0,0", "--std", "1,1,1", "--crop-pct", "1")


def network(path: Path, *ends: tuple[str, list[str], str], **constants: Any) -> Path:
    """The mean of each colour as ``colours``, (1, 3), then ``ends``: op, inputs, output."""
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["light"]),
        helper.make_node("Relu", ["light"], ["lit"]),
        helper.make_node("GlobalAveragePool", ["lit"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["colours"]),
        *(
            helper.make_node(op, inputs, [output], **({"transB": 1} if op == "Gemm" else {}))
            for op, inputs, output in ends
        ),
    ]
    constants["kernel"] = np.eye(3).reshape(3, 3, 1, 1)
    last = ends[-1][2]
    columns = len(constants["weight"])
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, columns])],
        [numpy_helper.from_array(np.float32(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def red_or_blue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve noisy images, a folder for each of two classes; in one of each the other shines."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for label, channel in (("blue", 2), ("red", 0)):
        (root / label).mkdir()
        for index in range(6):
            pixels = rng.integers(0, 90, (SIDE, SIDE, 3))
            pixels[..., 2 - channel if index == 5 else channel] += 30 + 25 * index
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                root / label / f"{index}.png"
            )
    return root


def red_number(path: Path, *, sigmoid: bool) -> Path:
    """One number: how much redder than blue an image is."""
    ends = [("Gemm", ["colours", "weight", "bias"], "z" if sigmoid else "y")]
    ends += [("Sigmoid", ["z"], "y")] if sigmoid else []
    return network(path, *ends, weight=[[9.0, 0.0, -9.0]], bias=[0.0])


def converted(in_process: Command, model: Path, *arguments: object, code: int = 0) -> Any:
    out = model.with_suffix("")
    done = in_process("convert", model, *PLAIN, *arguments, "--json", "-o", out, cwd=model.parent)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def int8(manifest: Any, form: str) -> Any:
    return next(a for a in manifest["artefacts"] if (a["format"], a["precision"]) == (form, "int8"))


def task(manifest: Any) -> str:
    (fact,) = (fact for fact in manifest["inferred"] if fact["name"] == "task")
    return f"{fact['value']} ({fact['origin']})"


@pytest.mark.parametrize("output_type", ["float32", "int8"])
@pytest.mark.parametrize("sigmoid", [True, False])
def test_one_number_for_two_classes_is_scored_named_and_timed(
    in_process: Command, red_or_blue: Path, tmp_path: Path, *, sigmoid: bool, output_type: str
) -> None:
    model = red_number(tmp_path / "m.onnx", sigmoid=sigmoid)
    manifest = converted(
        in_process, model, "--int8", "--calib", red_or_blue, "--eval", red_or_blue,
        "--output-type", output_type,
    )  # fmt: skip
    assert task(manifest) == "classify: 2 classes by one number (from --eval)"
    metadata = manifest["metadata"]
    assert (metadata["binary"], metadata["probabilities"]) == (True, sigmoid)
    assert metadata["labels"] == ["blue", "red"]
    for artefact in manifest["artefacts"]:
        assert artefact["accuracy"]["top1_pct"] == pytest.approx(100 * 10 / 12)
        assert artefact["parity"]["agreement_pct"] == 100.0
        assert artefact["parity"]["within_budget"]
    assert int8(manifest, "onnx")["parity"]["sqnr_db"] > 20
    file = tmp_path / "m" / "m_int8.tflite"
    done = in_process("run", file, red_or_blue / "red" / "3.png", "--json", cwd=tmp_path)
    first, second = json.loads(done.stdout)[0]["classes"]
    assert (first["label"], second["label"]) == ("red", "blue")
    assert first["score"] + second["score"] == pytest.approx(1)
    value = float(Model(tmp_path / "m" / "m.onnx").values(red_or_blue / "red" / "3.png")["y"][0, 0])
    assert first["score"] == pytest.approx(value if sigmoid else 1 / (1 + np.exp(-value)), abs=0.02)


def test_a_sigmoid_is_a_binary_classifier_without_a_word_and_a_logit_is_not(
    in_process: Command, red_or_blue: Path, tmp_path: Path
) -> None:
    for sigmoid, classifies in ((True, True), (False, False)):
        model = red_number(tmp_path / f"m{sigmoid}.onnx", sigmoid=sigmoid)
        manifest = converted(in_process, model)
        assert manifest["metadata"]["classifies"] is classifies
        parity = manifest["artefacts"][1]["parity"]
        assert (parity["agreement_pct"] is None) is not classifies
    done = in_process("convert", model, "--eval", red_or_blue, "--task", "regress", cwd=tmp_path)
    assert done.returncode == 2
    assert "--eval" in done.stderr
    assert "from --task" in done.stderr


@pytest.mark.parametrize("sigmoid", [True, False])
def test_one_number_of_a_quantized_model_is_what_its_float_original_was(
    in_process: Command, red_or_blue: Path, tmp_path: Path, *, sigmoid: bool
) -> None:
    """A QDQ file that is lowered as it is: classes by the metadata, or signal-to-noise."""
    model = red_number(tmp_path / "m.onnx", sigmoid=sigmoid)
    converted(in_process, model, "--int8", "--calib", red_or_blue)
    out = tmp_path / "again"
    done = in_process(
        "convert", tmp_path / "m" / "m_int8.onnx", "--calib", red_or_blue, "--json", "-o", out,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert task(manifest).startswith("classify: 2 classes" if sigmoid else "regress")
    assert manifest["metadata"].get("binary", False) is sigmoid
    assert manifest["metadata"]["probabilities"] is sigmoid
    for artefact in manifest["artefacts"]:
        assert artefact["parity"]["agreement_pct"] == (100.0 if sigmoid else None)
        assert artefact["parity"]["within_budget"]
    assert ("same top-1" in int8(manifest, "tflite")["parity"]["budget"]) is sigmoid


def test_the_guard_holds_one_number_by_its_threshold(
    in_process: Command, red_or_blue: Path, tmp_path: Path
) -> None:
    manifest = converted(
        in_process, red_number(tmp_path / "m.onnx", sigmoid=True), "--int8", "--calib", red_or_blue,
        "--eval", red_or_blue, "--max-drop", "0", "--output-type", "int8",
    )  # fmt: skip
    assert manifest["guard"]["met"]
    assert manifest["guard"]["float_top1_pct"] == pytest.approx(100 * 10 / 12)


def cancelling(path: Path, output: str, rows: list[list[float]], bias: list[float]) -> Path:
    """The small difference of two numbers near 60, of which int8's steps leave nothing."""
    weight, columns = np.float32(rows), len(rows)
    return network(
        path,
        ("Gemm", ["colours", "weight", "far"], "a"),
        ("Gemm", ["colours", "other", "far"], "b"),
        ("Relu", ["a"], "ra"),
        ("Relu", ["b"], "rb"),
        ("Sub", ["ra", "rb"], "d"),
        ("Add", ["d", "bias"], output),
        weight=weight,
        other=-weight,
        far=[60.0] * columns,
        bias=[bias],
    )


def test_one_number_that_int8_destroys_misses_its_budget(
    in_process: Command, red_or_blue: Path, tmp_path: Path
) -> None:
    model = cancelling(tmp_path / "m.onnx", "y", [[0.05, 0.0, -0.05]], [0.0])
    manifest = converted(in_process, model, "--int8", "--calib", red_or_blue, code=3)
    parity = int8(manifest, "onnx")["parity"]
    assert parity["agreement_pct"] is None
    assert parity["sqnr_db"] < 5
    assert not parity["within_budget"]
    assert any("m_int8.onnx" in sentence and "sqnr" in sentence for sentence in manifest["missed"])


def test_a_classifier_whose_scores_int8_destroys_misses_its_budget(
    in_process: Command, red_or_blue: Path, tmp_path: Path
) -> None:
    rows = [[0.02, 0.0, 0.0], [0.0, 0.0, 0.02], [0.05, -0.05, 0.0]]
    model = cancelling(tmp_path / "m.onnx", "logits", rows, [0.01, 0.0, -0.03])
    manifest = converted(in_process, model, "--int8", "--calib", red_or_blue, code=3)
    assert task(manifest).startswith("classify: 3 classes (the output is called 'logits')")
    parity = int8(manifest, "onnx")["parity"]
    assert parity["sqnr_db"] < 10
    assert not parity["within_budget"]
    assert parity["budget"] == "same top-1 on 90 %, sqnr at least 10 dB"


def test_landmarks_go_by_their_name_and_by_what_is_stated(
    in_process: Command, red_or_blue: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    model = network(
        tmp_path / "net.onnx",
        ("Gemm", ["colours", "weight", "bias"], "landmarks"),
        weight=rng.normal(0, 1, (10, 3)),
        bias=rng.normal(0, 1, 10),
    )
    manifest = converted(in_process, model, "--int8", "--calib", red_or_blue)
    assert task(manifest).startswith("regress")
    assert "'landmarks'" in task(manifest)
    assert [a["parity"]["agreement_pct"] for a in manifest["artefacts"]] == [None] * 4
    stated = converted(in_process, model, "--task", "classify")
    assert task(stated) == "classify: 10 classes (from --task)"
    assert stated["arguments"]["task"] == "classify"
    done = in_process("convert", model, "--min-agreement", "90", "--int8", "--calib", red_or_blue)
    assert done.returncode == 2
    assert "--task classify" in done.stderr
