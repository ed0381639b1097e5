"""Sliding windows: which of TFLite's paddings computes what ONNX's pads say.

TFLite knows VALID (none) and SAME (as much as keeps ``ceil(in / stride)`` outputs, the odd
element after). ONNX states every amount. Where SAME is the same function it is used; otherwise
the padding becomes a PAD of its own, which XNNPACK folds into the convolution that follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.program import Array, Shape


@dataclass(frozen=True)
class Window:
    """A window sliding along one axis.

    Attributes:
        size: Input elements.
        out: Output elements.
        kernel: Window elements from first to last, dilation included.
        stride: Elements between windows.
        before: Elements padded before the input.
        after: Elements that ONNX pads after it, before any ``ceil_mode`` excess.
    """

    size: int
    out: int
    kernel: int
    stride: int
    before: int
    after: int

    @property
    def reach(self) -> int:
        """Elements that must be padded after the input for the last window to fit."""
        return max(0, (self.out - 1) * self.stride + self.kernel - self.size - self.before)

    @property
    def is_same(self) -> bool:
        """Whether TFLite's SAME puts every window where this one is."""
        if self.out != -(-self.size // self.stride):
            return False
        total = max((self.out - 1) * self.stride + self.kernel - self.size, 0)
        return self.before == total // 2

    def counts(self, *, with_padding: bool) -> Array:
        """How many elements each window averages over, with or without the padded ones."""
        low, high = (-self.before, self.size + self.after) if with_padding else (0, self.size)
        starts = np.arange(self.out) * self.stride - self.before
        return np.minimum(starts + self.kernel, high) - np.maximum(starts, low)


def windows(node: Node, image: Shape, out: Shape, kernel: Sequence[int]) -> tuple[Window, ...]:
    """The windows of a node along its spatial axes.

    Args:
        node: A Conv or pooling node.
        image: Input shape, N, C, then spatial.
        out: Output shape.
        kernel: Taps per spatial axis.

    Raises:
        UnsupportedOpError: ``auto_pad`` or the pads have a value that TFLite cannot express.
    """
    axes = len(kernel)
    strides = node.attributes.get("strides", [1] * axes)
    dilations = node.attributes.get("dilations", [1] * axes)
    pads = list(node.attributes.get("pads", [0] * (2 * axes)))
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        node.refuse(f"auto_pad={auto!r}", "state the padding with pads")
    if min(pads) < 0:
        node.refuse("negative pads", "crop with a Slice instead")
    spans = []
    for a in range(axes):
        size, steps, reach = image[2 + a], strides[a], (kernel[a] - 1) * dilations[a] + 1
        before, after = pads[a], pads[axes + a]
        if auto == "VALID":
            before = after = 0
        elif auto != "NOTSET":
            total = max((out[2 + a] - 1) * steps + reach - size, 0)
            small, large = total // 2, total - total // 2
            before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
        if node.attributes.get("ceil_mode", 0) and (out[2 + a] - 1) * steps >= size + before:
            node.refuse(
                "a last window that starts in the padding (ceil_mode=1)",
                "export with ceil_mode=0: runtimes do not agree on the output size",
            )
        spans.append(Window(size, out[2 + a], reach, steps, before, after))
    return tuple(spans)


def image_windows(
    node: Node, image: Shape, out: Shape, kernel: Sequence[int]
) -> tuple[Window, ...]:
    """The windows along height and width; with one axis in space, the image has one row."""
    row = (Window(1, 1, 1, 1, 0, 0),) * (4 - len(image))
    return row + windows(node, image, out, kernel[-(len(image) - 2) :])


def padding(spans: Sequence[Window], *, same: bool = True) -> tuple[str, Array | None]:
    """TFLite's padding for windows, and what to PAD first where neither word does it.

    Args:
        spans: The windows along height and width.
        same: Whether SAME may be used where it puts the windows in the right places.

    Returns:
        ``"VALID"`` or ``"SAME"``; the PAD amounts, a row (before, after) per NHWC axis, or None.
    """
    if all(w.before == 0 and w.reach == 0 for w in spans):
        return "VALID", None
    if same and all(w.is_same for w in spans):
        return "SAME", None
    rows = [(0, 0), *((w.before, w.reach) for w in spans), (0, 0)]
    return "VALID", np.asarray(rows, np.int32)
