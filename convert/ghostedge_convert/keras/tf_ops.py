"""TensorFlow's ops as ONNX, a row each; what is not here is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ghostedge_convert.keras.tf_writer import Row, Writer


def _first(op: Any) -> list[Any]:
    """The first input is data, the others are parameters."""
    return [op.inputs[0]]


def _same(onnx_op: str) -> Row:
    """The same op under another name."""

    def write(graph: Writer, op: Any) -> list[str]:
        return [graph.node(onnx_op, [graph.value(t) for t in op.inputs], op.name)]

    return Row(write)


def _through(graph: Writer, op: Any) -> list[str]:
    return [graph.value(op.inputs[0])]


def _through_all(graph: Writer, op: Any) -> list[str]:
    return [graph.value(tensor) for tensor in op.inputs]


def _const(graph: Writer, op: Any) -> list[str]:
    return [graph.constant(tf.make_ndarray(op.get_attr("value")), op.name)]


def _cast(graph: Writer, op: Any) -> list[str]:
    known = tf.get_static_value(op.outputs[0])
    if known is not None:
        return [graph.constant(np.asarray(known), op.name)]
    source, target = op.inputs[0].dtype, op.outputs[0].dtype
    if not (source.is_floating and target.is_floating):
        graph.refuse(op, f"it casts {source.name} to {target.name}")
    return _through(graph, op)


def _conv(graph: Writer, op: Any) -> list[str]:
    kernel, group = _kernel(graph, op)
    size = tuple(op.inputs[1].shape.as_list()[:2])
    return _windowed(graph, op, "Conv", size, [kernel], group=group)


def _kernel(graph: Writer, conv: Any) -> tuple[str, int]:
    """A kernel [height, width, in, out] as ONNX has it, and the number of groups.

    A depthwise one is [height, width, in, multiplier], output channels in that order.
    """
    kernel, (height, width, inputs, outputs) = conv.inputs[1], conv.inputs[1].shape.as_list()
    name = f"{conv.name}/kernel"
    if conv.type == "Conv2D":
        channels = conv.inputs[0].shape.as_list()[3 if _is_last(conv) else 1]
        turned = graph.node("Transpose", [graph.value(kernel)], name, perm=[3, 2, 0, 1])
        return turned, channels // inputs
    turned = graph.node("Transpose", [graph.value(kernel)], name, perm=[2, 3, 0, 1])
    shape = np.array([inputs * outputs, 1, height, width])
    return graph.node("Reshape", [turned, graph.constant(shape, f"{name}/shape")], name), inputs


def _dilated(graph: Writer, op: Any) -> list[str]:
    """A dilated convolution as TensorFlow writes it: between SpaceToBatchND and its inverse."""
    conv, spread = _between(op)
    if conv is None or spread is None:
        graph.refuse(op, "it is not the end of a dilated convolution")
    pads = graph.array(spread.inputs[2]) - graph.array(op.inputs[2])
    if pads.min() < 0 or conv.get_attr("padding") != b"VALID":
        graph.refuse(op, "a dilated convolution that crops its input")
    kernel, group = _kernel(graph, conv)
    source = graph.first(graph.value(spread.inputs[0]), conv.name)
    result = graph.node(
        "Conv",
        [source, kernel],
        conv.name,
        group=group,
        dilations=[int(d) for d in graph.array(spread.inputs[1])],
        pads=[int(n) for n in pads.T.reshape(-1)],
    )
    return [graph.last(result, conv.name)]


def _between(op: Any) -> tuple[Any, Any]:
    """The convolution before a BatchToSpaceND, and the SpaceToBatchND before that, or None."""
    conv = op.inputs[0].op
    if conv.type not in ("Conv2D", "DepthwiseConv2dNative") or not _is_last(conv):
        return None, None
    spread = conv.inputs[0].op
    return conv, spread if spread.type == "SpaceToBatchND" else None


def _dilated_reads(op: Any) -> list[Any]:
    conv, spread = _between(op)
    return [] if conv is None or spread is None else [spread.inputs[0], conv.inputs[1]]


def _pool(onnx_op: str) -> Row:
    def write(graph: Writer, op: Any) -> list[str]:
        size = [int(k) for k in op.get_attr("ksize")]
        kernel = tuple(size[1:3] if _is_last(op) else size[2:])
        return _windowed(graph, op, onnx_op, kernel, [], kernel_shape=kernel)

    return Row(write, _first)


def _windowed(
    graph: Writer,
    op: Any,
    onnx_op: str,
    kernel: tuple[int, ...],
    parameters: list[str],
    **attributes: Any,
) -> list[str]:
    """A convolution or pool: TensorFlow's padding stated in numbers, images channels first."""
    last = _is_last(op)
    spatial = slice(1, 3) if last else slice(2, 4)
    strides = [int(s) for s in op.get_attr("strides")][spatial]
    dilations = [1, 1]
    if "dilations" in op.node_def.attr:
        dilations = [int(d) for d in op.get_attr("dilations")][spatial]
    image = op.inputs[0].shape.as_list()[spatial]
    pads = _pads(op, spatial, list(zip(image, kernel, strides, dilations, strict=True)))
    if onnx_op == "Conv":
        attributes["dilations"] = dilations
    source = graph.value(op.inputs[0])
    source = graph.first(source, op.name) if last else source
    result = graph.node(
        onnx_op, [source, *parameters], op.name, strides=strides, pads=pads, **attributes
    )
    return [graph.last(result, op.name) if last else result]


