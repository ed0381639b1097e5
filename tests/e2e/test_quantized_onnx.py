"""``ghostedge convert model_qdq.onnx``: another tool's model, lowered and held against it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import ghostedge
from ghostedge.records.manifest import Manifest
from ghostedge_runtime import Model
from ghostedge_runtime.errors import InputError, ModelFileError, UnsupportedOpError
from ghostedge_runtime.images import list_images

MODELS = Path(__file__).parents[1] / "convert" / "qdq_in" / "data"


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "ghostedge", "convert", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def lowered(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return ghostedge.convert(
        MODELS / "nncf_mixed.onnx",
        calib=pictures,
        calib_images=24,
        mean=(0.5, 0.5, 0.5),
        output=tmp_path_factory.mktemp("lowered") / "out",
    )


def test_the_artefacts_are_the_source_explained_and_its_tflite(lowered: Manifest) -> None:
    assert [a.file for a in lowered.artefacts] == ["nncf_mixed_int8.onnx", "nncf_mixed_int8.tflite"]
    own, tflite = lowered.artefacts
    assert own.parity.reference == "nncf_mixed.onnx"
    assert own.parity.max_abs_diff == 0
    assert tflite.parity.reference == own.file
    assert tflite.parity.images == 24
    assert tflite.parity.agreement_pct >= 95
    assert tflite.parity.max_abs_diff < 0.05
    assert (own.inputs[0].dtype, own.inputs[0].shape) == ("float32", (1, 3, 32, 32))
    assert (tflite.inputs[0].dtype, tflite.inputs[0].shape) == ("float32", (1, 32, 32, 3))


def test_preprocessing_that_nobody_stated_is_printed_as_inferred(lowered: Manifest) -> None:
    origins = {fact.name: fact.origin for fact in lowered.inferred}
    assert origins["mean"] == "from --mean"
    assert origins["input_size"] == "from the graph's input"
    assert "family's ImageNet default" in origins["std"]


def test_the_notes_say_what_was_done_and_what_stays_float(lowered: Manifest) -> None:
    notes = " ".join(lowered.notes)
    assert "2 activations with a scale per channel given one" in notes
    assert "stay float: " in notes
    assert "requantized" not in notes


def test_both_files_run_alone(lowered: Manifest, pictures: Path) -> None:
    """The metadata travels inside, so an app needs nothing else."""
    picture = list_images(pictures)[0]
    logits = []
    for artefact in lowered.artefacts:
        with Model(lowered.folder / artefact.file) as model:
            assert model.metadata is not None
            assert model.metadata.source is not None
            assert model.metadata.source.file == "nncf_mixed.onnx"
            logits.append(model.logits(model.preprocess(picture)))
    assert np.abs(logits[0] - logits[1]).max() < 0.05


def test_equal_models_give_equal_files(lowered: Manifest, pictures: Path, tmp_path: Path) -> None:
    again = ghostedge.convert(
        MODELS / "nncf_mixed.onnx",
        calib=pictures,
        calib_images=24,
        mean=(0.5, 0.5, 0.5),
        output=tmp_path / "out",
    )
    assert [a.sha256 for a in again.artefacts] == [a.sha256 for a in lowered.artefacts]


def test_what_tflite_cannot_hold_is_refused_and_nothing_written(tmp_path: Path) -> None:
    done = command(MODELS / "pt2e_x86.onnx", "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "node 'node_conv2d' (Conv): a weight of -128 steps" in done.stderr
    assert "--requantize" in done.stderr
    assert not (tmp_path / "out").exists()


def test_requantizing_states_the_loss_of_each_tensor(tmp_path: Path) -> None:
    done = command(MODELS / "nncf_mixed.onnx", "--requantize", "--json", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (note,) = [n for n in document["notes"] if n.startswith("requantized")]
    assert note in done.stderr
    assert note.startswith("requantized 'cat_1' (node 'node_cat_1': a concat of parts")
    largest = float(note.split("largest difference ")[1].split(",")[0])
    assert 0 < largest < 0.05  # half a step of the wider part
    assert "nncf_mixed_int8.tflite: against nncf_mixed_int8.onnx largest difference" in done.stderr
    assert " on 16 images; the budget is same top-1 on 90 %, sqnr at least" in done.stderr


def test_a_model_of_our_own_keeps_its_preprocessing_and_labels(
    converted: Manifest, trained: Any, trained_test: Path, tmp_path: Path
) -> None:
    """int8 ONNX that an earlier conversion wrote takes raw pixels; its metadata says so."""
    again = ghostedge.convert(
        converted.folder / "model_int8.onnx",
        calib=trained_test,
        calib_images=50,
        output=tmp_path / "out",
    )
    assert again.name == "model"
    assert again.missed == ()
    inside = again.metadata
    assert inside["preprocessing"] == dict(converted.metadata["preprocessing"])
    assert inside["input"] == {"dtype": "uint8", "layout": "NHWC", "normalized": False}
    assert tuple(inside["labels"]) == trained.labels
    ours = (converted.folder / "model_int8.tflite").stat().st_size
    assert again.artefacts[1].bytes == pytest.approx(ours, rel=0.01)


@pytest.mark.parametrize(
    ("changed", "flag"),
    [({"width": 0.5}, "--width"), ({"arch": "ghostnet_100"}, "--arch"), ({"ema": True}, "--ema")],
)
def test_flags_of_checkpoints_are_refused(changed: dict[str, object], flag: str) -> None:
    with pytest.raises(InputError) as refused:
        ghostedge.convert(MODELS / "pt2e_per_tensor.onnx", output="unused", **changed)  # type: ignore[arg-type] - one keyword at a time
    assert refused.value.where == flag


def test_requantizing_a_checkpoint_is_refused(trained_checkpoint: Path) -> None:
    with pytest.raises(InputError, match="--requantize"):
        ghostedge.convert(trained_checkpoint, requantize=True, output="unused")


def test_a_broken_model_is_refused(tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes((MODELS / "pt2e_x86.onnx").read_bytes()[:5000])
    with pytest.raises(ModelFileError, match="cut"):
        ghostedge.convert(cut, output=tmp_path / "out")


def test_a_batch_that_the_model_leaves_open_is_fixed(tmp_path: Path) -> None:
    model = onnx.load(MODELS / "pt2e_per_channel.onnx")
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    for constant in model.graph.initializer:
        data = onnx.numpy_helper.to_array(constant)
        if data.shape == (2,) and data.tolist() == [1, 32]:  # a Reshape's target
            constant.CopyFrom(onnx.numpy_helper.from_array(np.asarray([-1, 32]), constant.name))
    onnx.save(model, tmp_path / "open.onnx")
    found = ghostedge.convert(tmp_path / "open.onnx", batch=3, output=tmp_path / "out")
    assert found.artefacts[1].inputs[0].shape == (3, 32, 32, 3)
    assert found.artefacts[1].outputs[0].shape == (3, 10)
    assert "dynamic input fixed to [3, 3, 32, 32]" in found.notes


def test_an_op_outside_the_table_is_named(tmp_path: Path) -> None:
    model = onnx.load(MODELS / "pt2e_per_channel.onnx")
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Hardmax"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(UnsupportedOpError, match="Hardmax"):
        ghostedge.convert(tmp_path / "odd.onnx", output=tmp_path / "out")
