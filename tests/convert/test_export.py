from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from ghostedge_convert import embed_onnx_metadata, export_onnx, read_onnx_metadata
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_runtime.errors import InputError, ModelFileError
from ghostedge_runtime.metadata import (
    METADATA_KEY,
    ArchitectureInfo,
    InputSpec,
    ModelMetadata,
    Preprocessing,
    Source,
)


@pytest.fixture(scope="module")
def exported(trained_module):
    return export_onnx(trained_module, input_size=(64, 64))


def shape_of(value):
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_input_and_output_are_static_and_named(exported, trained):
    (source,), (result,) = exported.graph.input, exported.graph.output
    assert (source.name, shape_of(source)) == ("input", [1, 3, 64, 64])
    assert (result.name, shape_of(result)) == ("logits", [1, len(trained.labels)])
    assert [(o.domain, o.version) for o in exported.opset_import] == [("", 18)]


def test_the_exported_graph_computes_what_the_module_does(
    exported, trained_module, trained_pixels, run
):
    images = trained_pixels[::20]
    with torch.no_grad():
        expected = trained_module(torch.from_numpy(images)).numpy()
    assert np.abs(run(exported, images) - expected).max() <= 1e-4


def test_nodes_and_weights_are_named_after_the_modules(exported):
    names = {node.name: node.op_type for node in exported.graph.node}
    assert len(names) == len(exported.graph.node)
    assert names["conv_stem/Conv"] == "Conv"
    assert names["blocks.3.0.ghost1.primary_conv.0/Conv"] == "Conv"
    assert names["blocks.3.0.se/Mul"] == "Mul"
    assert names["classifier/Gemm"] == "Gemm"
    weights = {weight.name for weight in exported.graph.initializer}
    assert "blocks.8.3.se.conv_expand.weight" in weights


def test_exporting_twice_gives_the_same_bytes(exported, trained_module):
    again = export_onnx(trained_module, input_size=(64, 64))
    assert again.SerializeToString() == exported.SerializeToString()


def test_nothing_tells_of_the_machine(exported):
    data = exported.SerializeToString()
    assert b".py" not in data
    assert b"pkg.torch" not in data
    assert not exported.doc_string
    assert not exported.graph.doc_string


def test_the_exporter_says_nothing(capfd):
    export_onnx(torch.nn.Conv2d(3, 4, 1).eval(), input_size=(8, 8))
    assert capfd.readouterr() == ("", "")


def test_batch_and_channels_are_those_asked_for():
    model = export_onnx(torch.nn.Conv2d(2, 4, 1).eval(), input_size=(6, 5), batch=3, in_channels=2)
    assert shape_of(model.graph.input[0]) == [3, 2, 6, 5]
    assert shape_of(model.graph.output[0]) == [3, 4, 6, 5]
    onnx.checker.check_model(model, full_check=True)


def test_a_module_in_training_mode_is_refused():
    with pytest.raises(InputError, match="training mode"):
        export_onnx(GhostNet(num_classes=2), input_size=(32, 32))


@pytest.mark.parametrize("sizes", [{"input_size": (0, 32)}, {"input_size": (32, 32), "batch": 0}])
def test_an_input_without_elements_is_refused(sizes):
    with pytest.raises(InputError, match="no elements"):
        export_onnx(torch.nn.Identity().eval(), **sizes)


class CalledTwice(torch.nn.Module):
    """A convolution without bias whose results, of two inputs, are split."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, 1, bias=False)

    def forward(self, x):
        first, second = torch.split(self.conv(x) + self.conv(-x + 1), [2, 3], dim=1)
        return torch.cat([second, first], 1)


def test_a_module_that_is_called_twice_has_names_for_both(run):
    network = CalledTwice().eval()
    model = export_onnx(network, input_size=(4, 6))
    names = [name for node in model.graph.node for name in node.output]
    names += [weight.name for weight in model.graph.initializer]
    assert len(names) == len(set(names))
    image = np.random.default_rng(0).normal(size=(1, 3, 4, 6)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(run(model, image), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("resize", "arguments"),
    [
        (torch.ops.aten.upsample_bilinear2d.default, ([7, 9], False)),
        (torch.ops.aten.upsample_bilinear2d.default, ([8, 12], True, 2.0, 2.0)),
        (torch.ops.aten.upsample_bicubic2d.default, ([8, 12], False)),
        (torch.ops.aten._upsample_nearest_exact2d.default, ([7, 13],)),
        (torch.ops.aten._upsample_nearest_exact2d.vec, (None, [1.75, 2.3])),
    ],
)
def test_a_resize_is_exported_in_the_form_that_torchscript_holds_too(run, resize, arguments):
    class Resize(torch.nn.Module):
        def forward(self, x):
            return resize(x, *arguments)

    model = export_onnx(Resize().eval(), input_size=(4, 6))
    assert [node.op_type for node in model.graph.node] == ["Resize"]
    image = np.random.default_rng(0).normal(size=(1, 3, 4, 6)).astype(np.float32)
    expected = resize(torch.from_numpy(image), *arguments).numpy()
    np.testing.assert_allclose(run(model, image), expected, atol=1e-5)


METADATA = ModelMetadata(
    preprocessing=Preprocessing(input_size=(64, 48), interpolation="bicubic"),
    input=InputSpec("NCHW", "float32", normalized=True),
    architecture=ArchitectureInfo("ghostnet_100", "ghostnet", 1.0, 3),
    labels=("cat", "naïve 犬", "dog"),
    source=Source("model.pt", "00" * 32),
    producer="ghostedge 0.1.0",
)


@pytest.fixture
def model():
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[1] x) => (float[1] y) { y = Relu(x) }'
    )


def test_what_is_embedded_is_read_back(model):
    assert read_onnx_metadata(embed_onnx_metadata(model, METADATA)) == METADATA


def test_a_model_without_metadata_reads_as_none(model):
    assert read_onnx_metadata(model) is None


def test_embedding_copies_the_model_and_replaces_what_it_had(model):
    model.metadata_props.add(key="author", value="somebody")
    once = embed_onnx_metadata(model, METADATA)
    twice = embed_onnx_metadata(once, METADATA)
    assert [entry.key for entry in model.metadata_props] == ["author"]
    assert [entry.key for entry in twice.metadata_props] == ["author", METADATA_KEY]
    onnx.checker.check_model(twice, full_check=True)


def test_broken_metadata_is_an_error_that_names_the_file(model):
    model.metadata_props.add(key=METADATA_KEY, value="{")
    with pytest.raises(ModelFileError, match=r"net\.onnx"):
        read_onnx_metadata(model, where="net.onnx")
