from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from ghostedge_convert import embed_onnx_metadata, export_onnx, read_onnx_metadata, to_deploy_graph
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.metadata import InputSpec, ModelMetadata, Preprocessing

DEPLOY_OPS = Counter(
    Conv=95, Relu=42, Concat=32, Add=16, GlobalAveragePool=8, Clip=7, Mul=7, Flatten=1, Gemm=1
)


@pytest.fixture(scope="module")
def exported(trained_module):
    return export_onnx(trained_module, input_size=(64, 64))


@pytest.fixture(scope="module")
def deployed(exported):
    return to_deploy_graph(exported)


def test_a_ghostnet_is_made_of_nine_kinds_of_node(deployed):
    assert Counter(node.op_type for node in deployed.model.graph.node) == DEPLOY_OPS


def test_every_pass_tells_what_it_did(deployed):
    edits = {note.name: note.edits for note in deployed.applied}
    assert edits["fold_batch_norm"] == 80
    assert edits["fold_hard_sigmoid_gate"] == 7
    assert edits["use_global_average_pool"] == 8
    assert all(note.note for note in deployed.applied)


def test_the_gate_as_huawei_writes_it_gives_the_same_graph(
    trained_module, trained_pixels, deployed, run, monkeypatch
):
    monkeypatch.setattr(functional, "hardsigmoid", lambda x: functional.relu6(x + 3.0) / 6.0)
    exported = export_onnx(trained_module, input_size=(64, 64))
    assert "Div" in {node.op_type for node in exported.graph.node}
    spelled_out = to_deploy_graph(exported).model
    assert Counter(node.op_type for node in spelled_out.graph.node) == DEPLOY_OPS
    images = trained_pixels[:20]
    difference = run(spelled_out, images) - run(deployed.model, images)
    assert np.abs(difference).max() <= 1e-5


def test_logits_of_the_trained_network_are_kept_on_real_images(
    deployed, trained, trained_module, trained_pixels, run
):
    images = trained_pixels[::4]
    with torch.no_grad():
        expected = trained_module(torch.from_numpy(images)).numpy()
    assert len(images) == (100 if len(trained.labels) == 10 else 99)  # as many of each class
    assert np.abs(run(deployed.model, images) - expected).max() <= 1e-4


@pytest.mark.parametrize("width", [0.5, 1.0, 1.3])
def test_logits_are_kept_on_photos_at_every_width(width, plausible, photos_224, run):
    network = plausible(width)
    deployed = to_deploy_graph(export_onnx(network, input_size=(224, 224)))
    images = np.concatenate([photos_224, photos_224[:16, :, :, ::-1]])
    with torch.no_grad():
        expected = np.concatenate(
            [network(part).numpy() for part in torch.split(torch.from_numpy(images.copy()), 20)]
        )
    assert expected.std() > 1
    assert np.abs(run(deployed.model, images) - expected).max() <= 1e-4
    assert Counter(node.op_type for node in deployed.model.graph.node) == DEPLOY_OPS


def test_every_tensor_has_its_static_shape_inside(deployed, trained):
    graph = deployed.model.graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    for node in graph.node:
        assert min(shapes[node.output[0]]) > 0, node.name
    assert shapes["blocks.0.0.ghost1/Concat"] == [1, int(16 * trained.width), 32, 32]


def test_the_input_model_is_left_as_it_was(exported):
    before = exported.SerializeToString()
    to_deploy_graph(exported)
    assert exported.SerializeToString() == before


def test_deploying_twice_gives_the_same_bytes(exported, deployed):
    assert to_deploy_graph(exported).model.SerializeToString() == deployed.model.SerializeToString()


def test_a_deploy_graph_is_left_as_it_is(deployed):
    again = to_deploy_graph(deployed.model)
    assert sum(note.edits for note in again.applied) == 0
    assert again.model.graph.node == deployed.model.graph.node


def test_metadata_survives_the_passes(exported):
    metadata = ModelMetadata(Preprocessing(), InputSpec("NCHW", "float32", normalized=True))
    result = to_deploy_graph(embed_onnx_metadata(exported, metadata))
    assert read_onnx_metadata(result.model) == metadata


def test_an_invalid_model_is_refused():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[1] x) => (float[1] y) { y = Relu(x) }'
    )
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ModelFileError, match="not a valid ONNX model"):
        to_deploy_graph(model)
