"""Float files of networks with other outputs than one row of logits: ONNX, TFLite, the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from ghostedge_convert import lower_to_tflite
from ghostedge_runtime import Model
from ghostedge_runtime.errors import ModelFileError


@pytest.fixture(scope="module")
def files(example, write) -> tuple[Path, Path]:
    return write(example.case, example.deploy)


def test_the_runtime_gives_every_output_under_its_name_in_both_formats(
    example, files, channels_first
):
    image = example.files[5]
    wanted = example.answers(example.images[5:6])
    onnx_values, tflite_values = (Model(path).values(image) for path in files)
    assert list(onnx_values) == list(tflite_values) == list(example.case.outputs)
    for name, values in wanted.items():
        bound = 1e-4 * np.abs(values).max()
        assert np.abs(onnx_values[name] - values).max() <= bound
        assert np.abs(channels_first(tflite_values[name]) - values).max() <= bound


def test_predict_gives_a_dict_where_there_are_several_and_an_array_for_one(example, files):
    for path in files:
        model = Model(path)
        found = model.predict(example.files[0])
        if len(example.case.outputs) == 1:
            assert isinstance(found, np.ndarray)
            assert found.shape == model.io.outputs[0].shape
        else:
            assert list(found) == list(example.case.outputs)
            assert [v.shape for v in found.values()] == [t.shape for t in model.io.outputs]


def test_the_signature_has_the_names_and_the_input_keeps_its_sides(example, files):
    interpreter = Interpreter(model_path=str(files[1]))
    (signature,) = interpreter.get_signature_list().values()
    assert signature["inputs"] == ["input"]
    assert sorted(signature["outputs"]) == sorted(example.case.outputs)
    assert [d["name"] for d in interpreter.get_output_details()] == list(example.case.outputs)
    height, width = example.case.size
    (source,) = interpreter.get_input_details()
    assert source["shape"].tolist() == [1, height, width, example.case.channels]


def test_the_layouts_say_which_outputs_are_channels_last(example):
    lowered = lower_to_tflite(example.deploy)
    for name, shape in example.case.outputs.items():
        last = (0, 2, 3, 1) if len(shape) == 4 else tuple(range(len(shape)))
        assert lowered.output_layouts[name] == last


def test_a_network_that_is_no_classifier_says_so_when_asked_for_a_class(example, files):
    model = Model(files[0])
    if example.case.name == "embedder":  # one row of numbers is all that a classifier is known by
        return
    with pytest.raises(ModelFileError, match="not a classifier") as caught:
        model.classify(example.files[0])
    assert all(name in str(caught.value) for name in example.case.outputs)
    assert "predict()" in str(caught.value)


def test_an_embedding_is_one_long_and_a_row_of_scores_lies_between_nought_and_one(example, files):
    for path in files:
        values = Model(path).values(example.files[2])
        if "embedding" in values:
            assert np.linalg.norm(values["embedding"]) == pytest.approx(1, abs=1e-5)
        if "scores" in values:
            assert 0 <= values["scores"].min() < values["scores"].max() <= 1
