"""Layers of small networks, an output each, from Keras's files to float and int8."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from ghostedge_convert import lower_to_tflite, to_deploy_graph
from ghostedge_convert.sources.keras.process import RemoteKeras
from ghostedge_quantize import Int8Settings, prepare

MODELS = ("activations", "decoder", "tokens")
FILES = [f"{name}{kind}" for name in MODELS for kind in (".keras", "")]
LEAST_INT8_DB = 20.0
"""Measured: 24.9 (rms_norm) to 52."""


@pytest.fixture(scope="module", params=FILES)
def model(request, keras_models, answers):
    """Name, deploy graph, images [N, 3, 48, 32] and TensorFlow's answers by output."""
    name = request.param.partition(".")[0]
    with closing(RemoteKeras(keras_models / request.param)) as remote:
        exported = remote.export(input_size=(48, 32), batch=1)
    found = answers(name)
    images = found.pop("images")
    return request.param, to_deploy_graph(exported).model, images, found


def by_onnx_runtime(graph, images):
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    rows = [session.run(None, {"input": image[None]}) for image in images]
    return {n: np.concatenate(c) for n, c in zip(names, zip(*rows, strict=True), strict=True)}


def by_tflite(graph, images):
    lowered = lower_to_tflite(graph)
    interpreter = Interpreter(model_content=bytes(lowered.data), num_threads=1)
    interpreter.allocate_tensors()
    (source,), ends = interpreter.get_input_details(), interpreter.get_output_details()
    found = {end["name"]: [] for end in ends}
    for image in images:
        last = np.ascontiguousarray(image.transpose(1, 2, 0)[None])
        interpreter.set_tensor(source["index"], last)
        interpreter.invoke()
        for end in ends:
            order = np.argsort(lowered.output_layouts[end["name"]])
            found[end["name"]].append(interpreter.get_tensor(end["index"]).transpose(order))
    return {name: np.concatenate(rows) for name, rows in found.items()}


@pytest.mark.parametrize("run", [by_onnx_runtime, by_tflite])
def test_every_layer_answers_as_tensorflow_does(model, run):
    _, graph, images, answers = model
    found = run(graph, images)
    assert found.keys() == answers.keys()
    for name, wanted in answers.items():
        bound = 1e-3 * max(1, np.abs(wanted).max())
        np.testing.assert_allclose(found[name], wanted, rtol=0, atol=bound, err_msg=name)


@pytest.mark.parametrize("model", [f"{name}.keras" for name in MODELS], indirect=True)
def test_every_layer_keeps_its_signal_in_int8(model):
    """Of the .keras files: a SavedModel's graph computes the same function."""
    _, graph, images, answers = model
    batches = [image[None] for image in images]
    integer = prepare(graph, batches, Int8Settings(), preprocessing=None).qdq()
    found = by_tflite(integer, images)
    ratios = {
        name: 10 * np.log10(np.square(wanted).sum() / np.square(found[name] - wanted).sum())
        for name, wanted in answers.items()
    }
    assert min(ratios.values()) >= LEAST_INT8_DB, sorted(ratios.items(), key=lambda r: r[1])[:5]


@pytest.mark.parametrize("model", ["decoder.keras", "decoder"], indirect=True)
def test_layers_of_a_single_kernel_stay_single(model):
    _, graph, _, _ = model
    ops = [node.op_type for node in graph.graph.node]
    assert ops.count("DepthToSpace") == 7  # of a transposed convolution's phases
    assert ops.count("Resize") == 4
    assert not {"Expand", "Tile"} & set(ops)
