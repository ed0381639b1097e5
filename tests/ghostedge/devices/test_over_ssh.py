"""A whole measurement through a real sshd."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ghostedge.devices import DevicesFailedError, Limits, run_on
from ghostedge_runtime.bench.job import make_job
from ghostedge_runtime.metadata import ModelMetadata
from ghostedge_runtime.model import Model
from ghostedge_runtime.record import BenchJob, Settings

WILD = "-o $(touch wild) 'it`s\"; é.tflite"  # every character that a shell could stumble over


def test_a_device_measures_and_a_second_run_sends_nothing(
    there: Any, quick: BenchJob, short: Limits, listener: Any
) -> None:
    (run,) = run_on([there.word], quick, listener, short)
    assert (run.device, run.command) == (there.word, ("ghostedge", "bench"))
    (result,) = run.results
    assert (result.error, result.case) == (None, quick.cases[0])
    assert result.runs >= 3
    assert result.p50_ms is not None
    assert result.p50_ms.value > 0
    assert run.machine.cores >= 1
    assert there.runs() == []  # the run's folder is gone, the model stays
    assert set(there.files()) == {quick.cases[0].sha256}
    assert "sends 1 of 1 files, 1.7 MB" in listener.text

    before = there.files()
    listener.lines.clear()
    (again,) = run_on([there.word], quick, listener, short)
    assert again.id != run.id
    assert there.files() == before
    assert "sends" not in listener.text


def test_images_keep_their_classes_and_names_may_be_wild(
    there: Any, model: Path, short: Limits, listener: Any, tmp_path: Path
) -> None:
    wild = tmp_path / WILD
    shutil.copy(model, wild)
    with Model(model) as loaded:
        metadata = loaded.metadata
    assert isinstance(metadata, ModelMetadata)
    labels = metadata.labels
    assert labels is not None
    data = tmp_path / "data $HOME"
    for number, label in enumerate(labels[:3]):
        (data / label).mkdir(parents=True)
        if number < 2:  # the third is empty
            Image.new("RGB", (40, 40), (90 * number, 9, 9)).save(data / label / "x 'y'.png")
    settings = Settings(min_seconds=0.05, min_runs=3, max_warmup_seconds=0.05)
    (run,) = run_on([there.word], make_job([wild], data=data, settings=settings), listener, short)
    (result,) = run.results
    assert result.case.model == str(wild)
    assert result.score is not None
    assert result.score.images == 2
    assert run.settings.images == 2
    assert "sends 3 of 3 files" in listener.text
    assert not list(there.cache.rglob("wild"))


def test_a_model_runs_there_with_the_weights_beside_it(
    there: Any, short: Limits, listener: Any, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weights = onnx.numpy_helper.from_array(np.ones((3, 8, 8), np.float32), "w")
    shape = [1, 3, 8, 8]
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in "xy")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])], "g", [x], [y], [weights]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    settings = Settings(min_seconds=0.05, min_runs=3, max_warmup_seconds=0.05)
    job = replace(make_job([path], settings=settings), per_op=True)
    (run,) = run_on([there.word], job, listener, short)
    (result,) = run.results
    assert (result.error, result.case) == (None, job.cases[0])
    assert result.p50_ms is not None
    assert "sends 2 of 2 files" in listener.text
    assert len(there.files()) == 2


def test_a_device_that_fails_is_named_and_the_others_runs_are_kept(
    there: Any, quick: BenchJob, short: Limits, listener: Any
) -> None:
    closed = "ssh://127.0.0.1:1"
    with pytest.raises(DevicesFailedError) as caught:
        run_on([closed, there.word, "local"], quick, listener, short)
    assert [run.device for run in caught.value.runs] == [there.word, "local"]
    assert list(caught.value.failures) == [closed]
    assert str(caught.value).startswith(f"{closed}: it is there but takes no SSH connection")
    assert caught.value.exit_code == 2


def test_a_file_that_no_interpreter_takes_is_named_as_it_is_here(
    there: Any, quick: BenchJob, short: Limits, listener: Any, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    job = make_job([broken], settings=quick.settings)
    with pytest.raises(DevicesFailedError, match=r"broken\.tflite: .* refuses it") as caught:
        run_on([there.word], job, listener, short)
    assert str(tmp_path / "broken.tflite") in str(caught.value)
    assert "/runs/" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert there.runs() == []
