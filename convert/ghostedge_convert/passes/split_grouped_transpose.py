"""A transposed convolution with groups becomes a convolution for each phase of its stride.

With stride 2, the outputs at even and at odd places read different taps: four ordinary
convolutions of a quarter of the taps each, whose results are the pixels of 2x2 blocks. TFLite knows
no groups in TRANSPOSE_CONV, and int8 weights with a scale per channel need an axis of output
channels, which grouped transposed weights do not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes._graph import (
    Array,
    add_constant,
    bypass,
    constant,
    input_at,
    int_attr,
    nodes_of,
    static_shape,
)
from ghostedge_convert.passes._infra import PassNote

_LARGEST_STRIDE = 2  # Of more phases than 4, XNNPACK does not concatenate the results.


def split_grouped_transpose(model: ir.Model) -> PassNote:
    """Rewrite each ConvTranspose with groups, two axes and one stride of at most 2, in place."""
    edits = sum(_split(model, node) for node in nodes_of(model, "ConvTranspose"))
    note = (
        f"{edits} grouped transposed convolutions split by phase" if edits else "none with groups"
    )
    return PassNote("split_grouped_transpose", edits, note)


def _split(model: ir.Model, node: ir.Node) -> bool:
    source, groups = node.inputs[0], int_attr(node, "group", 1)
    weight, bias = constant(node.inputs[1]), input_at(node, 2)
    image, out = static_shape(source), static_shape(node.outputs[0])
    auto = node.attributes.get("auto_pad")
    stated = "output_shape" not in node.attributes and (
        auto is None or auto.as_string() == "NOTSET"
    )
    strides = _ints(node, "strides", [1, 1])
    plain = stated and len(set(strides)) == 1 and strides[0] <= _LARGEST_STRIDE
    if groups == 1 or weight is None or weight.ndim != 4 or not plain:
        return False
    if (
        source is None
        or image is None
        or out is None
        or (bias is not None and constant(bias) is None)
    ):
        return False
    stride, before = strides[0], _ints(node, "pads", [0] * 4)[:2]
    kernel = _output_first(_dilated(weight, _ints(node, "dilations", [1, 1])), groups)
    sizes = [-(-size // stride) for size in out[2:]]
    parts = []
    for place in product(range(stride), repeat=2):
        taps, pads = kernel, []
        for axis in (0, 1):
            start = place[axis] + before[axis]
            phase = _Phase(start, stride, image[axis + 2], sizes[axis])
            taps, ends = _taps(taps, axis + 2, phase)
            pads.append(ends)
        name = f"{node.name}/phase_{place[0]}{place[1]}"
        inputs = [source, add_constant(model, f"{name}.weight", np.ascontiguousarray(taps))]
        attributes = [
            ir.AttrInt64("group", groups),
            ir.AttrInt64s("pads", [pads[0][0], pads[1][0], pads[0][1], pads[1][1]]),
        ]
        conv = ir.Node("", "Conv", inputs + ([bias] if bias is not None else []), attributes)
        parts.append(_insert(model, node, conv, name, (out[0], out[1], *sizes)))
    joined = parts[0]
    if stride > 1:
        joined = _blocks(model, node, parts, stride, (out[0], out[1], *sizes))
    if tuple(size * stride for size in sizes) != out[2:]:
        joined = _cropped(model, node, joined, out)
    bypass(model, node, joined)
    return True


@dataclass(frozen=True)
class _Phase:
    """One phase of an axis: output ``q`` is ``q * stride + start`` before padding is cut off.

    ``size`` and ``out`` are the elements of the image and of the phase along the axis.
    """

    start: int
    stride: int
    size: int
    out: int


def _taps(kernel: Array, axis: int, phase: _Phase) -> tuple[Array, tuple[int, int]]:
    """The taps that a phase reads, in a convolution's order, and its padding.

    Output ``q`` reads tap ``first + j * stride`` of input ``q + ahead - j``.
    """
    ahead, first = divmod(phase.start, phase.stride)
    count = max(1, -(-(kernel.shape[axis] - first) // phase.stride))
    places = first + phase.stride * np.arange(count)[::-1]
    inside = places < kernel.shape[axis]
    shape = [-1 if a == axis else 1 for a in range(kernel.ndim)]
    taps = kernel.take(places * inside, axis) * inside.reshape(shape)
    before = count - 1 - ahead
    after = phase.out - phase.size - before + count - 1
    # Zero taps where the phase would have to skip elements of the image.
    more = [(max(0, -before), max(0, -after)) if a == axis else (0, 0) for a in range(kernel.ndim)]
    return np.pad(taps, more).astype(kernel.dtype), (max(0, before), max(0, after))


def _dilated(weight: Array, dilations: list[int]) -> Array:
    sizes = [(n - 1) * d + 1 for n, d in zip(weight.shape[2:], dilations, strict=True)]
    wide: Array = np.zeros((*weight.shape[:2], *sizes), weight.dtype)
    wide[:, :, :: dilations[0], :: dilations[1]] = weight
    return wide


def _output_first(weight: Array, groups: int) -> Array:
    """I, O/groups, … as O, I/groups, …: the weights of a convolution."""
    ins, outs = weight.shape[:2]
    grouped: Array = weight.reshape(groups, ins // groups, outs, *weight.shape[2:]).swapaxes(1, 2)
    return grouped.reshape(groups * outs, ins // groups, *weight.shape[2:])


def _blocks(
    model: ir.Model, node: ir.Node, parts: list[ir.Value], stride: int, shape: tuple[int, ...]
) -> ir.Value:
    batch, channels, height, width = shape
    concat = ir.Node("", "Concat", parts, [ir.AttrInt64("axis", 1)])
    size = (batch, channels * len(parts), height, width)
    joined = _insert(model, node, concat, f"{node.name}/phases", size)
    space = ir.Node("", "DepthToSpace", [joined], [ir.AttrInt64("blocksize", stride)])
    size = (batch, channels, height * stride, width * stride)
    return _insert(model, node, space, f"{node.name}/pixels", size)


def _cropped(model: ir.Model, node: ir.Node, value: ir.Value, out: tuple[int, ...]) -> ir.Value:
    bounds = [
        add_constant(model, f"{node.name}/{name}", np.asarray(numbers, np.int64))
        for name, numbers in (("starts", [0, 0]), ("ends", out[2:]), ("axes", [2, 3]))
    ]
    crop = ir.Node("", "Slice", [value, *bounds])
    return _insert(model, node, crop, f"{node.name}/crop", out)


def _insert(
    model: ir.Model, before: ir.Node, node: ir.Node, name: str, shape: tuple[int, ...]
) -> ir.Value:
    node.name = name
    value = node.outputs[0]
    value.name, value.type, value.shape = name, before.outputs[0].type, ir.Shape(shape)
    model.graph.insert_before(before, node)
    return value


def _ints(node: ir.Node, name: str, default: list[int]) -> list[int]:
    found = node.attributes.get(name)
    return default if found is None else [int(each) for each in found.as_ints()]
