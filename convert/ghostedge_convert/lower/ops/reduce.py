"""Means, sums and Euclidean norms over axes."""

from __future__ import annotations

from collections.abc import Sequence

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.ops.shape import constant_input
from ghostedge_convert.lower.words import Order


def reduce(e: Emitter, node: Node, builtin: str) -> None:
    """ReduceMean and ReduceSum."""
    axes = _axes(e, node)
    if axes is None:
        e.bind(node, e.activation(node.inputs[0]))
        return
    _reduce(e, node, builtin, axes, keep=_keeps(node))


def reduce_l2(e: Emitter, node: Node) -> None:
    """ReduceL2: the root of the sum of squares, which is all float operators that XNNPACK has.

    TFLite's L2_NORMALIZATION would also divide by it, but along the last axis only and never by
    less than 1e-6, whatever the network's own bound is.
    """
    x = e.activation(node.inputs[0])
    squares = e.temporary(f"{node.outputs[0]}/squares", e.tensor(x).shape, x)
    e.op("MUL", [x, x], [squares], fusedActivationFunction="NONE")
    axes = _axes(e, node)
    if axes is None:
        e.result(node, "SQRT", [squares])
        return
    places, order = _places(e, node, axes, keep=_keeps(node))
    shape = [e.value(node.outputs[0]).shape[axis] for axis in order]
    total = e.temporary(f"{node.outputs[0]}/sum", shape, x)
    e.op("SUM", [squares, places], [total], keepDims=_keeps(node))
    e.result(node, "SQRT", [total], order=order)


def global_average_pool(e: Emitter, node: Node) -> None:
    """The mean over all spatial axes, which keep size 1."""
    _reduce(e, node, "MEAN", range(2, e.value(node.inputs[0]).rank), keep=True)


def _axes(e: Emitter, node: Node) -> Sequence[int] | None:
    """The axes that go, as attribute (older opsets) or as input; None where none does."""
    rank = e.value(node.inputs[0]).rank
    axes: Sequence[int] = node.attributes.get("axes", ())
    if node.input(1) is not None:
        axes = constant_input(e, node, 1, "axes").tolist()
    if not axes and node.attributes.get("noop_with_empty_axes", 0):
        return None
    return sorted(int(a) % rank for a in axes) or list(range(rank))


def _keeps(node: Node) -> bool:
    return bool(node.attributes.get("keepdims", 1))


def _reduce(e: Emitter, node: Node, builtin: str, axes: Sequence[int], *, keep: bool) -> None:
    places, order = _places(e, node, axes, keep=keep)
    e.result(node, builtin, [e.activation(node.inputs[0]), places], order=order, keepDims=keep)


def _places(e: Emitter, node: Node, axes: Sequence[int], *, keep: bool) -> tuple[int, Order]:
    """The axes in TFLite's order, as a constant, and the order in which those left come out."""
    order = e.order(node.inputs[0])
    places = e.int32(sorted(order.index(a) for a in axes), "axes")
    if not keep:
        left = [a for a in order if a not in axes]
        order = tuple(sorted(left).index(a) for a in left)
    return places, order
