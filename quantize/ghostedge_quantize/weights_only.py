"""Weights stored small, everything computed in float32: the float16 and the dynamic precision.

Each stored weight is decoded by ordinary nodes, Cast for float16, Cast and Mul for int8, because
ONNX Runtime evaluates those once, when it loads the file, and then runs as fast as on float32
weights. DequantizeLinear it evaluates in every inference, which takes 1.7 times as long, and with
its ConvInteger, which would compute on int8, it takes twice as long (1.31, GhostNet 1.0x at 224).

Activations in int8 are in ``int8``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass, RemoveUnusedNodesPass

from ghostedge_quantize.codes import quantize_weights
from ghostedge_quantize.graph.canonical import (
    add_initializer,
    canonical_ir,
    constant,
    int_attribute,
)
from ghostedge_quantize.graph.ops import LAYERS
from ghostedge_quantize.graph.plan import name_of
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import METADATA_KEY

SMALLEST = 1024
"""Elements below which a tensor stays float32: the nodes that decode it take what it saves."""

_WEIGHTED = LAYERS | {"MatMul"}
Decode = Callable[[ir.Graph, str, np.ndarray, int], list[ir.Node]]
"""(graph, tensor name, float32 weights, channel axis) → the nodes that decode what was stored."""


def float16_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store the weights of convolutions and dense layers as float16.

    Args:
        model: The float deploy graph; it is not changed.

    Returns:
        A new model of the same inputs and outputs, checked by onnx; equal arguments give equal
        bytes. Biases and tensors of fewer than ``SMALLEST`` elements stay float32. The metadata
        that describes the float model is not carried over.

    Raises:
        InputError: A weight is beyond float16's largest number, 65504.
    """
    return _stored(model, _as_float16)


def int8_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store the weights as symmetric int8 with a scale for every output channel.

    Arguments, result and what stays float32 are those of ``float16_weights``.

    Raises:
        InputError: A weight is NaN or infinite.
    """
    return _stored(model, _as_int8)


def _stored(model: onnx.ModelProto, decode: Decode) -> onnx.ModelProto:
    changed = canonical_ir(model)
    graph = changed.graph
    decoded: dict[tuple[str, int], ir.Value] = {}
    for node in list(graph):
        source = node.inputs[1] if node.op_type in _WEIGHTED else None
        weight = constant(source)
        if source is None or weight is None or weight.size < SMALLEST:
            continue
        name, axis = name_of(source), _channel_axis(node, weight)
        if (name, axis) not in decoded:
            nodes = decode(graph, name, weight, axis)
            graph.insert_before(node, nodes)
            decoded[name, axis] = nodes[-1].outputs[0]
        node.replace_input_with(1, decoded[name, axis])
    RemoveUnusedNodesPass()(changed)
    NameFixPass()(changed)
    changed.metadata_props.pop(METADATA_KEY, None)
    proto = ir.to_proto(changed)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _channel_axis(node: ir.Node, weight: np.ndarray) -> int:
    """The axis of the weights that is the output's channels."""
    if node.op_type == "MatMul":
        return weight.ndim - 1
    if node.op_type == "ConvTranspose" and int_attribute(node, "group", 1) == 1:
        return 1
    return 1 if node.op_type == "Gemm" and not int_attribute(node, "transB", 0) else 0


def _as_float16(graph: ir.Graph, name: str, weight: np.ndarray, axis: int) -> list[ir.Node]:
    del axis
    largest = np.finfo(np.float16).max
    if not np.abs(weight).max() <= largest:
        raise InputError(
            f"its weights reach {np.abs(weight).max():g}, float16 ends at {largest:g}",
            where=name,
            remedy="leave float16 out, or train with weight decay",
        )
    half = add_initializer(graph, f"{name}_float16", weight.astype(np.float16))
    return [_cast(half, name, weight)]


def _as_int8(graph: ir.Graph, name: str, weight: np.ndarray, axis: int) -> list[ir.Node]:
    if not np.isfinite(weight).all():
        raise InputError("its weights hold NaN or infinity", where=name)
    channels_first = np.moveaxis(weight, axis, 0)
    integers = quantize_weights(
        channels_first, np.zeros(len(channels_first), np.float32), np.float32(1), np.float32(1)
    )
    spread = [1] * weight.ndim
    spread[axis] = -1
    stored = add_initializer(graph, f"{name}_int8", np.moveaxis(integers.values, 0, axis))
    scale = add_initializer(graph, f"{name}_scale", integers.scale.reshape(spread))
    cast = _cast(stored, f"{name}_steps", weight)
    product = ir.node(
        "Mul", [cast.outputs[0], scale], outputs=[_real(name, weight)], name=f"{name}_scaled"
    )
    return [cast, product]


def _cast(stored: ir.Value, name: str, weight: np.ndarray) -> ir.Node:
    return ir.node(
        "Cast",
        [stored],
        {"to": int(ir.DataType.FLOAT)},
        outputs=[_real(name, weight)],
        name=f"{name}_cast",
    )


def _real(name: str, weight: np.ndarray) -> ir.Value:
    return ir.Value(
        name=f"{name}_real", shape=ir.Shape(weight.shape), type=ir.TensorType(ir.DataType.FLOAT)
    )
