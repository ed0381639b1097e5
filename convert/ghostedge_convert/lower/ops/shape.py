"""Ops that move or repeat elements without computing.

Reshape, transpose, concat, slice, split, pad, expand and tile, and DepthToSpace and its inverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.layout import permutation_of
from ghostedge_convert.lower.program import Array, reorder

_MIRRORS = {"reflect": "REFLECT"}
_TAKEN: dict[str, Callable[[Array, int], Array]] = {
    "edge": lambda places, size: np.clip(places, 0, size - 1),
    "wrap": lambda places, size: places % size,
}
"""Paddings that repeat elements: which one stands at a place, counted from the first one."""

JOINED_IN_XNNPACK = 5
"""Tensors that XNNPACK concatenates at a time."""

_SPLIT_IN_XNNPACK = 4
"""Equal parts that XNNPACK splits a tensor into."""


def reshape(e: Emitter, node: Node) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: the inferred output shape says it all."""
    name, out = node.inputs[0], node.outputs[0]
    old, new = e.value(name), e.value(out)
    index = e.activation(name)
    if out in e.layouts.features:
        e.bind(node, e.shaped(index, new.shape))
        return
    e.bind(node, e.reshaped(index, old.shape, e.order(name), new.shape, e.order(out)))


def transpose(e: Emitter, node: Node) -> None:
    """A permutation, composed with the axis orders on both sides."""
    name, out = node.inputs[0], node.outputs[0]
    perm = permutation_of(e.graph, node)
    source = e.order(name)
    permutation = tuple(source.index(perm[axis]) for axis in e.order(out))
    e.bind(node, e.transposed(e.activation(name), permutation))


def concat(e: Emitter, node: Node) -> None:
    """Concat; in int8 all parts must have the output's parameters."""
    out = e.value(node.outputs[0])
    order = e.order(out.name)
    parts = [e.operand(node, i, order) for i in range(len(node.inputs))]
    parts = [e.requantized(part, out.quant) for part in parts]
    axis = order.index(int(node.attributes["axis"]) % out.rank)
    e.result(node, "CONCATENATION", parts, axis=axis)


def slice_(e: Emitter, node: Node) -> None:
    """Slice with constant bounds, any step."""
    shape = e.value(node.inputs[0]).shape
    order = e.order(node.outputs[0])
    ranges = _ranges(e, node)
    bounds = [ranges.get(a, slice(None)).indices(s) for a, s in enumerate(shape)]
    x = e.operand(node, 0, order)
    quant = e.tensor(x).quant
    begins, ends, steps = (reorder([b[k] for b in bounds], order) for k in range(3))
    if set(steps) == {1}:
        sizes = reorder(e.value(node.outputs[0]).shape, order)
        inputs = [x, e.int32(begins, "begin"), e.int32(sizes, "size")]
        e.result(node, "SLICE", inputs, quant=quant)
        return
    if all(_is_even(*bound, size) for bound, size in zip(bounds, shape, strict=True)):
        for axis, (begin, end, stride) in enumerate(bounds[a] for a in order):
            if stride == 1:
                x = _cut(e, x, axis, begin, end - begin)
            else:
                x = _every(e, x, axis, begin, stride)
        e.bind(node, x)
        return
    # An end of -1 would mean the last element: backwards to the first one is said by a mask.
    mask = sum(1 << axis for axis, end in enumerate(ends) if end < 0)
    numbers = [e.int32(v, n) for v, n in ((begins, "begin"), (ends, "end"), (steps, "step"))]
    e.result(node, "STRIDED_SLICE", [x, *numbers], quant=quant, endMask=mask)


def _is_even(begin: int, end: int, stride: int, size: int) -> bool:
    """Whether a slice takes neighbours, or one element of each of as many groups as there are."""
    whole = len(range(begin, end, stride)) * stride == size
    return stride == 1 or (whole and 0 <= begin < stride)


def _every(e: Emitter, x: int, axis: int, begin: int, stride: int) -> int:
    """Every so many elements of an axis: columns of a matrix, which XNNPACK has a SLICE for."""
    source = e.tensor(x).shape
    groups, width = source[axis] // stride, math.prod(source[axis + 1 :])
    rows = e.shaped(x, (math.prod(source[:axis]) * groups, stride * width))
    taken = _cut(e, rows, 1, begin * width, width)
    return e.shaped(taken, (*source[:axis], groups, *source[axis + 1 :]))


