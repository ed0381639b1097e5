"""TensorFlow's ops on images as ONNX: convolutions, pools, resizes, depth and space.

ONNX knows them channels first only, so a channels-last one stands between two transposes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ghostedge_convert.sources.keras.tf_writer import GraphWriter, TfOp, first_input

_Axis = tuple[int, int, int, int]
"""Size of an image, of a kernel, stride and dilation along one axis."""


def _channels_first(
    graph: GraphWriter, op: Any, onnx_op: str, image: Any, others: list[str], **attributes: Any
) -> list[str]:
    """One node over an image, between two transposes where the op's images are channels last.

    Args:
        graph: Where to.
        op: Whose ``data_format`` counts; without one it is channels last.
        onnx_op: The node's.
        image: The tensor that is its first input.
        others: Names of its other inputs.
        attributes: Of the node.
    """
    last = "data_format" not in op.node_def.attr or is_last(op)
    source = graph.value(image)
    source = graph.first(source, op.name) if last else source
    result = graph.node(onnx_op, [source, *others], op.name, **attributes)
    return [graph.last(result, op.name) if last else result]


def is_last(op: Any) -> bool:
    """Whether an op's images are channels last."""
    return bool(op.get_attr("data_format") == b"NHWC")


def _conv(graph: GraphWriter, op: Any) -> list[str]:
    kernel, group = _kernel(graph, op)
    size = tuple(op.inputs[1].shape.as_list()[:2])
    return _windowed(graph, op, "Conv", size, [kernel], group=group)


def _kernel(graph: GraphWriter, conv: Any) -> tuple[str, int]:
    """A kernel [height, width, in, out] as ONNX has it, and the number of groups.

    A depthwise one is [height, width, in, multiplier], output channels in that order.
    """
    kernel, (height, width, inputs, outputs) = conv.inputs[1], conv.inputs[1].shape.as_list()
    name = f"{conv.name}/kernel"
    if conv.type == "Conv2D":
        channels = conv.inputs[0].shape.as_list()[3 if is_last(conv) else 1]
        turned = graph.node("Transpose", [graph.value(kernel)], name, perm=[3, 2, 0, 1])
        return turned, channels // inputs
    turned = graph.node("Transpose", [graph.value(kernel)], name, perm=[2, 3, 0, 1])
    shape = np.array([inputs * outputs, 1, height, width])
    return graph.node("Reshape", [turned, graph.constant(shape, f"{name}/shape")], name), inputs


def _conv_transpose(graph: GraphWriter, op: Any) -> list[str]:
    """The gradient of a convolution: sizes, kernel [height, width, out, in], image.

    TensorFlow states the size of its output; what the convolution of that size would pad, the
    transposed one crops, and rows that it never reached stay zero but for the bias.
    """
    kernel, image, result = op.inputs[1], op.inputs[2], op.outputs[0].shape
    if not result.is_fully_defined():
        graph.refuse(op, f"the shape {result} is not known before it runs")
    spatial = slice(1, 3) if is_last(op) else slice(2, 4)
    strides, dilations = _steps(op, spatial)
    sizes = result.as_list()[spatial]
    axes = list(zip(sizes, kernel.shape.as_list()[:2], strides, dilations, strict=True))
    pads = _pads(op, spatial, axes)
    reached = [
        (count - 1) * stride + (size - 1) * dilation + 1 - pads[i] - pads[i + 2]
        for i, (count, (_, size, stride, dilation)) in enumerate(
            zip(image.shape.as_list()[spatial], axes, strict=True)
        )
    ]
    perm = [3, 2, 0, 1]
    turned = graph.node("Transpose", [graph.value(kernel)], f"{op.name}/kernel", perm=perm)
    return _channels_first(
        graph,
        op,
        "ConvTranspose",
        image,
        [turned],
        strides=strides,
        dilations=dilations,
        pads=pads,
        output_padding=[size - have for size, have in zip(sizes, reached, strict=True)],
    )


def _dilated(graph: GraphWriter, op: Any) -> list[str]:
    """A dilated convolution as TensorFlow writes it: between SpaceToBatchND and its inverse."""
    conv, spread = _between(op)
    if conv is None or spread is None:
        graph.refuse(op, "it is not the end of a dilated convolution")
    pads = graph.array(spread.inputs[2]) - graph.array(op.inputs[2])
    if pads.min() < 0 or conv.get_attr("padding") != b"VALID":
        graph.refuse(op, "a dilated convolution that crops its input")
    kernel, group = _kernel(graph, conv)
    return _channels_first(
        graph,
        conv,
        "Conv",
        spread.inputs[0],
        [kernel],
        group=group,
        dilations=[int(d) for d in graph.array(spread.inputs[1])],
        pads=[int(n) for n in pads.T.reshape(-1)],
    )


def _between(op: Any) -> tuple[Any, Any]:
    """The convolution before a BatchToSpaceND, and the SpaceToBatchND before that, or None."""
    conv = op.inputs[0].op
    if conv.type not in ("Conv2D", "DepthwiseConv2dNative") or not is_last(conv):
        return None, None
    spread = conv.inputs[0].op
    return conv, spread if spread.type == "SpaceToBatchND" else None


