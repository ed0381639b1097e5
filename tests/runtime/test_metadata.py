"""What a file says of its outputs and labels, read by this version and written by older ones."""

from __future__ import annotations

import json

import pytest

from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.metadata import (
    InputSpec,
    ModelMetadata,
    OutputQuantization,
    Preprocessing,
    QuantizationInfo,
)

BOXES, SCORES = OutputQuantization("boxes", 0.5, -3), OutputQuantization("scores", 1 / 256, -128)


def described(*outputs: OutputQuantization) -> ModelMetadata:
    return ModelMetadata(
        Preprocessing(),
        InputSpec("NHWC", "uint8", normalized=False),
        quantization=QuantizationInfo("auto", 8, "int8", outputs=outputs),
    )


def test_each_output_keeps_its_scale_and_zero_point_through_json() -> None:
    metadata = described(BOXES, SCORES)
    again = ModelMetadata.from_json(metadata.to_json())
    assert again == metadata
    assert again.quantization is not None
    assert again.quantization.of_output("scores") == (1 / 256, -128)
    assert again.quantization.of_output("boxes") == (0.5, -3)
    assert again.quantization.of_output("other") == (None, None)


def test_an_older_reader_finds_the_scale_of_a_single_output_and_none_for_several() -> None:
    single = json.loads(described(BOXES).to_json())["quantization"]
    several = json.loads(described(BOXES, SCORES).to_json())["quantization"]
    assert (single["output_scale"], single["output_zero_point"]) == (0.5, -3)
    assert (several["output_scale"], several["output_zero_point"]) == (None, None)


def test_a_file_from_before_outputs_had_names_reads_as_it_did() -> None:
    document = json.loads(described(BOXES).to_json())
    del document["quantization"]["outputs"]
    read = ModelMetadata.from_json(json.dumps(document)).quantization
    assert read is not None
    assert read.outputs == ()
    assert read.of_output("logits") == (0.5, -3)


@pytest.mark.parametrize("labels", [[{}, {}], ["tench", 1], "tench", {"0": "tench"}])
def test_labels_that_are_no_list_of_strings_are_refused(labels: object) -> None:
    document = json.loads(described(BOXES).to_json()) | {"labels": labels}
    with pytest.raises(ModelFileError, match="labels must be a list of strings"):
        ModelMetadata.from_json(json.dumps(document), where="net.onnx")
