from __future__ import annotations

import onnx
import pytest

from ghostedge_convert import embed_onnx_metadata, read_onnx_metadata
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.metadata import (
    METADATA_KEY,
    ArchitectureInfo,
    InputSpec,
    ModelMetadata,
    Preprocessing,
    Source,
)

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