def _pads(op: Any, spatial: slice, axes: list[tuple[int, int, int, int]]) -> list[int]:
    """Elements before each axis, then after each. SAME puts the odd one after."""
    padding = op.get_attr("padding").decode()
    if padding == "EXPLICIT":
        stated = np.array(op.get_attr("explicit_paddings")).reshape(-1, 2)[spatial]
        return [int(n) for n in stated.T.reshape(-1)]
    if padding == "VALID":
        return [0] * (2 * len(axes))
    totals = [
        max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        for size, kernel, stride, dilation in axes
    ]
    return [n // 2 for n in totals] + [n - n // 2 for n in totals]


def _is_last(op: Any) -> bool:
    return bool(op.get_attr("data_format") == b"NHWC")


def _batch_norm(graph: Writer, op: Any) -> list[str]:
    if op.get_attr("is_training"):
        graph.refuse(op, "a batch norm in training mode")
    last = _is_last(op)
    source, *parameters = (graph.value(t) for t in op.inputs)
    source = graph.first(source, op.name) if last else source
    epsilon = float(op.get_attr("epsilon"))
    result = graph.node("BatchNormalization", [source, *parameters], op.name, epsilon=epsilon)
    return [graph.last(result, op.name) if last else result]


def _bias_add(graph: Writer, op: Any) -> list[str]:
    source, bias = (graph.value(t) for t in op.inputs)
    if not _is_last(op):
        shape = np.array([-1, *[1] * (op.inputs[0].shape.rank - 2)])
        bias = graph.node("Reshape", [bias, graph.constant(shape, f"{op.name}/shape")], op.name)
    return [graph.node("Add", [source, bias], op.name)]


def _reduce(onnx_op: str) -> Row:
    def write(graph: Writer, op: Any) -> list[str]:
        rank = op.inputs[0].shape.rank
        axes = sorted({int(a) % rank for a in np.ravel(graph.array(op.inputs[1]))})
        inputs = [graph.value(op.inputs[0]), graph.constant(np.array(axes), f"{op.name}/axes")]
        return [graph.node(onnx_op, inputs, op.name, keepdims=int(op.get_attr("keep_dims")))]

    return Row(write, _first)


def _concat(graph: Writer, op: Any) -> list[str]:
    *parts, axis = op.inputs
    return [
        graph.node("Concat", [graph.value(t) for t in parts], op.name, axis=int(graph.array(axis)))
    ]


def _split(graph: Writer, op: Any) -> list[str]:
    axis, count = int(graph.array(op.inputs[0])), len(op.outputs)
    first = graph.node(
        "Split", [graph.value(op.inputs[1])], op.name, outputs=count, axis=axis, num_outputs=count
    )
    return [first, *(f"{first}:{i}" for i in range(1, count))]


def _matmul(graph: Writer, op: Any) -> list[str]:
    inputs = []
    for tensor, flag in zip(op.inputs, ("transpose_a", "transpose_b"), strict=True):
        name = graph.value(tensor)
        inputs.append(
            graph.node("Transpose", [name], op.name, perm=[1, 0]) if op.get_attr(flag) else name
        )
    return [graph.node("MatMul", inputs, op.name)]


def _reshape(graph: Writer, op: Any) -> list[str]:
    """Reshape, Squeeze, ExpandDims: the static shape says it all."""
    shape = op.outputs[0].shape
    if not shape.is_fully_defined():
        graph.refuse(op, f"the shape {shape} is not known before it runs")
    target = graph.constant(np.array(shape.as_list(), np.int64), f"{op.name}/shape")
    return [graph.node("Reshape", [graph.value(op.inputs[0]), target], op.name)]


def _transpose(graph: Writer, op: Any) -> list[str]:
    perm = [int(axis) for axis in graph.array(op.inputs[1])]
    return [graph.node("Transpose", [graph.value(op.inputs[0])], op.name, perm=perm)]


def _pad(graph: Writer, op: Any) -> list[str]:
    amounts = np.asarray(graph.array(op.inputs[1]), np.int64).T.reshape(-1)
    inputs = [graph.value(op.inputs[0]), graph.constant(amounts, f"{op.name}/pads")]
    if op.type == "PadV2":
        inputs.append(graph.constant(np.float32(graph.array(op.inputs[2])), f"{op.name}/value"))
    if op.type != "MirrorPad":
        return [graph.node("Pad", inputs, op.name)]
    if op.get_attr("mode") != b"REFLECT":
        graph.refuse(op, "a symmetric mirror padding")
    return [graph.node("Pad", inputs, op.name, mode="reflect")]


def _relu6(graph: Writer, op: Any) -> list[str]:
    return _clip(graph, op, graph.value(op.inputs[0]), 0.0, 6.0)


def _clip(graph: Writer, op: Any, source: str, low: float | None, high: float | None) -> list[str]:
    bounds = [
        "" if bound is None else graph.constant(np.float32(bound), f"{op.name}/{word}")
        for word, bound in (("min", low), ("max", high))
    ]
    return [graph.node("Clip", [source, *bounds], op.name)]


def _extreme(onnx_op: str) -> Row:
    """Minimum or Maximum; with a number it is a Clip, and one with each is one Clip."""

    def write(graph: Writer, op: Any) -> list[str]:
        found = _bound(op)
        if found is None:
            return [graph.node(onnx_op, [graph.value(t) for t in op.inputs], op.name)]
        source, bounds = found[0], {op.type: found[1]}
        inner = _bound(source.op) if source.op.type in ("Minimum", "Maximum") else None
        if inner is not None and source.op.type != op.type:
            source, bounds[source.op.type] = inner[0], inner[1]
        low, high = bounds.get("Maximum"), bounds.get("Minimum")
        if low is not None and high is not None and low > high:
            return [graph.node(onnx_op, [graph.value(t) for t in op.inputs], op.name)]
        return _clip(graph, op, graph.value(source), low, high)

    return Row(write)


def _bound(op: Any) -> tuple[Any, float] | None:
    """The tensor and the number that a Minimum or Maximum compares."""
    for tensor, other in (op.inputs, list(op.inputs)[::-1]):
        known = tf.get_static_value(other)
        if known is not None and np.size(known) == 1 and tensor.shape.rank:
            return tensor, float(np.ravel(known)[0])
    return None


def _leaky(graph: Writer, op: Any) -> list[str]:
    alpha = float(op.get_attr("alpha"))
    return [graph.node("LeakyRelu", [graph.value(op.inputs[0])], op.name, alpha=alpha)]


def _softmax(graph: Writer, op: Any) -> list[str]:
    return [graph.node("Softmax", [graph.value(op.inputs[0])], op.name, axis=-1)]


def _rsqrt(graph: Writer, op: Any) -> list[str]:
    root = graph.node("Sqrt", [graph.value(op.inputs[0])], op.name)
    return [graph.node("Reciprocal", [root], op.name)]


def _square(graph: Writer, op: Any) -> list[str]:
    source = graph.value(op.inputs[0])
    return [graph.node("Mul", [source, source], op.name)]


def _squared_difference(graph: Writer, op: Any) -> list[str]:
    difference = graph.node("Sub", [graph.value(t) for t in op.inputs], op.name)
    return [graph.node("Mul", [difference, difference], op.name)]


def _resize(mode: str) -> Row:
    def write(graph: Writer, op: Any) -> list[str]:
        """Channels last in TensorFlow, always."""
        if op.get_attr("align_corners"):
            graph.refuse(op, "a resize with aligned corners")
        half = op.get_attr("half_pixel_centers")
        n, height, width, channels = op.outputs[0].shape.as_list()
        sizes = graph.constant(np.array([n, channels, height, width], np.int64), f"{op.name}/sizes")
        source = graph.first(graph.value(op.inputs[0]), op.name)
        coordinates = "half_pixel" if half else "asymmetric"
        extra: dict[str, Any] = {"nearest_mode": "floor"} if mode == "nearest" else {}
        result = graph.node(
            "Resize",
            [source, "", "", sizes],
            op.name,
            mode=mode,
            coordinate_transformation_mode=coordinates,
            **extra,
        )
        return [graph.last(result, op.name)]

    return Row(write, _first)


TABLE: dict[str, Row] = {
    **{op: Row(_through) for op in ("Identity", "StopGradient", "PreventGradient", "Snapshot")},
    **{op: _same(op) for op in ("Abs", "Elu", "Exp", "Neg", "Pow", "Relu", "Selu", "Sigmoid")},
    **{op: _same(op) for op in ("Softplus", "Sqrt", "Sub", "Mul", "Tanh", "Erf")},
    "Add": _same("Add"),
    "AddV2": _same("Add"),
    "AvgPool": _pool("AveragePool"),
    "BatchToSpaceND": Row(_dilated, _dilated_reads),
    "BiasAdd": Row(_bias_add),
    "Cast": Row(_cast),
    "ConcatV2": Row(_concat, lambda op: op.inputs[:-1]),
    "Const": Row(_const, lambda _: ()),
    "Conv2D": Row(_conv),
    "DepthwiseConv2dNative": Row(_conv),
    "ExpandDims": Row(_reshape, _first),
    "FusedBatchNormV3": Row(_batch_norm),
    "IdentityN": Row(_through_all),
    "LeakyRelu": Row(_leaky),
    "MatMul": Row(_matmul),
    "Max": _reduce("ReduceMax"),
    "MaxPool": _pool("MaxPool"),
    "Maximum": _extreme("Max"),
    "Mean": _reduce("ReduceMean"),
    "Minimum": _extreme("Min"),
    "MirrorPad": Row(_pad, _first),
    "Pad": Row(_pad, _first),
    "PadV2": Row(_pad, _first),
    "RealDiv": _same("Div"),
    "Relu6": Row(_relu6),
    "Reshape": Row(_reshape, _first),
    "ResizeBilinear": _resize("linear"),
    "ResizeNearestNeighbor": _resize("nearest"),
    "Rsqrt": Row(_rsqrt),
    "Softmax": Row(_softmax),
    "Split": Row(_split, lambda op: op.inputs[1:]),
    "Square": Row(_square),
    "SquaredDifference": Row(_squared_difference),
    "Squeeze": Row(_reshape, _first),
    "Sum": _reduce("ReduceSum"),
    "Transpose": Row(_transpose, _first),
}