def _ranges(e: Emitter, node: Node) -> dict[int, slice]:
    """The slice of each ONNX axis that has one."""
    rank = e.value(node.inputs[0]).rank
    starts, ends = constant_input(e, node, 1, "starts"), constant_input(e, node, 2, "ends")
    axes = np.arange(starts.size) if node.input(3) is None else constant_input(e, node, 3, "axes")
    ones = np.ones(starts.size, np.int64)
    steps = ones if node.input(4) is None else constant_input(e, node, 4, "steps")
    rows = zip(axes.tolist(), starts.tolist(), ends.tolist(), steps.tolist(), strict=True)
    return {axis % rank: slice(start, end, stride) for axis, start, end, stride in rows}


def constant_input(e: Emitter, node: Node, position: int, what: str) -> Array:
    """An input that must be known at conversion time.

    Raises:
        UnsupportedOpError: The graph computes it.
    """
    data = e.graph.constant(node, position)
    if data is None:
        node.refuse(f"its {what} are computed by the graph", f"make {what} a constant")
    return data


def split(e: Emitter, node: Node) -> None:
    """Split into parts: SLICEs where XNNPACK has no SPLIT, for many or unequal ones."""
    outs = [e.value(name) for name in node.outputs]
    order = e.order(outs[0].name)
    onnx_axis = int(node.attributes.get("axis", 0)) % outs[0].rank
    x = e.operand(node, 0, order)
    axis = order.index(onnx_axis)
    sizes = [o.shape[onnx_axis] for o in outs]
    if len(set(sizes)) > 1 or len(sizes) > _SPLIT_IN_XNNPACK:
        ends = np.cumsum(sizes).tolist()
        parts = [_cut(e, x, axis, end - n, n) for end, n in zip(ends, sizes, strict=True)]
    else:
        parts = [e.temporary(f"{o.name}/raw", reorder(o.shape, order), x) for o in outs]
        e.op("SPLIT", [e.int32(axis, "axis"), x], parts, numSplits=len(parts))
    for i, part in enumerate(parts):
        e.bind(node, part, i)


def pad(e: Emitter, node: Node) -> None:
    """Pad with a constant, by reflection, or by what stands at this edge or the other one."""
    mode = node.attributes.get("mode", "constant")
    if mode not in ("constant", *_TAKEN, *_MIRRORS):
        node.refuse(f"mode={mode!r}", "use mode 'constant', 'reflect', 'edge' or 'wrap'")
    order = e.order(node.outputs[0])
    x = e.operand(node, 0, order)
    if mode in _TAKEN:
        for axis, (before, after) in enumerate(_amounts(e, node)[list(order)].tolist()):
            size = e.tensor(x).shape[axis]
            x = take(e, x, axis, _TAKEN[mode](np.arange(-before, size + after), size))
        e.bind(node, x)
        return
    amounts = e.int32(_amounts(e, node)[list(order)], "paddings")
    quant = e.tensor(x).quant
    if mode in _MIRRORS:
        e.result(node, "MIRROR_PAD", [x, amounts], quant=quant, mode=_MIRRORS[mode])
        return
    value = 0.0
    if node.input(2) is not None:
        constant_input(e, node, 2, "fill value")
        value = float(e.real(node.inputs[2]).reshape(-1)[0])
    if value == 0.0:
        e.result(node, "PAD", [x, amounts], quant=quant)
    else:
        e.result(node, "PADV2", [x, amounts, fill_value(e, x, value)], quant=quant)


def take(e: Emitter, x: int, axis: int, indices: Array) -> int:
    """Elements of a tensor along one of its own axes, in any order, with or without repeats.

    As slices one after another, all in XNNPACK, where those are few enough for its concatenation;
    else a GATHER, which XNNPACK has not.

    Args:
        e: The emitter.
        x: The tensor.
        axis: Of the tensor as it is laid out.
        indices: Not negative.
    """
    source = e.tensor(x)
    parts_taken = runs(indices)
    if len(parts_taken) > JOINED_IN_XNNPACK:
        shape = [*source.shape[:axis], indices.size, *source.shape[axis + 1 :]]
        target = e.temporary(f"{source.name}/taken", shape, x)
        return e.op("GATHER", [x, e.int32(indices, "indices")], [target], axis=axis)
    spans = [(int(run[0]), run.size) for run in parts_taken]
    parts = {span: _cut(e, x, axis, *span) for span in dict.fromkeys(spans)}
    return joined(e, [parts[span] for span in spans], axis)


def runs(indices: Array) -> list[Array]:
    """Indices cut where one is not the neighbour of the one before it."""
    return np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)


