"""Conv: plain, grouped, dilated and depthwise, float32 and int8; one axis in space is a row.

Narrow int8 convolutions are folded: two neighbouring columns are computed as one, see
:func:`fold_columns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.ops.weights import bias, weights
from ghostedge_convert.lower.program import CHANNELS_LAST, LINE, Array, Quant, step
from ghostedge_convert.lower.window import Window, image_windows, padding

_IMAGE_CHANNELS = 4  # A stem: the pixels of an image, alpha included at most.
_FEW_OUTPUTS = 8  # Half of the 16 output lanes of the wide int8 kernels.
_PAIR = 2  # Columns that become one.


def conv(e: Emitter, node: Node) -> None:
    """CONV_2D, or DEPTHWISE_CONV_2D where every group has one input channel."""
    image, out = e.value(node.inputs[0]), e.value(node.outputs[0])
    stored = weights(e, node, 1, channel_axis=0).over_image()
    kernel, quant = stored.data, stored.quant
    group = int(node.attributes.get("group", 1))
    spans = image_windows(node, image.shape, out.shape, kernel.shape[2:])
    fold = fold_columns(node, kernel, spans[1], out.shape[-1]) if quant is not None else None
    if fold is not None and quant is not None:
        _wide_conv(e, node, fold, spans[0], quant)
        return
    word, amounts = padding(spans)
    x = image_of(e, node)
    if amounts is not None:
        x = padded(e, node, x, amounts)
    biases = bias(e, node, x, kernel.shape[0], quant)
    dilations = [1, *node.attributes.get("dilations", [1, 1])][-2:]
    options = _options(word, spans[0].stride, spans[1].stride, dilations) | image_result(e, node)
    if group == image.shape[1] and group > 1:
        taps = stored.transposed((1, 2, 3, 0)).stored(e)  # O,1,kh,kw → 1,kh,kw,O
        options["depthMultiplier"] = kernel.shape[0] // group
        traits = ["dilated"] if max(dilations) > 1 else []
        e.result(node, "DEPTHWISE_CONV_2D", [x, taps, biases], traits=traits, **options)
    else:
        taps = stored.transposed((0, 2, 3, 1)).stored(e)
        traits = ["grouped"] if group > 1 else []
        e.result(node, "CONV_2D", [x, taps, biases], traits=traits, **options)


def _options(
    word: str, down: int, across: int, dilations: Sequence[int] = (1, 1)
) -> dict[str, Any]:
    return {
        "padding": word,
        "strideH": down,
        "strideW": across,
        "dilationHFactor": dilations[0],
        "dilationWFactor": dilations[1],
    }


def image_of(e: Emitter, node: Node) -> int:
    """A node's first input as N, H, W, C; with one axis in space, as an image of one row.

    Raises:
        UnsupportedOpError: It has more than two axes in space, or none.
    """
    name = node.inputs[0]
    rank = e.value(name).rank
    if rank == len(CHANNELS_LAST):
        return e.activation(name)
    if rank != len(LINE):
        node.refuse(f"{rank - 2} axes in space", "only one or two can be lowered")
    x = e.transposed(e.activation(name), step(e.order(name), LINE))
    count, length, channels = e.tensor(x).shape
    return e.shaped(x, (count, 1, length, channels))


def bind_image(e: Emitter, node: Node, x: int) -> None:
    """Say which channels-last image is a node's output; with one axis in space, of one row."""
    if e.value(node.outputs[0]).rank == len(LINE):
        count, _, length, channels = e.tensor(x).shape
        line = e.shaped(x, (count, length, channels))
        x = e.transposed(line, step(LINE, e.order(node.outputs[0])))
    e.bind(node, x)


def image_result(e: Emitter, node: Node) -> dict[str, Any]:
    """What :meth:`Emitter.result` has to know where the image has one row only."""
    shape = e.value(node.outputs[0]).shape
    if len(shape) == len(CHANNELS_LAST):
        return {}
    return {"order": LINE, "shape": (shape[0], 1, shape[2], shape[1])}


def padded(e: Emitter, node: Node, x: int, amounts: Array) -> int:
    """A channels-last tensor padded with zeros."""
    shape = np.asarray(e.tensor(x).shape) + amounts.sum(axis=1)
    target = e.temporary(f"{node.outputs[0]}/padded", shape.tolist(), x)
    return e.op("PAD", [x, e.int32(amounts, "paddings")], [target])


