"""Every kind of file, as ONNX and TFLite, against TensorFlow and against its own conversion."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from ghostedge_convert import lower_to_tflite, to_deploy_graph
from ghostedge_convert.sources.keras.process import RemoteKeras
from ghostedge_convert.sources.rescaling import without_rescaling
from ghostedge_runtime import Model

SIZES = {"flattened": (48, 32)}
FILES = [
    "ghostnet.keras",
    "ghostnet.h5",
    "ghostnet",
    "flattened.keras",
    "flattened",
    "gates.keras",
    "gates",
    "pyramid.keras",
    "pyramid",
]


@pytest.fixture(scope="module")
def opened(keras_models):
    """Models by file name, each loaded and exported once."""
    made = {}

    def load(name):
        if name not in made:
            remote = RemoteKeras(keras_models / name)
            size = SIZES.get(name.split(".")[0], (64, 64))
            made[name] = (remote, remote.export(input_size=size, batch=1))
        return made[name]

    yield load
    for remote, _ in made.values():
        remote.close()


def run_onnx(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    rows = [session.run(None, {"input": image[None]}) for image in images]
    return {n: np.concatenate(c) for n, c in zip(names, zip(*rows, strict=True), strict=True)}


def outputs_of(found, prefix=""):
    return {
        name.removeprefix(prefix): value
        for name, value in found.items()
        if name != "images" and name.startswith("tflite_") == bool(prefix)
    }


@pytest.mark.parametrize("name", FILES)
def test_the_deploy_graph_agrees_with_tensorflow_and_its_own_conversion(opened, answers, name):
    found = answers(name.split(".")[0])
    rescaling = without_rescaling(opened(name)[1])
    factor, term = (np.reshape(v, (1, 3, 1, 1)) for v in (rescaling.factor, rescaling.term))
    images = (found["images"] * factor + term).astype(np.float32)
    mine = run_onnx(to_deploy_graph(rescaling.model).model, images)
    for theirs in (outputs_of(found), outputs_of(found, "tflite_")):
        assert mine.keys() == theirs.keys()
        for output, values in theirs.items():
            assert np.ptp(values) > 0.01, "the answers are to differ"
            np.testing.assert_allclose(mine[output], values, atol=1e-4, err_msg=output)


@pytest.mark.parametrize("name", FILES)
def test_no_transpose_pad_or_rescaling_is_left(opened, name):
    graph = to_deploy_graph(without_rescaling(opened(name)[1]).model).model.graph
    ops = {node.op_type for node in graph.node}
    allowed = {"Pad"} if name.startswith("flattened") else set()  # asymmetric, before a stride
    assert not (ops & {"Transpose", "Pad", "Sub", "Div", "Expand", "Shape"}) - allowed
    assert "Conv" in ops


@pytest.mark.parametrize("name", ["ghostnet.keras", "ghostnet.h5", "ghostnet", "flattened"])
def test_the_models_own_rescaling_is_taken_out(opened, name):
    rescaling = without_rescaling(opened(name)[1])
    assert rescaling.present
    if name.startswith("ghostnet"):
        np.testing.assert_allclose(
            rescaling.normalization([0.0] * 3, [1 / 255] * 3), 0.5, rtol=1e-6
        )


@pytest.mark.parametrize("name", ["ghostnet.keras", "ghostnet", "flattened.keras", "gates.keras"])
def test_the_tflite_file_agrees_with_tensorflow(opened, answers, tmp_path, name):
    found = answers(name.split(".")[0])
    rescaling = without_rescaling(opened(name)[1])
    path = tmp_path / "model.tflite"
    path.write_bytes(lower_to_tflite(to_deploy_graph(rescaling.model).model).data)
    images = found["images"].transpose(0, 2, 3, 1)
    images = (images * np.array(rescaling.factor) + np.array(rescaling.term)).astype(np.float32)
    with Model(path) as model:
        np.testing.assert_allclose(model.predict(images), found["logits"], atol=1e-3)


@pytest.mark.parametrize("name", ["ghostnet.keras", "flattened", "pyramid.keras"])
def test_the_model_itself_answers_as_tensorflow_does(opened, answers, name):
    remote, exported = opened(name)
    found = answers(name.split(".")[0])
    mine = remote.answers(found["images"])
    theirs = outputs_of(found)
    for output, values in zip(exported.graph.output, mine, strict=True):
        np.testing.assert_allclose(values, theirs[output.name], atol=1e-4)


def test_nodes_are_named_after_keras_layers(opened):
    names = [node.name for node in opened("ghostnet.keras")[1].graph.node]
    assert "rescaling/Mul" in names
    assert any(name.startswith("separable_conv2d/Conv") for name in names)
    assert any(name.startswith("dense/") for name in names)


def test_exporting_twice_gives_the_same_bytes(opened):
    remote, first = opened("flattened")
    again = remote.export(input_size=(48, 32), batch=1)
    assert again.SerializeToString() == first.SerializeToString()


def test_a_batch_is_fixed_in_the_graph(opened):
    remote, _ = opened("pyramid.keras")
    exported = remote.export(input_size=(64, 64), batch=3)
    shapes = [
        [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*exported.graph.input, *exported.graph.output)
    ]
    assert shapes == [[3, 3, 64, 64], [3, 8, 32, 32], [3, 4]]


def test_what_keras_says_of_itself_is_told(opened):
    facts = opened("pyramid.keras")[0].facts
    assert facts.input_size == (64, 64)
    assert facts.in_channels == 3
    assert facts.outputs == ("maps", "scores")
