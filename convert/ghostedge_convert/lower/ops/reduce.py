"""Means over axes: ReduceMean and GlobalAveragePool."""

from __future__ import annotations

from collections.abc import Sequence

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.ops.shape import constant_input


def reduce_mean(e: Emitter, node: Node) -> None:
    """ReduceMean; axes as attribute (opset < 18) or as input."""
    rank = e.value(node.inputs[0]).rank
    axes: Sequence[int] = node.attributes.get("axes", ())
    if node.input(1) is not None:
        axes = constant_input(e, node, 1, "axes").tolist()
    if not axes and node.attributes.get("noop_with_empty_axes", 0):
        e.bind(node, e.activation(node.inputs[0]))
        return
    reduced = sorted(int(a) % rank for a in axes) or list(range(rank))
    _mean(e, node, reduced, keep=bool(node.attributes.get("keepdims", 1)))


def global_average_pool(e: Emitter, node: Node) -> None:
    """The mean over all spatial axes, which keep size 1."""
    _mean(e, node, range(2, e.value(node.inputs[0]).rank), keep=True)


def _mean(e: Emitter, node: Node, axes: Sequence[int], *, keep: bool) -> None:
    order = e.order(node.inputs[0])
    x = e.activation(node.inputs[0])
    places = e.int32(sorted(order.index(a) for a in axes), "axes")
    if not keep:
        left = [a for a in order if a not in axes]
        order = tuple(sorted(left).index(a) for a in left)
    e.result(node, "MEAN", [x, places], order=order, keepDims=keep)
