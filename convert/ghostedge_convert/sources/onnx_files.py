"""An ``.onnx`` file of any maker: read whole, or refused.

The weights that lie in other files are taken in, and nodes are put in order. A file that is no
ONNX, is cut or lacks its weights is refused here, before anything is done with it; so is one that
is not quantized, or quantized in another format, where a QDQ model is asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx import checker, defs
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from ghostedge_convert.lower.graph import DEQUANTIZE, QUANTIZE
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.loading import read_model_file
from ghostedge_runtime.formats.onnx.data import data_files

ONNX_DOMAINS = ("", "ai.onnx")
_DYNAMIC = ("DynamicQuantizeLinear", "MatMulInteger", "ConvInteger")
_FUSED = ("QLinear", "QGemm", "QAttention")


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read a QDQ model with all its weights.

    Raises:
        ModelFileError: As ``open_onnx``, or it is a float model or one quantized in another format.
    """
    model = open_onnx(path)
    _refuse_other_formats(model, path)
    return model


def open_onnx(path: Path) -> onnx.ModelProto:
    """Read a model with all its weights.

    Raises:
        ModelFileError: There is none, it is cut or no valid ONNX, or its external data is missing.
    """
    data = read_model_file(path)
    try:
        model = parse(data, path)
    except DecodeError as error:
        raise ModelFileError(
            f"it is no ONNX file, or a cut one ({error})",
            where=path,
            remedy="copy or export it again",
        ) from error
    if not model.graph.node:
        raise ModelFileError(
            "it is no ONNX file, or holds no graph",
            where=path,
            remedy="pass the .onnx that the exporter or quantizer wrote",
        )
    newest = defs.onnx_opset_version()
    if opset_of(model) > newest:
        raise ModelFileError(
            f"its operator set {opset_of(model)} is newer than {newest}, the newest that the "
            f"installed onnx {onnx.__version__} knows",
            where=path,
            remedy="pip install -U onnx onnxruntime, or export it with an older opset",
        )
    try:
        checker.check_model(model)
    except checker.ValidationError as error:
        raise ModelFileError(
            f"it is not valid ONNX ({str(error).strip().splitlines()[0]})",
            where=path,
            remedy="export or quantize it again",
        ) from error
    return model


def is_float(model: onnx.ModelProto) -> bool:
    """Whether nothing in a model is quantized, in whatever format."""
    nodes = [*model.graph.node, *(n for f in model.functions for n in f.node)]
    return not any(
        node.op_type in (QUANTIZE, DEQUANTIZE, *_DYNAMIC) or node.op_type.startswith(_FUSED)
        for node in nodes
    )


def _refuse_other_formats(model: onnx.ModelProto, where: Path) -> None:
    """Refuse a model that is not of pairs: float, or quantized in another format."""
    nodes = [*model.graph.node, *(n for f in model.functions for n in f.node)]
    ops = {node.op_type for node in nodes}
    named = {node.op_type: node.name or node.output[0] for node in nodes}
    fused = sorted(op for op in ops if op.startswith(_FUSED))
    dynamic = sorted(ops.intersection(_DYNAMIC))
    if fused:
        raise ModelFileError(
            f"it is quantized in the QOperator format (node {named[fused[0]]!r} is {fused[0]})",
            where=where,
            remedy="quantize it with quant_format=QuantFormat.QDQ",
        )
    if dynamic:
        raise ModelFileError(
            f"it is quantized dynamically (node {named[dynamic[0]]!r} is {dynamic[0]})",
            where=where,
            remedy="quantize it statically, in the QDQ format",
        )
    if not ops.intersection((QUANTIZE, DEQUANTIZE)):
        raise ModelFileError(
            "it is a float model: it has no QuantizeLinear or DequantizeLinear",
            where=where,
            remedy="pass the checkpoint it came from, or a model quantized in the QDQ format",
        )
    if QUANTIZE not in ops:
        raise ModelFileError(
            "only its weights are quantized, so it computes in float",
            where=where,
            remedy="pass a model whose activations are quantized too, or make such files with "
            "`ghostedge convert --precision dynamic` of the checkpoint",
        )


def opset_of(model: onnx.ModelProto) -> int:
    """The operator set of ONNX's own ops of a model; 0 where it names none."""
    return next((int(o.version) for o in model.opset_import if o.domain in ONNX_DOMAINS), 0)


def parse(data: bytes, path: Path) -> onnx.ModelProto:
    """The model in a file, with the weights that lie beside it and each node behind what it reads.

    ONNX requires that order, ONNX Runtime does not, and the usual converters to float16 append
    their casts at the end.

    Args:
        data: The ``.onnx`` file.
        path: Where it is.

    Raises:
        google.protobuf.message.DecodeError: It is no protobuf.
        ModelFileError: A file of weights is missing or cut, or lies outside the model's folder.
    """
    model = onnx.load_model_from_string(data)
    _take_in_external_data(model, data, path)
    return model if _is_in_order(model.graph) else _in_order(model)


def _is_in_order(graph: onnx.GraphProto) -> bool:
    """Whether each node is behind those that it reads."""
    available: set[str] = set()
    later = {name for node in graph.node for name in node.output}
    for node in graph.node:
        if any(name in later and name not in available for name in node.input if name):
            return False
        available.update(node.output)
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
