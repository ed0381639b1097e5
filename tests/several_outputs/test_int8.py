"""The same networks in int8, from raw uint8 images: every output keeps its name and its numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from ghostedge_quantize import integer_outputs
from ghostedge_runtime import Model

LEAST_DB = 18.0
"""Random weights are noisier than trained ones; measured: 20.4 (p5) to 31.1 (embedding)."""


@pytest.fixture(scope="module", params=["float32", "int8"])
def graph(request, prepared) -> onnx.ModelProto:
    settings = replace(prepared.settings, output_type=request.param)
    return replace(prepared, settings=settings).qdq()


@pytest.fixture(scope="module")
def files(example, graph, write) -> tuple[Path, Path]:
    return write(example.case, graph)


def kinds(graph: onnx.ModelProto) -> set[str]:
    number = onnx.TensorProto.DataType.Name
    return {number(value.type.tensor_type.elem_type) for value in graph.graph.output}


def test_outputs_keep_their_names_and_order_and_are_of_the_type_asked_for(example, graph, files):
    assert [value.name for value in graph.graph.output] == list(example.case.outputs)
    wanted = "int8" if kinds(graph) == {"INT8"} else "float32"
    for path in files:
        outputs = Model(path).io.outputs
        assert [tensor.name for tensor in outputs] == list(example.case.outputs)
        assert {tensor.dtype for tensor in outputs} == {wanted}


def test_both_formats_tell_the_same_scale_for_every_integer_output(example, graph, files):
    stated = integer_outputs(graph)
    assert len(stated) == (len(example.case.outputs) if kinds(graph) == {"INT8"} else 0)
    for each in stated:
        for path in files:
            tensor = next(t for t in Model(path).io.outputs if t.name == each.name)
            assert (tensor.scale, tensor.zero_point) == (
                pytest.approx(each.scale),
                each.zero_point,
            )


@pytest.fixture(scope="module")
def least_db(pictures):
    """On photographs; drawn pictures leave a decibel less (17.6 for the segmenter)."""
    return LEAST_DB if pictures.name == "photos" else LEAST_DB - 1


def test_int8_keeps_every_output(example, files, channels_first, signal_to_noise, least_db):
    found = [Model(path) for path in files]
    pictures, images = example.files[:6], example.images[:6]
    wanted = [example.answers(image[None]) for image in images]
    for name in example.case.outputs:
        reference = np.concatenate([each[name] for each in wanted])
        for model in found:
            values = [model.values(picture)[name] for picture in pictures]
            whole = np.concatenate(
                [v if model.path.suffix == ".onnx" else channels_first(v) for v in values]
            )
            assert signal_to_noise(whole, reference) >= least_db, (model.path.name, name)


def test_tflite_agrees_with_onnx(example, files, channels_first, signal_to_noise):
    one, other = (Model(path).values(example.files[1]) for path in files)
    for name in example.case.outputs:
        assert signal_to_noise(channels_first(other[name]), one[name]) >= 28, name


def test_the_input_is_raw_pixels_of_the_networks_own_channels_and_sides(example, files):
    for path in files:
        tensor = Model(path).io.input
        assert tensor.dtype == "uint8"
        assert tensor.shape == (1, *example.case.size, example.case.channels)


def test_the_embedding_is_normalised_in_float(example, graph):
    if example.case.name != "embedder":
        return
    makers = {name: node for node in graph.graph.node for name in node.output}
    norm = next(node for node in graph.graph.node if node.op_type == "ReduceL2")
    assert makers[norm.input[0]].op_type == "DequantizeLinear"
    readers = [node.op_type for node in graph.graph.node if norm.output[0] in node.input]
    assert "QuantizeLinear" not in readers
