"""``.onnx`` files: inspected, looked into, written; all of it needs the ``convert`` extra."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from ghostedge.formats.format import (
    Inspection,
    Kind,
    Layer,
    LayerReader,
    Layers,
    Maps,
    OpCount,
    Shape,
    Step,
    count_ops,
    full_batch,
    image_input,
    layers_of,
    precision_of,
)
from ghostedge_convert import with_joined_modules
from ghostedge_convert.sources.onnx_files import parse
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.backend import Array, TensorInfo, model_io
from ghostedge_runtime.formats.loading import companion_files, read_model_file, whole_digest
from ghostedge_runtime.formats.onnx.session import OnnxBackend
from ghostedge_runtime.metadata import METADATA_KEY, ModelMetadata, Preprocessing

Dims = tuple[int, ...]
# Place of the weights among an op's inputs.
_WEIGHTED = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}
# What stands between stored weights and their readers: int8 of a QDQ graph, float16, int8 · scale.
_DECODERS = ("DequantizeLinear", "Cast", "Mul")
_KINDS: dict[str, Kind] = {
    "Clip": "activation",
    "DequantizeLinear": "dequantize",
    "Identity": "relay",
    "Pad": "relay",
    "QuantizeLinear": "quantize",
    "Relu": "activation",
    "Transpose": "relay",
}


def write_onnx(
    model: onnx.ModelProto, metadata: ModelMetadata, path: Path
) -> Mapping[str, tuple[int, ...]]:
    """Write a graph as it is; equal graphs give equal bytes.

    Args:
        model: The graph.
        metadata: Its own, which go into the file.
        path: Where to write.

    Returns:
        Nothing: every output's axes stand as in the graph.
    """
    from ghostedge_convert import embed_onnx_metadata  # noqa: PLC0415  # imports torch

    path.write_bytes(embed_onnx_metadata(model, metadata).SerializeToString(deterministic=True))
    return {}


def inspect_onnx(path: Path) -> Inspection:
    """Read the graph, the sizes and the metadata of an ONNX file.

    Raises:
        ModelFileError: It is not an ONNX file, or damaged.
    """
    data = path.read_bytes()
    model, graph = parse_onnx(data, path)
    sha256, size = whole_digest(data, path)
    beside = companion_files(data, path)
    shapes = _shapes(graph)
    props = {prop.key: prop.value for prop in model.metadata_props}
    ops = _count_ops(graph, shapes)
    return Inspection(
        file=str(path),
        kind="onnx",
        bytes=size,
        sha256=sha256,
        parameters=_parameters(graph, shapes),
        macs=sum(op.macs for op in ops),
        facts={
            "producer": f"{model.producer_name} {model.producer_version}".strip() or "not stated",
            "opset": ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import),
            **({"weights beside it": ", ".join(beside)} if beside else {}),
        },
        inputs=tuple(_tensor(value) for value in graph.input),
        outputs=tuple(_tensor(value) for value in graph.output),
        ops=ops,
        metadata=json.loads(props[METADATA_KEY]) if METADATA_KEY in props else None,
    )


def parse_onnx(data: bytes, where: Path) -> tuple[onnx.ModelProto, onnx.GraphProto]:
    """The model with all its weights, and its graph with every shape that can be inferred.

    Raises:
        ModelFileError: It is not an ONNX file, or damaged, or weights beside it are missing.
    """
    try:
        model = parse(data, where)
        onnx.checker.check_model(model)
        return model, onnx.shape_inference.infer_shapes(model).graph
    except (
        DecodeError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        raise ModelFileError(
            f"it is not a valid ONNX file ({str(error).splitlines()[0]})",
            where=where,
            remedy="the file is damaged or cut short: copy or export it again",
        ) from error


def onnx_input(model: onnx.ModelProto, where: Path) -> TensorInfo:
    """The one input of a model.

    Raises:
        ModelFileError: It has none, or several.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [_tensor(value) for value in graph.input if value.name not in constants]
    return model_io(inputs, [_tensor(value) for value in graph.output], where).input


def _tensor(value: onnx.ValueInfoProto) -> TensorInfo:
    kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return TensorInfo(value.name, tuple(size or None for size in _dims(value)), str(kind))


