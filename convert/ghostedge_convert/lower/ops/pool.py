"""Pools over windows; means, sums, norms, extremes and ranks over whole axes.

Pools take any padding. A reduction computes in its input's axis order, so that no transpose is
needed before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Graph, Node
from ghostedge_convert.lower.ops.conv import image_of, image_result, padded
from ghostedge_convert.lower.ops.shape import constant_input, fill_value
from ghostedge_convert.lower.program import Array, Order, Shape, reorder, step
from ghostedge_convert.lower.window import Window, image_windows, padding

_LOWEST = float(np.finfo(np.float32).min)
_INT8_MIN = -128


def _spans(graph: Graph, node: Node) -> tuple[Window, ...]:
    image, out = graph.values[node.inputs[0]], graph.values[node.outputs[0]]
    if set(node.attributes.get("dilations", [1])) != {1}:
        node.refuse(f"dilations={node.attributes['dilations']}", "TFLite pools without dilation")
    return image_windows(node, image.shape, out.shape, node.attributes["kernel_shape"])


def _options(word: str, spans: tuple[Window, ...]) -> dict[str, Any]:
    return {
        "padding": word,
        "strideH": spans[0].stride,
        "strideW": spans[1].stride,
        "filterHeight": spans[0].kernel,
        "filterWidth": spans[1].kernel,
    }


def max_pool(e: Emitter, node: Node) -> None:
    """MaxPool: padding must never win, so it is the lowest value unless zero is."""
    if len(node.outputs) > 1 and node.outputs[1]:
        node.refuse("its Indices output", "TFLite's MAX_POOL_2D gives values only")
    if node.attributes.get("storage_order", 0):
        node.refuse("storage_order=1", "export with row-major order")
    x = image_of(e, node)
    spans = _spans(e.graph, node)
    word, amounts = padding(spans)
    if amounts is not None:
        x = (
            padded(e, node, x, amounts)
            if _zero_is_lowest(e, node, x)
            else _padded_with_lowest(e, node, x, amounts)
        )
    options = _options(word, spans) | image_result(e, node)
    e.result(node, "MAX_POOL_2D", [x], quant=e.tensor(x).quant, **options)


def global_max_pool(e: Emitter, node: Node) -> None:
    """GlobalMaxPool: a window as large as the image."""
    x = image_of(e, node)
    spans = tuple(Window(size, 1, size, 1, 0, 0) for size in e.tensor(x).shape[1:3])
    options = _options("VALID", spans) | image_result(e, node)
    e.result(node, "MAX_POOL_2D", [x], quant=e.tensor(x).quant, **options)


def _zero_is_lowest(e: Emitter, node: Node, x: int) -> bool:
    quant = e.tensor(x).quant
    if quant is not None:
        return quant.zero_point == _INT8_MIN
    producer = e.graph.producers.get(node.inputs[0])
    return producer is not None and producer.activation in ("RELU", "RELU6")


def _padded_with_lowest(e: Emitter, node: Node, x: int, amounts: Array) -> int:
    shape = np.asarray(e.tensor(x).shape) + amounts.sum(axis=1)
    target = e.temporary(f"{node.outputs[0]}/padded", shape.tolist(), x)
    inputs = [x, e.int32(amounts, "paddings"), fill_value(e, x, _LOWEST)]
    return e.op("PADV2", inputs, [target])


def average_pool(e: Emitter, node: Node) -> None:
    """AveragePool: TFLite divides by the window or, under SAME, by what lies in the image.

    Where ONNX's divisor is neither, the average over the padded window is corrected by a constant
    factor per position. Always in float: XNNPACK has no int8 average pool, and converting to float
    and back around its float one takes a quarter to two thirds of the time of LiteRT's own int8
    kernel (56×56×24 to 14×14×80, x86, LiteRT 2.3), as much as an int8 depthwise convolution.
    """
    x = image_of(e, node)
    spans = _spans(e.graph, node)
    word, amounts, factors = _plan(node, spans)
    if amounts is not None:
        x = padded(e, node, x, amounts)
    options, place = _options(word, spans), image_result(e, node)
    if factors is None:
        e.result(node, "AVERAGE_POOL_2D", [x], quant=e.tensor(x).quant, **options, **place)
        return
    n, _, _, c = e.tensor(x).shape
    h, w = (span.out for span in spans)
    target = e.temporary(f"{node.outputs[0]}/sums", (n, h, w, c), x)
    x = e.op("AVERAGE_POOL_2D", [x], [target], fusedActivationFunction="NONE", **options)
    factor = e.constant(factors.reshape(1, h, w, 1), f"{node.outputs[0]}/factors")
    e.result(node, "MUL", [x, factor], **place)


def _plan(node: Node, spans: tuple[Window, ...]) -> tuple[str, Array | None, Array | None]:
    """Padding word, PAD amounts, and window / divisor per position where it is not all one."""
    with_padding = bool(node.attributes.get("count_include_pad", 0))
    wanted = np.multiply.outer(*(w.counts(with_padding=with_padding) for w in spans))
    inside = np.multiply.outer(*(w.counts(with_padding=False) for w in spans))
    word, amounts = padding(spans, same=np.array_equal(wanted, inside))
    area = spans[0].kernel * spans[1].kernel
    if word == "SAME" or np.all(wanted == area):
        return word, amounts, None
    return word, amounts, (area / wanted).astype(np.float32)


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