def repeated(e: Emitter, x: int, down: int, across: int) -> int:
    """Each row and column of a channels-last image several times in a row.

    Copies of an image are joined along its channels: seen as pixels, every column stands there as
    often. Rows are repeated so, taken as one pixel each.
    """
    n, height, width, channels = e.tensor(x).shape
    if across > 1:
        x = joined(e, [x] * across, 3)
    if down > 1:
        x = joined(e, [e.shaped(x, (n, height, 1, width * across * channels))] * down, 3)
    return e.shaped(x, (n, height * down, width * across, channels))


def joined(e: Emitter, parts: list[int], axis: int) -> int:
    """Tensors of one quantization after one another along an axis."""
    if len(parts) == 1:
        return parts[0]
    first = e.tensor(parts[0])
    count = sum(e.tensor(part).shape[axis] for part in parts)
    shape = [*first.shape[:axis], count, *first.shape[axis + 1 :]]
    target = e.temporary(f"{first.name}/joined", shape, parts[0])
    return e.op("CONCATENATION", parts, [target], axis=axis, fusedActivationFunction="NONE")


def _cut(e: Emitter, x: int, axis: int, start: int, count: int) -> int:
    """Neighbours along an axis: nothing where they are all, else a SLICE."""
    source = e.tensor(x)
    if count == source.shape[axis]:
        return x
    shape = [*source.shape[:axis], count, *source.shape[axis + 1 :]]
    begins = [start if a == axis else 0 for a in range(len(shape))]
    target = e.temporary(f"{source.name}/slice", shape, x)
    return e.op("SLICE", [x, e.int32(begins, "begin"), e.int32(shape, "size")], [target])


def expand(e: Emitter, node: Node) -> None:
    """Expand to a shape that is known: axes of size 1 are repeated."""
    _repeated(e, node)


def tile(e: Emitter, node: Node) -> None:
    """Tile: whole axes are repeated."""
    constant_input(e, node, 1, "repeats")
    _repeated(e, node)


def _repeated(e: Emitter, node: Node) -> None:
    """The first input as often along each axis as the output is longer.

    XNNPACK has no TILE, so a few copies are joined instead.
    """
    out = e.value(node.outputs[0])
    order = e.order(out.name)
    x = e.operand(node, 0, order)
    sizes = zip(reorder(out.shape, order), e.tensor(x).shape, strict=True)
    times = [have // had for have, had in sizes]
    if max(times, default=1) > JOINED_IN_XNNPACK:
        e.result(node, "TILE", [x, e.int32(times, "multiples")], quant=e.tensor(x).quant)
        return
    for axis, count in enumerate(times):
        size = e.tensor(x).shape[axis]
        x = take(e, x, axis, np.arange(size * count) % size)
    e.bind(node, x)


def _amounts(e: Emitter, node: Node) -> Array:
    """Elements added before and after, a row per ONNX axis."""
    rank = e.value(node.inputs[0]).rank
    pads = constant_input(e, node, 1, "pads")
    axes = np.arange(rank) if node.input(3) is None else constant_input(e, node, 3, "axes")
    if pads.min(initial=0) < 0:
        node.refuse("negative pads", "crop with a Slice instead")
    amounts = np.zeros((rank, 2), np.int32)
    amounts[axes % rank] = pads.reshape(2, -1).T
    return amounts


def fill_value(e: Emitter, x: int, value: float) -> int:
    """The constant that PADV2 fills with, in the quantization of the padded tensor."""
    quant = e.tensor(x).quant
    if quant is None:
        return e.constant(np.float32(value), "fill")
    stored = np.clip(np.rint(value / quant.scale) + quant.zero_point, -128, 127)
    return e.constant(np.asarray(stored, np.int8), "fill", quant)


def depth_to_space(e: Emitter, node: Node) -> None:
    """DepthToSpace; TFLite has the block before the channel (``DCR``), torch behind (``CRD``)."""
    x = e.activation(node.inputs[0])
    size = int(node.attributes["blocksize"])
    shape = e.tensor(x).shape
    block, channels = size * size, shape[-1] // (size * size)
    if node.attributes.get("mode", "DCR") == "CRD" and channels > 1:
        pixels = e.shaped(x, (shape[0] * shape[1] * shape[2], channels, block))
        x = e.shaped(e.transposed(pixels, (0, 2, 1)), shape)
    e.result(node, "DEPTH_TO_SPACE", [x], quant=e.tensor(x).quant, blockSize=size)


def space_to_depth(e: Emitter, node: Node) -> None:
    """SpaceToDepth: both sides have the block before the channel."""
    x = e.activation(node.inputs[0])
    size = int(node.attributes["blocksize"])
    e.result(node, "SPACE_TO_DEPTH", [x], quant=e.tensor(x).quant, blockSize=size)
