"""`inspect`, `features` and `convert` of an ``.onnx`` whose weights lie in a file beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ghostedge.formats.onnx import open_onnx
from ghostedge.formats.reading import inspect_file
from ghostedge_convert import embed_onnx_metadata
from ghostedge_convert.sources.onnx import load_float_onnx
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.metadata import InputSpec, ModelMetadata, Preprocessing


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A small classifier, as torch's exporter leaves it: weights in ``net.onnx.data``."""
    rng = np.random.default_rng(0)
    shapes = {"kernel": (8, 3, 3, 3), "matrix": (5, 8)}
    constants = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["conv"], pads=[1] * 4),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix"], ["scores"], transB=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 16, 16])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 5])
    graph = helper.make_graph(nodes, "main", [image], [scores], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    whole = tmp_path / "whole.onnx"
    path.replace(whole)
    onnx.save(model, path, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    return path


def test_inspect_counts_both_files(split: Path) -> None:
    alone, apart = inspect_file(split.with_name("whole.onnx")), inspect_file(split)
    assert (apart.parameters, apart.macs, apart.ops) == (alone.parameters, alone.macs, alone.ops)
    data = split.with_name("net.onnx.data")
    assert apart.bytes == split.stat().st_size + data.stat().st_size
    assert apart.facts["weights beside it"] == "net.onnx.data"
    data.write_bytes(data.read_bytes()[::-1])
    assert inspect_file(split).sha256 != apart.sha256


def test_convert_takes_the_same_network(split: Path) -> None:
    apart = load_float_onnx(split, batch=1, input_size=None)
    alone = load_float_onnx(split.with_name("whole.onnx"), batch=1, input_size=None)
    assert apart.model.graph.node == alone.model.graph.node
    for here, there in zip(
        apart.model.graph.initializer, alone.model.graph.initializer, strict=True
    ):
        assert here.name == there.name
        np.testing.assert_array_equal(numpy_helper.to_array(here), numpy_helper.to_array(there))
    assert apart.source.sha256 == inspect_file(split).sha256


def test_features_are_read_of_it(split: Path) -> None:
    known = ModelMetadata(
        Preprocessing(input_size=(16, 16)), InputSpec("NCHW", "float32", normalized=True)
    )
    model = embed_onnx_metadata(onnx.load(split), known)
    onnx.save(model, split, save_as_external_data=True, location="deep.bin", size_threshold=0)
    reader = open_onnx(split, None)
    assert reader is not None
    assert reader.sha256 == inspect_file(split).sha256
    maps = reader.read(np.ones((1, 3, 16, 16), np.float32), list(reader.layers.by_name.values()))
    assert maps[0].shape == (8, 16, 16)


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_each_names_the_data_file_that_it_lacks(split: Path, damage: str) -> None:
    data = split.with_name("net.onnx.data")
    content = data.read_bytes()
    data.unlink()
    if damage == "cut":
        data.write_bytes(content[:-1])
    words = r"'net\.onnx\.data'(, which is not there| has \d+ bytes)"
    with pytest.raises(ModelFileError, match=words):
        inspect_file(split)
    with pytest.raises(ModelFileError, match=words):
        load_float_onnx(split, batch=1, input_size=None)
