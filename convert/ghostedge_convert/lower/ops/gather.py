"""Gather, GatherND and ScatterND with constant indices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.ops.shape import constant_input, joined, take
from ghostedge_convert.lower.program import Array, identity, step


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


def scatter_nd(e: Emitter, node: Node) -> None:
    """ScatterND: the data and the updates after one another, then each element from where it is.

    Assigning to a slice, as ``y[..., 0:2] = …`` does, needs one axis only for that.
    """
    if node.attributes.get("reduction", "none") != "none":
        node.refuse(f"reduction={node.attributes['reduction']!r}", "add the updates with Add")
    data, updates, out = (e.value(n) for n in (node.inputs[0], node.inputs[2], node.outputs[0]))
    indices = constant_input(e, node, 1, "indices")
    where = tuple(np.moveaxis(indices % data.shape[: indices.shape[-1]], -1, 0))
    size = math.prod(data.shape)
    sources = _counted(data.shape)
    sources[where] = size + _counted(updates.shape)
    old, new = (e.operand(node, i, identity(e.value(node.inputs[i]).rank)) for i in (0, 2))
    axis, order = _along_one_axis(sources) or (0, sources.reshape(-1))
    shape = data.shape if order.size == data.shape[axis] else (size,)
    count = math.prod(updates.shape) // (math.prod(shape) // shape[axis])
    box = (*shape[:axis], count, *shape[axis + 1 :])
    whole = joined(e, [e.shaped(old, shape), e.shaped(new, box)], axis)
    elements = take(e, whole, axis, order)
    e.bind(node, e.transposed(e.shaped(elements, out.shape), e.order(out.name)))


def _along_one_axis(sources: Array) -> tuple[int, Array] | None:
    """The axis along which whole slices are replaced, and which slice goes where.

    Args:
        sources: For each element its place in the data or, counted on, in the updates.
    """
    fresh = sources >= sources.size
    for axis, size in enumerate(sources.shape):
        replaced = fresh.any(axis=tuple(a for a in range(sources.ndim) if a != axis))
        order = np.where(replaced, size + np.cumsum(replaced) - 1, np.arange(size))
        box = [*sources.shape[:axis], replaced.sum(), *sources.shape[axis + 1 :]]
        both = [_counted(sources.shape), sources.size + _counted(box)]
        if np.array_equal(np.concatenate(both, axis).take(order, axis), sources):
            return axis, order
    return None


def _counted(shape: Sequence[int]) -> Array:
    return np.arange(math.prod(shape)).reshape(shape)
