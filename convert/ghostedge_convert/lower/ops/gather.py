"""Gather and GatherND with constant indices."""

from __future__ import annotations

import math

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.ops.shape import constant_input, take
from ghostedge_convert.lower.words import identity, step


def gather(e: Emitter, node: Node) -> None:
    """Gather along one axis: indices that follow one another are slices."""
    source, out = e.value(node.inputs[0]), e.value(node.outputs[0])
    axis = int(node.attributes.get("axis", 0)) % source.rank
    indices = constant_input(e, node, 1, "indices").reshape(-1) % source.shape[axis]
    order = e.order(source.name)
    picked = take(e, e.activation(source.name), order.index(axis), indices)
    shape = (*source.shape[:axis], indices.size, *source.shape[axis + 1 :])
    e.bind(node, e.reshaped(picked, shape, order, out.shape, e.order(out.name)))


def gather_nd(e: Emitter, node: Node) -> None:
    """GatherND: the indexed axes seen as one, along which single rows are picked."""
    source, out = e.value(node.inputs[0]), e.value(node.outputs[0])
    indices = constant_input(e, node, 1, "indices")
    batch = int(node.attributes.get("batch_dims", 0))
    last = batch + indices.shape[-1]
    sizes = source.shape[batch:last]
    groups, many = math.prod(source.shape[:batch]), math.prod(sizes)
    places = np.ravel_multi_index(tuple(np.moveaxis(indices % sizes, -1, 0)), sizes)
    rows = places.reshape(groups, -1) + many * np.arange(groups)[:, None]
    x = e.transposed(e.activation(source.name), step(e.order(source.name), identity(source.rank)))
    x = e.shaped(x, (groups * many, math.prod(source.shape[last:])))
    picked = e.shaped(take(e, x, 0, rows.reshape(-1)), out.shape)
    e.bind(node, e.transposed(picked, e.order(out.name)))
