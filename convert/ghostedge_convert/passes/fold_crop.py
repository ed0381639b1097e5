"""A crop of what a transposed convolution makes becomes its padding.

Keras's "same" padding comes as the whole result and a Slice of each side. What a transposed
convolution pads is what it leaves out.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    bypass,
    constant,
    input_at,
    ints_attr,
    nodes_of,
    only_consumer,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote

_SPATIAL = (2, 3)


def fold_crop(model: ir.Model) -> PassNote:
    """Add each Slice of height and width to the pads of the ConvTranspose before it, in place."""
    folded = sum(_fold(model, node) for node in nodes_of(model, "Slice"))
    note = f"{folded} crops folded" if folded else "no crop to fold"
    return PassNote("fold_crop", folded, note)


def _fold(model: ir.Model, crop: ir.Node) -> bool:
    source = crop.inputs[0]
    conv = source.producer() if source is not None else None
    if source is None or conv is None or conv.op_type != "ConvTranspose":
        return False
    shape, cuts = static_shape(source), _cuts(crop)
    auto = conv.attributes.get("auto_pad")
    stated = "output_shape" in conv.attributes or (auto and auto.as_string() != "NOTSET")
    if stated or shape is None or len(shape) != 4 or cuts is None:
        return False
    if only_consumer(source) is not crop or not set(cuts) <= set(_SPATIAL):
        return False
    pads, extra = ints_attr(conv, "pads", [0] * 4), ints_attr(conv, "output_padding", [0] * 2)
    for axis, (start, end) in cuts.items():
        first, past, _ = slice(start, end).indices(shape[axis])
        spatial = axis - 2
        pads[spatial] += first
        from_extra = min(extra[spatial], shape[axis] - past)
        extra[spatial] -= from_extra
        pads[spatial + 2] += shape[axis] - past - from_extra
    if not _inside_kernel(conv, pads):
        return False
    conv.attributes["pads"] = ir.AttrInt64s("pads", pads)
    conv.attributes["output_padding"] = ir.AttrInt64s("output_padding", extra)
    source.shape = crop.outputs[0].shape
    bypass(model, crop, source)
    return True


def _cuts(crop: ir.Node) -> dict[int, tuple[int, int]] | None:
    """Start and end by axis, where they are constants and no element is left out between."""
    starts, ends, axes, steps = (constant(input_at(crop, i)) for i in range(1, 5))
    unknown = any(
        input_at(crop, i) is not None and array is None
        for i, array in enumerate((starts, ends, axes, steps), 1)
    )
    if unknown or starts is None or ends is None or (steps is not None and np.any(steps != 1)):
        return None
    names = range(starts.size) if axes is None else [int(axis) % 4 for axis in axes]
    return dict(zip(names, zip(starts.tolist(), ends.tolist(), strict=True), strict=True))


def _inside_kernel(conv: ir.Node, pads: list[int]) -> bool:
    """Whether no side loses more than the kernel reaches over it, as runtimes require."""
    weight = constant(conv.inputs[1])
    if weight is None:
        return False
    dilations = ints_attr(conv, "dilations", [1, 1])
    reach = [(size - 1) * by for size, by in zip(weight.shape[2:], dilations, strict=True)]
    return all(pad <= most for pad, most in zip(pads, reach * 2, strict=True))
