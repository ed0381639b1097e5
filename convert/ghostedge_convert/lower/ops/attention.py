"""Attention of opset 23, as torch exports ``scaled_dot_product_attention``: its parts."""

from __future__ import annotations

import math

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.ops.shape import take
from ghostedge_convert.lower.program import identity

_HEADS_APART = 4
_MASK, _FIRST_PAST = 3, 4
_LOWEST = np.finfo(np.float32).min


def attention(e: Emitter, node: Node) -> None:
    """softmax(Q·Kᵀ·scale + mask)·V, of heads apart or side by side in the last axis.

    Raises:
        UnsupportedOpError: Keys and values of earlier calls, a soft cap, other outputs than the
            first, or a mask of truth values that the graph computes.
    """
    if any(node.input(i) is not None for i in range(_FIRST_PAST, len(node.inputs))):
        node.refuse("keys and values of earlier calls", "export it without a cache")
    if any(node.outputs[1:]) or node.attributes.get("softcap", 0.0):
        node.refuse("a soft cap or a second output", "write it with MatMul and Softmax")
    many, few = (node.attributes.get(f"{name}_num_heads", 0) for name in ("q", "kv"))
    q, k, v = (_heads(e, node, i, many if i == 0 else few) for i in range(3))
    groups = e.tensor(q).shape[1] // e.tensor(k).shape[1]
    shared = np.arange(e.tensor(k).shape[1]).repeat(groups)
    k, v = take(e, k, 1, shared), take(e, v, 1, shared)
    batch, heads, rows, depth = e.tensor(q).shape
    columns, width = e.tensor(k).shape[2], e.tensor(v).shape[3]
    scale = float(node.attributes.get("scale", 0.0)) or 1 / math.sqrt(depth)
    scaled = e.temporary(f"{node.name}/scaled", e.tensor(q).shape, q)
    factor = e.constant(np.float32(scale), "scale")
    q = e.op("MUL", [q, factor], [scaled], fusedActivationFunction="NONE")
    x = e.temporary(f"{node.name}/scores", (batch, heads, rows, columns), q)
    x = e.op("BATCH_MATMUL", [q, k], [x], adjY=True)
    for mask in _masks(e, node, rows, columns):
        masked = e.temporary(f"{node.name}/masked", e.tensor(x).shape, x)
        x = e.op("ADD", [x, mask], [masked], fusedActivationFunction="NONE")
    shares = e.temporary(f"{node.name}/shares", e.tensor(x).shape, x)
    x = e.op("SOFTMAX", [x], [shares], beta=1.0)
    mixed = e.temporary(f"{node.name}/mixed", (batch, heads, rows, width), x)
    x = e.op("BATCH_MATMUL", [x, v], [mixed])
    out = e.value(node.outputs[0])
    if out.rank != _HEADS_APART:
        x = e.shaped(e.transposed(x, (0, 2, 1, 3)), out.shape)
    e.bind(node, e.transposed(x, e.order(out.name)))


def _heads(e: Emitter, node: Node, position: int, heads: int) -> int:
    """An input as batch, heads, tokens, features."""
    rank = e.value(node.inputs[position]).rank
    x = e.operand(node, position, identity(rank))
    if rank == _HEADS_APART:
        return x
    batch, count, width = e.tensor(x).shape
    return e.transposed(e.shaped(x, (batch, count, heads, width // heads)), (0, 2, 1, 3))


def _masks(e: Emitter, node: Node, rows: int, columns: int) -> list[int]:
    """What is added to the scores: the node's mask, and the one that hides later tokens."""
    masks = []
    name = node.input(_MASK)
    if name is not None:
        value = e.value(name)
        if value.dtype != np.bool_:
            masks.append(e.operand(node, _MASK, identity(value.rank)))
        elif value.data is None:
            node.refuse("a mask of truth values that the graph computes", "add a float mask")
        else:
            hidden = np.where(value.data, np.float32(0), _LOWEST)
            masks.append(e.constant(hidden.astype(np.float32), name))
    if node.attributes.get("is_causal", 0):
        later = np.triu(np.full((rows, columns), _LOWEST, np.float32), 1)
        masks.append(e.constant(later, "causal"))
    return masks