def _dims(value: onnx.ValueInfoProto) -> Dims:
    """Sizes by axis; an axis that the file leaves open counts as 0."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _shapes(graph: onnx.GraphProto) -> dict[str, Dims]:
    shapes = {v.name: _dims(v) for v in (*graph.input, *graph.output, *graph.value_info)}
    shapes.update({t.name: tuple(t.dims) for t in graph.initializer})
    return shapes


def _count_ops(graph: onnx.GraphProto, shapes: Mapping[str, Dims]) -> tuple[OpCount, ...]:
    dequantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    return count_ops(
        OpCount(
            node.op_type,
            count=1,
            int8=bool(node.input) and node.input[0] in dequantized,
            macs=_macs(node, shapes),
        )
        for node in graph.node
    )


def _macs(node: onnx.NodeProto, shapes: Mapping[str, Dims]) -> int:
    """Multiply-accumulates: for each output element, the weights that go into it."""
    if node.op_type not in _WEIGHTED:
        return 0
    weights = shapes.get(node.input[_WEIGHTED[node.op_type]], ())
    outputs = shapes.get(node.output[0], ())
    if not weights or not outputs:
        return 0
    if node.op_type in ("Gemm", "MatMul"):
        return prod(outputs) * (prod(weights) // outputs[-1])
    return prod(outputs) * prod(weights[1:])


def _parameters(graph: onnx.GraphProto, shapes: Mapping[str, Dims]) -> int:
    """Elements of weights and biases, seen through what decodes stored ones."""
    origin = {n.output[0]: n.input[0] for n in graph.node if n.op_type in _DECODERS}
    constants = {t.name for t in graph.initializer}
    held = set()
    for node in graph.node:
        if node.op_type in _WEIGHTED or node.op_type == "BatchNormalization":
            for read in node.input[1:]:
                name = read
                while name in origin:
                    name = origin[name]
                held.add(name)
    return sum(prod(shapes[name]) for name in held & constants)


def open_onnx(path: Path, preprocessing: Preprocessing | None) -> LayerReader | None:
    """Open an ``.onnx`` file that is as it will run: quantized, or of our own making.

    Ghost modules that a float file computes in halves are shown whole.

    Args:
        path: The file.
        preprocessing: For a file that carries none.

    Returns:
        None for anybody else's float model, which a conversion would change first.

    Raises:
        ModelFileError: It cannot be read, or takes no image.
    """
    data = read_model_file(path)
    model, _ = parse_onnx(data, path)
    document = next((p.value for p in model.metadata_props if p.key == METADATA_KEY), None)
    if document is None and not _is_quantized(model):
        return None
    metadata = None if document is None else ModelMetadata.from_json(document, where=str(path))
    origin = ModelOrigin(path, whole_digest(data, path)[0], "onnx")
    whole = model if _is_quantized(model) else with_joined_modules(model)
    return layer_reader(whole, metadata, origin, preprocessing)


@dataclass(frozen=True)
class ModelOrigin:
    """What a model in memory was read from, or built of.

    Attributes:
        path: The file.
        sha256: Of its bytes.
        format: What it is, as `LayerReader.format` has it.
    """

    path: Path
    sha256: str
    format: str


def layer_reader(
    model: onnx.ModelProto,
    metadata: ModelMetadata | None,
    origin: ModelOrigin,
    preprocessing: Preprocessing | None = None,
) -> LayerReader:
    """Open a model in memory.

    Args:
        model: The model.
        metadata: Its own, None where it carries none.
        origin: The file.
        preprocessing: For a model that carries none.

    Raises:
        ModelFileError: It takes no image.
    """
    path = origin.path
    tensor = onnx_input(model, path)
    described, assumed, encode = image_input(metadata, tensor, path, preprocessing)

    def read(batch: Array, layers: Sequence[Layer]) -> list[Maps]:
        return _run(model, path, full_batch(batch, tensor.shape[0]), layers)

    return LayerReader(
        path=path,
        sha256=origin.sha256,
        format=origin.format,
        precision=precision_of(metadata, coded=_is_quantized(model)),
        metadata=described,
        assumed=assumed,
        layers=_layers(model),
        encode=encode,
        read=read,
    )


def _is_quantized(model: onnx.ModelProto) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _run(model: onnx.ModelProto, path: Path, batch: Array, layers: Sequence[Layer]) -> list[Maps]:
    """Run the graph with the layers as its outputs."""
    wanted = list(dict.fromkeys(layer.tensor for layer in layers))
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    del tapped.graph.output[:]
    tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    backend = OnnxBackend(tapped.SerializeToString(), threads=1, where=path)
    arrays = dict(zip(wanted, backend.run(batch), strict=True))
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise ModelFileError(
                f"{name} holds codes without a DequantizeLinear behind them",
                where=path,
                remedy="give a model in the QDQ format",
            )
    return [np.asarray(arrays[layer.tensor][0], np.float32) for layer in layers]


def _layers(model: onnx.ModelProto) -> Layers:
    graph = onnx.shape_inference.infer_shapes(model).graph
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {out for node in graph.node if node.op_type == "Constant" for out in node.output}
    sizes = {t.name: tuple(t.dims) for t in graph.initializer}
    steps = []
    for node in graph.node:
        inputs = tuple(name for name in node.input if name and name not in constants)
        if not inputs:  # a constant, or what decodes one
            constants.update(node.output)
            if node.op_type == "DequantizeLinear":
                sizes[node.output[0]] = sizes.get(node.input[0], ())
            continue
        kind = _kind(node, sizes)
        steps += [Step(kind, inputs, output) for output in node.output if output]
    values = (*graph.input, *graph.output, *graph.value_info)
    shapes = {v.name: shape for v in values if (shape := _shape(v)) is not None}
    return layers_of(steps, shapes, {name: name for name in shapes})


def _kind(node: onnx.NodeProto, sizes: dict[str, tuple[int, ...]]) -> Kind:
    ints = {a.name: a.i for a in node.attribute if a.type == onnx.AttributeProto.INT}
    if node.op_type == "Concat":
        return "concat" if ints.get("axis") in (1, -3) else "other"
    if node.op_type == "Conv":
        # One input channel for each group: [outputs, 1, height, width].
        weights = sizes.get(node.input[1], ())
        return "depthwise" if ints.get("group", 1) > 1 and weights[1:2] == (1,) else "other"
    return _KINDS.get(node.op_type, "other")


def _shape(value: onnx.ValueInfoProto) -> Shape | None:
    dims = tuple(dim.dim_value or None for dim in value.type.tensor_type.shape.dim)
    if len(dims) != 4:
        return None
    _, channels, height, width = dims
    return channels, height, width