def _dilated_reads(op: Any) -> list[Any]:
    conv, spread = _between(op)
    return [] if conv is None or spread is None else [spread.inputs[0], conv.inputs[1]]


def _pool(onnx_op: str) -> TfOp:
    def write(graph: GraphWriter, op: Any) -> list[str]:
        size = [int(k) for k in op.get_attr("ksize")]
        kernel = tuple(size[1:3] if is_last(op) else size[2:])
        return _windowed(graph, op, onnx_op, kernel, [], kernel_shape=kernel)

    return TfOp(write, first_input)


def _windowed(
    graph: GraphWriter,
    op: Any,
    onnx_op: str,
    kernel: tuple[int, ...],
    parameters: list[str],
    **attributes: Any,
) -> list[str]:
    """A convolution or pool: TensorFlow's padding stated in numbers."""
    spatial = slice(1, 3) if is_last(op) else slice(2, 4)
    strides, dilations = _steps(op, spatial)
    image = op.inputs[0].shape.as_list()[spatial]
    pads = _pads(op, spatial, list(zip(image, kernel, strides, dilations, strict=True)))
    if onnx_op == "Conv":
        attributes["dilations"] = dilations
    return _channels_first(
        graph, op, onnx_op, op.inputs[0], parameters, strides=strides, pads=pads, **attributes
    )


def _steps(op: Any, spatial: slice) -> tuple[list[int], list[int]]:
    """Strides and dilations of the two axes."""
    strides = [int(s) for s in op.get_attr("strides")][spatial]
    if "dilations" not in op.node_def.attr:
        return strides, [1, 1]
    return strides, [int(d) for d in op.get_attr("dilations")][spatial]


def _pads(op: Any, spatial: slice, axes: list[_Axis]) -> list[int]:
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


def _batch_norm(graph: GraphWriter, op: Any) -> list[str]:
    if op.get_attr("is_training"):
        graph.refuse(op, "a batch norm in training mode")
    parameters = [graph.value(t) for t in op.inputs[1:]]
    epsilon = float(op.get_attr("epsilon"))
    return _channels_first(
        graph, op, "BatchNormalization", op.inputs[0], parameters, epsilon=epsilon
    )


def _resize(mode: str) -> TfOp:
    def write(graph: GraphWriter, op: Any) -> list[str]:
        if op.get_attr("align_corners"):
            graph.refuse(op, "a resize with aligned corners")
        half = op.get_attr("half_pixel_centers")
        n, height, width, channels = op.outputs[0].shape.as_list()
        sizes = graph.constant(np.array([n, channels, height, width], np.int64), f"{op.name}/sizes")
        return _channels_first(
            graph,
            op,
            "Resize",
            op.inputs[0],
            ["", "", sizes],
            mode=mode,
            coordinate_transformation_mode="half_pixel" if half else "asymmetric",
            **_RESIZE_EXTRAS[mode, half],
        )

    return TfOp(write, first_input)


# The nearest of half-pixel positions is where (i + 0.5) * scale falls. Cubic weights are those of
# Keys, a = -0.5, only with half-pixel positions, and then shared out among what is inside
# (tensorflow/core/kernels/image/resize_bicubic_op.cc).
_RESIZE_EXTRAS: dict[tuple[str, bool], dict[str, Any]] = {
    ("nearest", False): {"nearest_mode": "floor"},
    ("nearest", True): {"nearest_mode": "round_prefer_ceil"},
    ("linear", False): {},
    ("linear", True): {},
    ("cubic", False): {"cubic_coeff_a": -0.75},
    ("cubic", True): {"cubic_coeff_a": -0.5, "exclude_outside": 1},
}


def _blocks(onnx_op: str) -> TfOp:
    """DepthToSpace or SpaceToDepth: the channels of a block's element lie together."""

    def write(graph: GraphWriter, op: Any) -> list[str]:
        size = int(op.get_attr("block_size"))
        return _channels_first(graph, op, onnx_op, op.inputs[0], [], blocksize=size)

    return TfOp(write)


IMAGE_TABLE: dict[str, TfOp] = {
    "AvgPool": _pool("AveragePool"),
    "BatchToSpaceND": TfOp(_dilated, _dilated_reads),
    "Conv2D": TfOp(_conv),
    "Conv2DBackpropInput": TfOp(_conv_transpose, lambda op: op.inputs[1:]),
    "DepthToSpace": _blocks("DepthToSpace"),
    "DepthwiseConv2dNative": TfOp(_conv),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), TfOp(_batch_norm)),
    "MaxPool": _pool("MaxPool"),
    "ResizeBicubic": _resize("cubic"),
    "ResizeBilinear": _resize("linear"),
    "ResizeNearestNeighbor": _resize("nearest"),
    "SpaceToDepth": _blocks("SpaceToDepth"),
}
