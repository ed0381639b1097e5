"""ConvTranspose: float32 and int8, with any stride, padding, dilation and grouping.

TFLite's TRANSPOSE_CONV knows SAME and VALID, no dilation and no groups. SAME is used where it puts
the taps in the right places; otherwise the whole result is computed and a SLICE cuts the padding
off, which moves each element once. Dilated taps get zeros between them. Groups become weights that
are zero between channels of different groups: the deploy graph has none of these left where its
passes know how to write them as convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.ops.conv import image_of, image_result
from ghostedge_convert.lower.ops.weights import Weights, bias, weights
from ghostedge_convert.lower.program import Array


@dataclass(frozen=True)
class Spread:
    """How a transposed convolution places its taps along one axis.

    Attributes:
        size: Input elements.
        out: Output elements.
        kernel: Taps from first to last, the zeros of a dilation included.
        stride: Output elements from one input element's taps to the next one's.
        before: Elements cut off before the output.
    """

    size: int
    out: int
    kernel: int
    stride: int
    before: int

    @property
    def full(self) -> int:
        """Output elements that any tap reaches, or that the output needs behind them."""
        return max((self.size - 1) * self.stride + self.kernel, self.before + self.out)

    @property
    def is_same(self) -> bool:
        """Whether TFLite's SAME cuts off what this does."""
        excess = (self.size - 1) * self.stride + self.kernel - self.out
        return (
            -(-self.out // self.stride) == self.size and excess >= 0 and self.before == excess // 2
        )


def conv_transpose(e: Emitter, node: Node) -> None:
    """TRANSPOSE_CONV, and a SLICE where neither SAME nor VALID is the padding."""
    image = e.value(node.inputs[0])
    x = image_of(e, node)
    stored = _kernel(e, node)
    quant = stored.quant
    spreads = _spreads(node, image.shape, e.value(node.outputs[0]).shape, stored.data.shape[2:])
    same = all(s.is_same for s in spreads)
    batch, outs = image.shape[0], stored.data.shape[1]
    shape = (batch, *(s.out if same else s.full for s in spreads), outs)
    inputs = [
        e.int32(shape, "shape"),
        stored.transposed((1, 2, 3, 0)).stored(e),  # I, O, kh, kw → O, kh, kw, I
        x,
        bias(e, node, x, outs, quant),
    ]
    options: dict[str, Any] = {
        "padding": "SAME" if same else "VALID",
        "strideH": spreads[0].stride,
        "strideW": spreads[1].stride,
    }
    place = image_result(e, node)
    wanted = (batch, *(s.out for s in spreads), outs)
    if shape == wanted:
        e.result(node, "TRANSPOSE_CONV", inputs, **options, **place)
        return
    target = e.temporary(f"{node.outputs[0]}/whole", shape, x, quant=e.value(node.outputs[0]).quant)
    whole = e.op("TRANSPOSE_CONV", inputs, [target], **options)
    begins = e.int32((0, *(s.before for s in spreads), 0), "begin")
    e.result(node, "SLICE", [whole, begins, e.int32(wanted, "size")], **place)


def _kernel(e: Emitter, node: Node) -> Weights:
    """The weights I, O, kh, kw of a convolution without groups or dilation that does the same."""
    groups = int(node.attributes.get("group", 1))
    depthwise = e.value(node.inputs[1]).shape[:2] == (groups, 1)
    stored = weights(e, node, 1, channel_axis=0 if depthwise else 1).over_image()
    if groups > 1:
        stored = _ungrouped(stored, groups)
    dilations = [1, *node.attributes.get("dilations", [1, 1])][-2:]
    return replace(stored, data=_dilated(stored.data, dilations))


def _ungrouped(stored: Weights, groups: int) -> Weights:
    """The same function with each output channel reading all input channels.

    Scales along the weights' second axis are those of every group's outputs alike. Along the first
    they are the inputs', as which they are kept where they are only decoded; of a depthwise one
    they are the outputs' too.
    """
    ins, outs, *taps = stored.data.shape
    wide = np.zeros((ins, groups * outs, *taps), stored.data.dtype)
    for group in range(groups):
        rows = slice(group * ins // groups, (group + 1) * ins // groups)
        wide[rows, group * outs : (group + 1) * outs] = stored.data[rows]
    coded = stored.coded
    if coded is not None and coded.axis == 1:
        coded = coded.repeated(groups)
    elif coded is not None and stored.integer:
        coded = coded.along(1)
    return replace(stored, data=wide, coded=coded)


def _dilated(kernel: Array, dilations: Sequence[int]) -> Array:
    """A kernel with the zeros of its dilation written out."""
    down, across = ((size - 1) * d + 1 for size, d in zip(kernel.shape[2:], dilations, strict=True))
    wide = np.zeros((*kernel.shape[:2], down, across), kernel.dtype)
    wide[:, :, :: dilations[0], :: dilations[1]] = kernel
    return wide


def _spreads(
    node: Node, image: Sequence[int], out: Sequence[int], kernel: Sequence[int]
) -> tuple[Spread, ...]:
    """The node's axes in space, height and width, as ONNX's ConvTranspose defines its padding."""
    axes = len(image) - 2
    strides = node.attributes.get("strides", [1] * axes)
    pads = node.attributes.get("pads", [0] * (2 * axes))
    extra = node.attributes.get("output_padding", [0] * axes)
    auto = node.attributes.get("auto_pad", "NOTSET")
    spreads = [Spread(1, 1, 1, 1, 0)] * (2 - axes)
    for axis in range(axes):
        size, reach, result = image[2 + axis], kernel[2 - axes + axis], out[2 + axis]
        before = pads[axis]
        if auto.startswith("SAME") or "output_shape" in node.attributes:
            total = max(0, (size - 1) * strides[axis] + extra[axis] + reach - result)
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
        elif auto == "VALID":
            before = 0
        spreads.append(Spread(size, result, reach, strides[axis], before))
    return tuple(spreads)
