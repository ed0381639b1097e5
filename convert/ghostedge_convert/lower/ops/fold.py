"""Narrow int8 convolutions computed several pixels at a time.

XNNPACK's int8 convolution pays per output pixel and per tap, almost whatever the number of
channels: channels are padded to 4 or 8 at each tap, outputs to 8 or 16 lanes. Seen as an image of
``pixels`` times fewer columns and as many times more channels (a RESHAPE, no element moves), the
same function is a convolution with fewer, fuller taps; weights that no output uses are zero. The
integer sums are the same, so the results are too, bit for bit.

Two shapes gain from it on x86 and on Arm alike, and only these are folded: a stem, whose taps of
three channels become two thirds as many of six; and a pointwise convolution with at most 8
outputs, two pixels of which fill 16 lanes. Wider groups are faster still on x86 alone, but they
multiply more zeros, which Arm cores feel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.program import Array
from ghostedge_convert.lower.window import Window

_IMAGE_CHANNELS = 4  # A stem: the pixels of an image, alpha included at most.
_FEW_OUTPUTS = 8  # Half of the 16 output lanes of the wide int8 kernels.
_PAIR = 2  # Columns that become one.


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
