"""Read the inner tensors of an ONNX graph; needs the ``convert`` extra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from ghostedge.features.graph import Kind, Layer, Layers, Shape, Step, layers_of
from ghostedge.features.tap import Maps, Tap, full_batch, precision_of
from ghostedge.formats.onnx import onnx_input, parse_onnx
from ghostedge.inspection.guess import image_input
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.backend import Array
from ghostedge_runtime.formats.onnx.data import whole_digest
from ghostedge_runtime.formats.onnx.session import OnnxBackend
from ghostedge_runtime.formats.table import read_model_file
from ghostedge_runtime.metadata import METADATA_KEY, ModelMetadata, Preprocessing

_KINDS: dict[str, Kind] = {
    "Clip": "activation",
    "DequantizeLinear": "dequantize",
    "Identity": "relay",
    "Pad": "relay",
    "QuantizeLinear": "quantize",
    "Relu": "activation",
    "Transpose": "relay",
}


def open_onnx(path: Path, preprocessing: Preprocessing | None) -> Tap | None:
    """Open an ``.onnx`` file that is as it will run: quantized, or of our own making.

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
    digest, _ = whole_digest(data, path)
    return tap_model(model, metadata, path, preprocessing, sha256=digest, format_="onnx")


def tap_model(
    model: onnx.ModelProto,
    metadata: ModelMetadata | None,
    path: Path,
    preprocessing: Preprocessing | None,
    *,
    sha256: str,
    format_: str,
) -> Tap:
    """The tap of a model in memory that ``path`` was read into."""
    tensor = onnx_input(model, path)
    known, assumed, encode = image_input(metadata, tensor, path, preprocessing)

    def read(batch: Array, layers: Sequence[Layer]) -> list[Maps]:
        return _run(model, path, full_batch(batch, tensor.shape[0]), layers)

    return Tap(
        path=path,
        sha256=sha256,
        format=format_,
        precision=precision_of(metadata, coded=_is_quantized(model)),
        metadata=known,
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
