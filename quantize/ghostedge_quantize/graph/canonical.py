"""One spelling for each thing, so that planning and quantizing need to know only one.

Constants become initializers, nodes get unique names, shapes are inferred, and a dense layer is
always ``Gemm(x, W[N, K], b[N], transB=1)``. Nothing is folded or fused here: that is done when the
deploy graph is made. Activations keep their names, so ranges fit every spelling of a model.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    NameFixPass,
    RemoveUnusedNodesPass,
)

from ghostedge_runtime.errors import InputError

MIN_OPSET = 13
"""The first opset whose DequantizeLinear takes a scale per channel."""


def canonical_ir(model: onnx.ModelProto) -> ir.Model:
    """Read a model into a graph of its own that may be edited; ``model`` stays as it is.

    Raises:
        InputError: The model is older than opset 13, or its shapes contradict each other.
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < MIN_OPSET:
        raise InputError(
            f"the model is of opset {opset}, int8 needs {MIN_OPSET} or later",
            remedy="export it with a newer opset",
        )
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise InputError(f"the model's shapes contradict each other ({error})") from error
    graph = ir.from_proto(inferred)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(graph)
    NameFixPass()(graph)
    for node in list(graph.graph):
        _DENSE.get(node.op_type, _leave)(node)
    RemoveUnusedNodesPass()(graph)
    return graph


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The array behind an initializer, None for anything that is computed or absent."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return value.const_value.numpy()


def add_initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Put an array into the graph under a name that is free (``name``, ``name_1``, …)."""
    free, count = name, 0
    while free in graph.initializers:
        count += 1
        free = f"{name}_{count}"
    tensor = ir.tensor(np.asarray(array, order="C"), name=free)
    value = ir.Value(
        name=free,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def rank(value: ir.Value | None) -> int | None:
    """Number of dimensions, None when inference could not tell."""
    return None if value is None or value.shape is None else len(value.shape)


def int_attribute(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute, ``default`` where the node does not say."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def owner(node: ir.Node) -> ir.Graph:
    """The graph that a node is in."""
    if not isinstance(node.graph, ir.Graph):
        raise TypeError(f"node {node.name} is in no graph")
    return node.graph


def _leave(node: ir.Node) -> None:
    del node


def _dense_from_gemm(node: ir.Node) -> None:
    weight, bias = constant(node.inputs[1]), None
    attributes = node.attributes
    if weight is None or int_attribute(node, "transA", 0):
        return
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = constant(node.inputs[2])
        if bias is None:
            return
        bias = bias * np.float32(attributes.get_float("beta", 1.0))
    weight = weight if int_attribute(node, "transB", 0) else weight.T
    _write_dense(node, weight * np.float32(attributes.get_float("alpha", 1.0)), bias)


def _dense_from_matmul(node: ir.Node) -> None:
    weight = constant(node.inputs[1])
    if weight is None or weight.ndim != 2 or rank(node.inputs[0]) != 2:
        return
    node.op_type = "Gemm"
    _write_dense(node, weight.T, None)


def _write_dense(node: ir.Node, weight: np.ndarray, bias: np.ndarray | None) -> None:
    """Store ``weight`` [N, K] and ``bias`` (None, or broadcastable to [N]) on a Gemm node."""
    graph = owner(node)
    full = np.zeros(weight.shape[0], np.float32)
    if bias is not None:
        full += bias.reshape(-1)
    node.resize_inputs(3)
    node.replace_input_with(1, add_initializer(graph, f"{node.name}_weight", weight))
    node.replace_input_with(2, add_initializer(graph, f"{node.name}_bias", full))
    node.attributes.clear()
    node.attributes["transB"] = ir.AttrInt64("transB", 1)


_DENSE = {"Gemm": _dense_from_gemm, "MatMul": _dense_from_matmul}
