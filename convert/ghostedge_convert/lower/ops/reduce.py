"""Means, sums, norms and extremes over axes, and where along an axis the extremes are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.ops.shape import constant_input
from ghostedge_convert.lower.program import Order, Shape, reorder, step


def reduce(e: Emitter, node: Node, builtin: str) -> None:
    """A reduction that is one operator: means, sums, products and extremes."""
    x = e.activation(node.inputs[0])
    axes = _axes(e, node)
    if axes is None:
        e.bind(node, x)
        return
    places, order, _ = _places(e, node, axes)
    selects = builtin in ("REDUCE_MAX", "REDUCE_MIN")
    quant = e.tensor(x).quant if selects else None
    e.result(node, builtin, [x, places], order=order, quant=quant, keepDims=_keeps(node))


def reduce_l1(e: Emitter, node: Node) -> None:
    """ReduceL1: the sum of magnitudes."""
    magnitudes = e.computed(node, "ABS", e.activation(node.inputs[0]))
    _finish(e, node, *_summed(e, node, magnitudes))


def reduce_l2(e: Emitter, node: Node) -> None:
    """ReduceL2: the root of the sum of squares, which is all float operators that XNNPACK has.

    TFLite's L2_NORMALIZATION would also divide by it, but along the last axis only and never by
    less than 1e-6, whatever the network's own bound is.
    """
    x = e.activation(node.inputs[0])
    total, order = _summed(e, node, e.computed(node, "MUL", x, x))
    e.result(node, "SQRT", [total], order=order)


def reduce_sum_square(e: Emitter, node: Node) -> None:
    """ReduceSumSquare: the sum of squares."""
    x = e.activation(node.inputs[0])
    _finish(e, node, *_summed(e, node, e.computed(node, "MUL", x, x)))


def reduce_log_sum_exp(e: Emitter, node: Node) -> None:
    """ReduceLogSumExp, shifted by the largest value so that no exponential overflows."""
    x = e.activation(node.inputs[0])
    axes = _axes(e, node)
    if axes is None:
        e.bind(node, x)
        return
    places, order, shape = _places(e, node, axes)
    whole = [1 if a in axes else e.value(node.inputs[0]).shape[a] for a in e.order(node.inputs[0])]
    largest = e.computed(node, "REDUCE_MAX", x, places, shape=whole, keepDims=True)
    powers = e.computed(node, "EXP", e.computed(node, "SUB", x, largest))
    total = e.computed(node, "SUM", powers, places, shape=shape, keepDims=_keeps(node))
    e.result(node, "ADD", [e.computed(node, "LOG", total), e.shaped(largest, shape)], order=order)


def _summed(e: Emitter, node: Node, x: int) -> tuple[int, Order]:
    """The sum over a node's axes of what was made of its input, and the axis order it has."""
    axes = _axes(e, node)
    if axes is None:
        return x, e.order(node.inputs[0])
    places, order, shape = _places(e, node, axes)
    return e.computed(node, "SUM", x, places, shape=shape, keepDims=_keeps(node)), order


def _finish(e: Emitter, node: Node, index: int, order: Order) -> None:
    e.bind(node, e.transposed(index, step(order, e.order(node.outputs[0]))))


def global_average_pool(e: Emitter, node: Node) -> None:
    """The mean over all spatial axes, which keep size 1."""
    order = e.order(node.inputs[0])
    spatial = sorted(order.index(axis) for axis in range(2, len(order)))
    inputs = [e.activation(node.inputs[0]), e.int32(spatial, "axes")]
    e.result(node, "MEAN", inputs, order=order, keepDims=True)


def arg(e: Emitter, node: Node, builtin: str) -> None:
    """ArgMax and ArgMin: the first place along an axis."""
    if node.attributes.get("select_last_index", 0):
        node.refuse("select_last_index=1", "TFLite gives the first of equal values")
    name, out = node.inputs[0], e.value(node.outputs[0])
    axis = int(node.attributes.get("axis", 0)) % e.value(name).rank
    before = e.order(name)
    inputs = [e.activation(name), e.int32(before.index(axis), "axis")]
    left = [a for a in before if a != axis]
    shape = [e.value(name).shape[a] for a in left]
    order = before if _keeps(node) else tuple(sorted(left).index(a) for a in left)
    e.result(node, builtin, inputs, order=order, shape=shape, outputType=out.dtype.name)


def top_k(e: Emitter, node: Node) -> None:
    """TopK along any axis; the smallest are the largest of the negatives."""
    values, indices = (e.value(name) for name in node.outputs)
    rank = values.rank
    axis = int(node.attributes.get("axis", -1)) % rank
    order = (*(a for a in e.order(values.name) if a != axis), axis)
    count = int(constant_input(e, node, 1, "k").reshape(-1)[0])
    largest = bool(node.attributes.get("largest", 1))
    x = e.operand(node, 0, order)
    x = x if largest else e.computed(node, "NEG", x)
    shape = reorder(values.shape, order)
    top = e.temporary(f"{values.name}/top", shape, x)
    places = e.temporary(f"{indices.name}/places", shape, x, dtype=np.dtype(np.int32))
    e.op("TOPK_V2", [x, e.int32(count, "k")], [top, places])
    top = top if largest else e.computed(node, "NEG", top)
    e.bind(node, e.transposed(top, step(order, e.order(values.name))))
    if indices.name:
        places = e.computed(node, "CAST", places, dtype=np.int64)
        e.bind(node, e.transposed(places, step(order, e.order(indices.name))), 1)


def cumulative_sum(e: Emitter, node: Node) -> None:
    """CumSum along a constant axis."""
    order = e.order(node.outputs[0])
    axis = int(constant_input(e, node, 1, "axis").reshape(-1)[0]) % len(order)
    e.result(
        node,
        "CUMSUM",
        [e.operand(node, 0, order), e.int32(order.index(axis), "axis")],
        exclusive=bool(node.attributes.get("exclusive", 0)),
        reverse=bool(node.attributes.get("reverse", 0)),
    )


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


def _places(e: Emitter, node: Node, axes: Sequence[int]) -> tuple[int, Order, Shape]:
    """The axes in TFLite's order, as a constant; the order and the shape of what comes out."""
    order = e.order(node.inputs[0])
    places = e.int32(sorted(order.index(a) for a in axes), "axes")
    if not _keeps(node):
        left = [a for a in order if a not in axes]
        order = tuple(sorted(left).index(a) for a in left)
    return places, order, reorder(e.value(node.outputs[0]).shape, order)
