"""An ``.onnx`` file as a whole model: its weights taken in, its nodes in order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.onnx.data import data_files


def parse(data: bytes, path: Path) -> onnx.ModelProto:
    """The model in a file, with the weights that lie beside it and each node behind what it reads.

    ONNX wants that order, but ONNX Runtime does not, and the usual converters to float16 append
    their casts at the end.

    Args:
        data: The ``.onnx`` file.
        path: Where it lies.

    Raises:
        google.protobuf.message.DecodeError: It is no protobuf.
        ModelFileError: A file of weights is missing or cut, or lies outside the model's folder.
    """
    model = onnx.load_model_from_string(data)
    _take_in_external_data(model, data, path)
    return model if _is_in_order(model.graph) else _in_order(model)


def _is_in_order(graph: onnx.GraphProto) -> bool:
    """Whether each node stands behind those that it reads."""
    made: set[str] = set()
    later = {name for node in graph.node for name in node.output}
    for node in graph.node:
        if any(name in later and name not in made for name in node.input if name):
            return False
        made.update(node.output)
    return True


def _in_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its nodes sorted."""
    graph = ir.from_proto(model)
    with contextlib.suppress(ValueError):  # a circle, which the checker refuses
        graph.graph.sort()
    return ir.to_proto(graph)


def _take_in_external_data(model: onnx.ModelProto, data: bytes, path: Path) -> None:
    """Fill in the tensors that lie in other files, in place.

    ``onnx.load`` does so too, but refuses the links of which the Hugging Face cache is made.
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
