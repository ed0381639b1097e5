"""ONNX → TFLite, the whole way: read, fuse, fold quantization, lay out, emit, write.

Float and QDQ models take the same way; a QDQ model becomes an integer graph, with float ops where
it leaves them outside its pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.fuse import (
    drop_implied_clamps,
    fuse_activations,
    fuse_integer_clamps,
    join_group_norms,
)
from ghostedge_convert.lower.graph import Graph, Node, without_dead_nodes
from ghostedge_convert.lower.layout import Layouts, decide_layouts
from ghostedge_convert.lower.program import Order
from ghostedge_convert.lower.qdq import fold_quantization
from ghostedge_convert.lower.read import read_graph
from ghostedge_convert.lower.table import row_of
from ghostedge_convert.lower.write import to_bytes
from ghostedge_runtime.metadata import METADATA_KEY, ModelMetadata


@dataclass(frozen=True)
class TFLiteModel:
    """A TFLite file and how its tensors are laid out.

    Attributes:
        data: The contents of the ``.tflite`` file.
        input_layouts: For each graph input, the axis order of its TFLite tensor:
            ``tflite = onnx.transpose(order)``; (0, 2, 3, 1) is NCHW → NHWC.
        output_layouts: The same for each graph output.
    """

    data: bytes
    input_layouts: Mapping[str, Order]
    output_layouts: Mapping[str, Order]


def lower_to_tflite(
    model: onnx.ModelProto, *, metadata: ModelMetadata | None = None
) -> TFLiteModel:
    """Write an ONNX model as TFLite.

    Inputs and outputs that touch image ops become channels-last. Equal models give equal bytes.

    Args:
        model: A float32 model or a QDQ model (int8 activations per tensor, int8 weights per
            channel, int32 bias), operator set 13 or later, static shapes.
        metadata: Written into the file under ``ghostedge``, where the runtime looks for it.

    Returns:
        The file's bytes and the axis orders of its inputs and outputs.

    Raises:
        UnsupportedOpError: A node, or an attribute of it, is outside the op table.
        ModelFileError: Shapes are dynamic or the operator set is too old.
    """
    graph = prepare(model)
    layouts = decide_layouts(graph, lambda node: row_of(node).rule)
    emitter = _emit(graph, layouts)
    extra = {} if metadata is None else {METADATA_KEY: metadata.to_json().encode()}
    return TFLiteModel(
        data=to_bytes(emitter.program(), metadata=extra),
        input_layouts={name: layouts.orders[name] for name in graph.inputs},
        output_layouts={name: layouts.orders[name] for name in graph.outputs},
    )


def prepare(model: onnx.ModelProto) -> Graph:
    """The graph as it will be written: checked, activations fused, quantization folded."""
    graph = without_dead_nodes(read_graph(model))
    for node in graph.nodes:
        row_of(node)
    graph = drop_implied_clamps(graph)
    graph = fuse_activations(graph, lambda node: row_of(node).fuses)
    graph = fold_quantization(graph, _can_be_integer)
    graph = fuse_integer_clamps(graph, lambda node: row_of(node).fuses)
    graph = join_group_norms(graph)
    for node in graph.nodes:
        _check_types(graph, node)
    return graph


def _can_be_integer(graph: Graph, node: Node) -> bool:
    return row_of(node).on_integers(graph, node)


def _check_types(graph: Graph, node: Node) -> None:
    dtype = graph.values[node.outputs[0]].dtype.name
    if dtype not in row_of(node).types:
        node.refuse(
            f"it computes on {dtype}",
            "arithmetic can be lowered on float32 and quantized int8: convert the model to float32",
        )


def _emit(graph: Graph, layouts: Layouts) -> Emitter:
    emitter = Emitter(graph, layouts)
    for node in graph.nodes:
        row_of(node).emit(emitter, node)
    return emitter