@dataclass(frozen=True)
class Fold:
    """How columns are grouped.

    Attributes:
        pixels: Input columns per group.
        outputs: Output columns per group.
        before: Groups to pad before the image.
        after: Groups to pad after it.
        kernel: Folded weights, O·outputs, kh, groups, pixels·I: TFLite's order.
    """

    pixels: int
    outputs: int
    before: int
    after: int
    kernel: Array


def fold_columns(node: Node, kernel: Array, columns: Window, width: int) -> Fold | None:
    """The fold that makes a convolution cheaper, None where there is none.

    XNNPACK's int8 convolution pays per output pixel and per tap, almost whatever the number of
    channels: channels are padded to 4 or 8 at each tap, outputs to 8 or 16 lanes. Seen as an image
    of ``pixels`` times fewer columns and as many times more channels (a RESHAPE, no element moves),
    the same function is a convolution with fewer, fuller taps; weights that no output uses are
    zero. The integer sums are the same, so the results are too, bit for bit.

    Two shapes gain from it on x86 and on Arm alike, and only these are folded: a stem, whose taps
    of three channels become two thirds as many of six; and a pointwise convolution with at most 8
    outputs, two pixels of which fill 16 lanes. Wider groups are faster still on x86 alone, but they
    multiply more zeros, which Arm cores feel.

    Args:
        node: An integer Conv.
        kernel: Its weights, (O, I, kh, kw).
        columns: Its window along the width.
        width: Output columns.
    """
    outs, channels, _, taps = kernel.shape
    pointwise = kernel.shape[2:] == (1, 1) and columns.stride == 1 and outs <= _FEW_OUTPUTS
    stem = channels <= _IMAGE_CHANNELS and columns.stride == _PAIR and taps > 1
    if not (pointwise or stem) or not _is_plain(node) or columns.before >= taps:
        return None
    if columns.size % _PAIR or width * columns.stride != columns.size:
        return None
    return _folded(kernel, columns, _PAIR)


def _is_plain(node: Node) -> bool:
    """Neither grouped nor dilated."""
    dilations = set(node.attributes.get("dilations", [1]))
    return node.attributes.get("group", 1) == 1 and dilations == {1}


def _folded(kernel: Array, columns: Window, pixels: int) -> Fold:
    """Place each tap of each output column in the group and the pixel of it that it reads."""
    outs, channels, rows, taps = kernel.shape
    outputs = pixels // columns.stride
    reads = [
        (output, tap, *divmod(output * columns.stride - columns.before + tap, pixels))
        for output in range(outputs)
        for tap in range(taps)
    ]
    first, last = min(r[2] for r in reads), max(r[2] for r in reads)
    shape = (outputs, outs, rows, last - first + 1, pixels, channels)
    wide = np.zeros(shape, kernel.dtype)
    for output, tap, group, pixel in reads:
        wide[output, :, :, group - first, pixel] = kernel[:, :, :, tap].transpose(0, 2, 1)
    merged = wide.reshape(outputs * outs, rows, last - first + 1, pixels * channels)
    return Fold(pixels, outputs, max(-first, 0), max(last, 0), merged)


def _wide_conv(e: Emitter, node: Node, fold: Fold, rows: Window, quant: Quant) -> None:
    """The convolution over groups of columns, between two RESHAPEs that move nothing."""
    x = image_of(e, node)
    n, height, width, channels = e.tensor(x).shape
    x = e.shaped(x, (n, height, width // fold.pixels, channels * fold.pixels))
    pads = [(0, 0), (rows.before, rows.reach), (fold.before, fold.after), (0, 0)]
    if any(max(pair) for pair in pads):
        x = padded(e, node, x, np.asarray(pads, np.int32))
    count = fold.kernel.shape[0]
    biases = bias(e, node, x, count // fold.outputs, quant, repeat=fold.outputs)
    stored = e.constant(fold.kernel, node.inputs[1], quant.repeated(fold.outputs))
    shape = (n, rows.out, width // fold.pixels, count)
    options = _options("VALID", rows.stride, 1) | image_result(e, node) | {"shape": shape}
    e.result(node, "CONV_2D", [x, stored, biases], **options)
