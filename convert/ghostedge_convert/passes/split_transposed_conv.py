"""A transposed convolution of stride 2 becomes a convolution for each phase of its stride.

The outputs at even and at odd places read different taps: four ordinary convolutions of a quarter
of the taps each, whose results are the pixels of 2x2 blocks; where each reads one input pixel, they
are one. On XNNPACK that takes half the time of TRANSPOSE_CONV in float and a fifth or less in int8
(64 to 32 channels, 28 to 56 pixels, 2x2 and 4x4 taps, x86, LiteRT 2.3); ONNX Runtime's float takes
as long as before, with 2x2 taps twice as long. Groups, which TRANSPOSE_CONV has not, come for free.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    Array,
    add_constant,
    bypass,
    constant,
    input_at,
    int_attr,
    ints_attr,
    nodes_of,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote

_LARGEST_STRIDE = 2  # Of more phases than 4, XNNPACK does not concatenate the results.


def split_transposed_conv(model: ir.Model) -> PassNote:
    """Rewrite each ConvTranspose of stride 2 along both of two axes, in place.

    One of stride 1 is rewritten where it has groups.
    """
    edits = sum(_split(model, node) for node in nodes_of(model, "ConvTranspose"))
    note = f"{edits} transposed convolutions split by phase" if edits else "none of stride 2"
    return PassNote("split_transposed_conv", edits, note)


def _split(model: ir.Model, node: ir.Node) -> bool:
    source, groups = node.inputs[0], int_attr(node, "group", 1)
    weight, bias = constant(node.inputs[1]), input_at(node, 2)
    image, out = static_shape(source), static_shape(node.outputs[0])
    stride = _stride(node)
    if source is None or image is None or out is None or weight is None or weight.ndim != 4:
        return False
    bias_is_constant = bias is None or constant(bias) is not None
    if stride is None or (stride == 1 and groups == 1) or not bias_is_constant:
        return False
    sizes = [-(-size // stride) for size in out[2:]]
    phases = _phases(node, weight, stride, list(zip(image[2:], sizes, strict=True)))
    biases = None if bias is None else constant(bias)
    if groups == 1 and all(taps.shape[2:] == (1, 1) and not any(p) for taps, p in phases):
        phases = [(np.concatenate([taps for taps, _ in phases]), phases[0][1])]
        biases = None if biases is None else np.tile(biases, stride**2)
    parts = []
    for number, (taps, pads) in enumerate(phases):
        name = f"{node.name}/phase_{number}"
        inputs = [source, add_constant(model, f"{name}.weight", np.ascontiguousarray(taps))]
        if biases is not None:
            inputs.append(add_constant(model, f"{name}.bias", biases))
        attributes = [ir.AttrInt64("group", groups), ir.AttrInt64s("pads", pads)]
        conv = ir.Node("", "Conv", inputs, attributes)
        parts.append(_insert(model, node, conv, name, (out[0], len(taps), *sizes)))
    joined = parts[0]
    if stride > 1:
        joined = _blocks(model, node, parts, stride, (out[0], out[1], *sizes))
    if tuple(size * stride for size in sizes) != out[2:]:
        joined = _cropped(model, node, joined, out)
    bypass(model, node, joined)
    return True


def _phases(
    node: ir.Node, weight: Array, stride: int, sizes: list[tuple[int, int]]
) -> list[tuple[Array, list[int]]]:
    """Weights and pads of the convolution for each phase, those of the first row first.

    ``sizes`` are the elements of the image and of a phase along each axis.
    """
    groups, before = int_attr(node, "group", 1), ints_attr(node, "pads", [0] * 4)[:2]
    kernel = _output_first(_dilated(weight, ints_attr(node, "dilations", [1, 1])), groups)
    phases = []
    for place in product(range(stride), repeat=2):
        taps, pads = kernel, np.zeros((2, 2), np.int64)
        for axis, (size, out) in enumerate(sizes):
            phase = _Phase(place[axis] + before[axis], stride, size, out)
            taps, pads[:, axis] = _taps(taps, axis + 2, phase)
        phases.append((taps, [int(pad) for pad in pads.reshape(-1)]))
    return phases


def _stride(node: ir.Node) -> int | None:
    """The stride of both axes, None where they differ, are larger, or the pads are not stated."""
    auto = node.attributes.get("auto_pad")
    stated = auto is None or auto.as_string() == "NOTSET"
    strides = ints_attr(node, "strides", [1, 1])
    if not stated or "output_shape" in node.attributes or len(set(strides)) > 1:
        return None
    return strides[0] if strides[0] <= _LARGEST_STRIDE else None


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
    joined = parts[0]
    if len(parts) > 1:
        concat = ir.Node("", "Concat", parts, [ir.AttrInt64("axis", 1)])
        size = (batch, channels * stride**2, height, width)
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
