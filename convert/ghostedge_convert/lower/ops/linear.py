"""Gemm and MatMul: FULLY_CONNECTED with constant weights, BATCH_MATMUL between activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Graph, Node
from ghostedge_convert.lower.ops.weights import Weights, bias, weights
from ghostedge_convert.lower.program import Array, identity

_MATRIX = 2


def gemm(e: Emitter, node: Node) -> None:
    """alpha·A·B + beta·C."""
    alpha, beta = (float(node.attributes.get(k, 1.0)) for k in ("alpha", "beta"))
    a = e.operand(node, 0, (1, 0) if node.attributes.get("transA", 0) else (0, 1))
    flipped = not node.attributes.get("transB", 0)
    if not e.graph.is_constant(node.inputs[1]):
        if alpha != 1.0:
            node.refuse(f"alpha={alpha} between two activations", "multiply by it separately")
        b = e.operand(node, 1, (0, 1))
        _finish(e, node, "BATCH_MATMUL", [a, b], beta, adjY=not flipped)
        return
    matrix = _matrix(e, node, flipped=flipped).times(alpha)
    count, quant, stored = matrix.data.shape[0], matrix.quant, matrix.stored(e)
    row = _row(e, node, count, beta)
    if row is None:
        zeros = e.constant(np.zeros(count, np.float32), "zeros")
        _finish(e, node, "FULLY_CONNECTED", [a, stored, zeros], beta)
    elif quant is None:
        e.result(node, "FULLY_CONNECTED", [a, stored, e.constant(row, f"{node.name}/bias")])
    else:
        biases = bias(e, node, a, count, quant)
        e.result(node, "FULLY_CONNECTED", [a, stored, biases])


def gemm_on_integers(graph: Graph, node: Node) -> bool:
    """The integer form has no factors, and its bias is one row."""
    factors = {node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)}
    name = node.input(2)
    plain = name is None or (graph.is_constant(name) and _is_row(graph.values[name].shape))
    return factors == {1.0} and plain and graph.is_constant(node.inputs[1])


def _is_row(shape: tuple[int, ...]) -> bool:
    return all(s == 1 for s in shape[:-1])


def _row(e: Emitter, node: Node, count: int, beta: float) -> Array | None:
    """C as one bias per output feature; None where it is something larger."""
    name = node.input(2)
    if name is None:
        return np.zeros(count, np.float32)
    if not e.graph.is_constant(name) or not _is_row(e.value(name).shape):
        return None
    row: Array = np.broadcast_to(e.real(name).reshape(-1), (count,)) * np.float32(beta)
    return row.astype(np.float32)


def _finish(
    e: Emitter, node: Node, builtin: str, inputs: list[int], beta: float, **options: Any
) -> None:
    """The product, then beta·C as an ADD of its own where there is a C."""
    if node.input(2) is None:
        e.result(node, builtin, inputs, **options)
        return
    if beta != 1.0:
        node.refuse(f"beta={beta} with a C that is not one constant row", "fold beta into C")
    target = e.temporary(f"{node.outputs[0]}/product", e.value(node.outputs[0]).shape, inputs[0])
    product = e.op(builtin, inputs, [target], **options)
    e.result(node, "ADD", [product, e.operand(node, 2, (0, 1))])


def matmul(e: Emitter, node: Node) -> None:
    """Matrix product, batched where an operand has more than two axes."""
    a, b = (e.value(name) for name in node.inputs)
    if min(a.rank, b.rank) < _MATRIX:
        _with_vector(e, node)
        return
    if b.data is not None and b.rank == _MATRIX:
        x = e.operand(node, 0, identity(a.rank))
        matrix = _matrix(e, node, flipped=True)
        stored = matrix.stored(e)
        biases = bias(e, node, x, matrix.data.shape[0], matrix.quant)
        many = a.rank > _MATRIX
        traits = ["keeps_dims"] if many else []
        order = identity(a.rank)
        inputs = [x, stored, biases]
        e.result(node, "FULLY_CONNECTED", inputs, order=order, traits=traits, keepNumDims=many)
        return
    order = identity(max(a.rank, b.rank))
    operands = [e.operand(node, i, order) for i in (0, 1)]
    e.result(node, "BATCH_MATMUL", operands, order=order)


def _with_vector(e: Emitter, node: Node) -> None:
    """A product with a vector: a row on the left, a column on the right."""
    operands = []
    for position, name in enumerate(node.inputs):
        x = e.operand(node, position, identity(e.value(name).rank))
        shape = e.tensor(x).shape
        if len(shape) == 1:
            shape = (1, *shape) if position == 0 else (*shape, 1)
        operands.append(e.shaped(x, shape))
    rows, columns = (e.tensor(x).shape for x in operands)
    shape = (*np.broadcast_shapes(rows[:-2], columns[:-2]), rows[-2], columns[-1])
    order = identity(e.value(node.outputs[0]).rank)
    e.result(node, "BATCH_MATMUL", operands, order=order, shape=shape)


def matmul_on_integers(graph: Graph, node: Node) -> bool:
    """Batched products take per-tensor operands only."""
    a, b = (graph.values[name] for name in node.inputs)
    if min(a.rank, b.rank) < _MATRIX:
        return False
    return b.data is None or b.rank == _MATRIX or (b.quant is not None and b.quant.per_tensor)


def _matrix(e: Emitter, node: Node, *, flipped: bool) -> Weights:
    """Weights as FULLY_CONNECTED has them: (output, input), inputs in the order they arrive in."""
    matrix = weights(e, node, 1, channel_axis=1 if flipped else 0)
    if flipped:
        matrix = matrix.transposed((1, 0))
    features = e.layouts.features.get(node.inputs[0])
    return matrix if features is None else matrix.columns(features)
