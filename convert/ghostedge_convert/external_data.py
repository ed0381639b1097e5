"""Weights that an ONNX file keeps in other files, taken into the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.onnx_data import data_files


def take_in_external_data(model: onnx.ModelProto, data: bytes, path: Path) -> None:
    """Fill in the tensors that lie in other files, in place.

    ``onnx.load`` does so too, but refuses the links of which the Hugging Face cache is made.

    Args:
        model: As read of ``data``.
        data: The ``.onnx`` file.
        path: Where it lies.

    Raises:
        ModelFileError: A file is missing or cut, or lies outside the model's folder.
    """
    files = data_files(data, path)
    if not files:
        return
    nodes = (node for function in model.functions for node in function.node)
    for tensor in (*_tensors(model.graph), *_of_nodes(nodes)):
        if not uses_external_data(tensor):
            continue
        info = ExternalDataInfo(tensor)
        try:
            with files[info.location].open("rb") as file:
                file.seek(info.offset or 0)
                tensor.raw_data = file.read(info.length or -1)
        except (OSError, KeyError) as error:
            raise ModelFileError(
                f"the data of its tensor {tensor.name!r} in {info.location!r} cannot be read "
                f"({error})",
                where=path,
                remedy="keep the data file beside the .onnx, readable",
            ) from error
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for graph in (attribute.g, *attribute.graphs):
            yield from _tensors(graph)
