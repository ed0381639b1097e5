"""AveragePool and MaxPool with any padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Graph, Node
from ghostedge_convert.lower.ops.conv import image_of, image_result, padded
from ghostedge_convert.lower.ops.shape import fill_value
from ghostedge_convert.lower.program import Array
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
            else _sunk(e, node, x, amounts)
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


def _sunk(e: Emitter, node: Node, x: int, amounts: Array) -> int:
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
