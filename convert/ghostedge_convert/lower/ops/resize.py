"""Resize: by TFLite's operators where they sample at the same places, else by what is exact.

Both sides are evaluated for the actual sizes and compared, so that TFLite's operators are used
exactly where they compute the same function (``pytorch_half_pixel`` is ``half_pixel`` unless the
output has size 1, ``round_prefer_floor`` matters at exact halves only, …). XNNPACK has no nearest
resize, so a small one is written as concatenations. Elsewhere a nearest resize picks rows and
columns, and any other one, cubic and antialiased too, is a product with a constant matrix for each
axis: a resize is linear, and one axis knows nothing of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Graph, Node
from ghostedge_convert.lower.ops.conv import bind_image, image_of, image_result
from ghostedge_convert.lower.ops.shape import JOINED_IN_XNNPACK, repeated, runs, take
from ghostedge_convert.lower.program import Array

_F = np.float32
_PLANE = 2  # Axes in space of an image that is no line.
_TFLITE_MODES = ((False, False), (True, False), (False, True))
"""(align_corners, half_pixel_centers), as TFLite names them."""

_TRANSFORMS = (
    "asymmetric",
    "align_corners",
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
)
_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - _F(0.5)),
    "round_prefer_ceil": lambda x: np.floor(x + _F(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}
_POSITION_TOLERANCE = 1e-4  # Of an input pixel: float32 rounding of either side's arithmetic.


@dataclass(frozen=True)
class Axis:
    """One axis of a resize: input and output elements, and the scale between them."""

    size: int
    out: int
    scale: float


def resize(e: Emitter, node: Node) -> None:
    """Resize the axes in space, one or two."""
    mode = _mode(node)
    axes = _axes(e.graph, node)
    x = image_of(e, node)
    if all(axis.size == axis.out for axis in axes):  # ONNX Runtime copies, whatever the scales are
        bind_image(e, node, x)
        return
    near = _joined_pixels(e, x, [_picked(node, a) for a in axes]) if mode == "nearest" else None
    if near is not None:
        bind_image(e, node, near)
        return
    fit = _tflite_mode(node, mode, axes)
    if fit is not None:
        _builtin(e, node, x, mode, fit)
        return
    for place, axis in enumerate(axes, start=3 - len(axes)):
        if mode == "nearest":
            x = take(e, x, place, _picked(node, axis))
        else:
            x = _product(e, x, place, _matrix(node, mode, axis))
    bind_image(e, node, x)


def resize_on_integers(graph: Graph, node: Node) -> bool:
    """A matrix product is computed in float: its weights are no int8 steps."""
    mode = _mode(node)
    return mode == "nearest" or _tflite_mode(node, mode, _axes(graph, node)) is not None


def _mode(node: Node) -> str:
    """The mode, everything that has no meaning here refused."""
    mode = str(node.attributes.get("mode", "nearest"))
    if mode not in ("nearest", "linear", "cubic"):
        node.refuse(f"mode={mode!r}", "use mode 'nearest', 'linear' or 'cubic'")
    transform = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    if transform not in _TRANSFORMS:
        node.refuse(
            f"coordinate_transformation_mode={transform!r}", f"use {', '.join(_TRANSFORMS)}"
        )
    return mode


def _axes(graph: Graph, node: Node) -> list[Axis]:
    """The axes in space, with the scales that ONNX Runtime computes with."""
    image, out = graph.values[node.inputs[0]], graph.values[node.outputs[0]]
    if image.rank not in (3, 4) or image.shape[:2] != out.shape[:2]:
        node.refuse("resizing other axes than height and width", "resize images N, C, H, W only")
    if node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        node.refuse("keep_aspect_ratio_policy", "state the sizes per axis")
    scales = {a: out.shape[a] / image.shape[a] for a in range(2, image.rank)}
    stated = graph.constant(node, 2)
    if node.input(2) is not None and stated is None:
        node.refuse("its scales are computed by the graph", "make scales a constant")
    if stated is not None and stated.size:
        axes = [int(a) % image.rank for a in node.attributes.get("axes", range(image.rank))]
        scales.update(zip(axes, stated.tolist(), strict=True))
    return [Axis(image.shape[a], out.shape[a], scales[a]) for a in range(2, image.rank)]


def _tflite_mode(node: Node, mode: str, axes: list[Axis]) -> tuple[bool, bool] | None:
    """The mode of TFLite's that samples all axes at the same places, None where none does."""
    if mode == "cubic" or node.attributes.get("antialias", 0):
        return None
    for align, half in _TFLITE_MODES:
        if all(_agree(node, mode, axis, align=align, half=half) for axis in axes):
            return align, half
    return None


def _builtin(e: Emitter, node: Node, x: int, mode: str, modes: tuple[bool, bool]) -> None:
    align, half = modes
    out = e.value(node.outputs[0]).shape
    size = e.int32((1, *out[2:])[-2:], "size")
    e.result(
        node,
        "RESIZE_BILINEAR" if mode == "linear" else "RESIZE_NEAREST_NEIGHBOR",
        [x, size],
        quant=e.tensor(x).quant,
        traits=["half_pixel"] * half + ["align_corners"] * align,
        alignCorners=align,
        halfPixelCenters=half,
        **image_result(e, node),
    )


def _agree(node: Node, mode: str, axis: Axis, *, align: bool, half: bool) -> bool:
    """Whether ONNX and a TFLite mode sample one axis at the same places."""
    theirs = _tflite_positions(axis, align=align, half=half)
    last = axis.size - 1
    if mode == "linear":
        gap = np.abs(np.clip(_positions(node, axis), 0, last) - np.clip(theirs, 0, last))
        return bool(gap.max() <= _POSITION_TOLERANCE)
    # TFLite's half_pixel rounds to nearest by dropping the half that a bilinear position has.
    other = np.floor(theirs + _F(0.5)) if align or half else np.floor(theirs)
    return np.array_equal(_picked(node, axis), np.clip(other, 0, last))


def _picked(node: Node, axis: Axis) -> Array:
    """Which input element a nearest resize takes for each output element."""
    rounding = _ROUNDINGS[node.attributes.get("nearest_mode", "round_prefer_floor")]
    places: Array = np.clip(rounding(_positions(node, axis)), 0, axis.size - 1)
    return places.astype(np.int64)


def _joined_pixels(e: Emitter, x: int, picked: Sequence[Array]) -> int | None:
    """A nearest resize of operators that XNNPACK has, in float and in int8.

    Args:
        e: The emitter.
        x: The image, channels last.
        picked: The element that each output element takes, for the axes in space.

    Returns:
        None where it would take more parts than XNNPACK joins at a time.
    """
    rows, columns = picked if len(picked) == _PLANE else (np.zeros(1, np.int64), *picked)
    height, width = e.tensor(x).shape[1:3]
    times = _times(rows, height), _times(columns, width)
    if min(times) > 0 and max(times) <= JOINED_IN_XNNPACK:
        return repeated(e, x, *times)
    if max(len(runs(rows)), len(runs(columns))) <= JOINED_IN_XNNPACK:
        return take(e, take(e, x, 1, rows), 2, columns)
    return None


def _times(picked: Array, size: int) -> int:
    """How often each element of an axis is taken in a row; 0 where that is not the same of all."""
    times = len(picked) // size
    return times if times and np.array_equal(picked, np.arange(len(picked)) // times) else 0


def _positions(node: Node, axis: Axis) -> Array:
    """Input position of each output element (ONNX Resize, coordinate_transformation_mode)."""
    mode = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    scale = _F(axis.scale)
    places: Array = np.arange(axis.out, dtype=_F)
    if mode == "asymmetric":
        places = places / scale
    elif mode == "align_corners":
        places = places * _F(axis.size - 1) / _F(max(axis.out - 1, 1))
    elif mode == "half_pixel_symmetric":
        offset = _F(axis.size / 2) * (1 - _F(axis.out) / (scale * _F(axis.size)))
        places = offset + (places + _F(0.5)) / scale - _F(0.5)
    elif mode == "half_pixel" or axis.out > 1:
        places = (places + _F(0.5)) / scale - _F(0.5)
    return places


def _tflite_positions(axis: Axis, *, align: bool, half: bool) -> Array:
    """Input position of each output element in TFLite's resize kernels."""
    places: Array = np.arange(axis.out, dtype=_F)
    if align and axis.out > 1:
        places = places * _F((axis.size - 1) / (axis.out - 1))
    elif half:
        places = (places + _F(0.5)) * _F(axis.size / axis.out) - _F(0.5)
    else:
        places = places * _F(axis.size / axis.out)
    return places


def _matrix(node: Node, mode: str, axis: Axis) -> Array:
    """What each output element takes of each input element, float32 [out, in].

    Source: ONNX's reference of Resize; a filter that antialiases is as wide as the input elements
    that an output element stands for, and leaves an axis alone that keeps its size, as ONNX Runtime
    has it.
    """
    if node.attributes.get("antialias", 0) and axis.size == axis.out:
        return np.eye(axis.size, dtype=_F)
    outside = bool(node.attributes.get("exclude_outside", 0))
    wide = max(1.0, 1 / axis.scale) if node.attributes.get("antialias", 0) else 1.0
    reach = wide * (2 if mode == "cubic" else 1)
    places = _positions(node, axis).astype(np.float64)
    if mode == "linear" and wide == 1.0:
        places = np.clip(places, 0, axis.size - 1)
    taps = np.floor(places - reach)[:, None] + np.arange(1 + int(np.ceil(2 * reach)))
    distances = np.abs(taps - places[:, None]) / wide
    weights = _cubic(node, distances) if mode == "cubic" else np.maximum(1 - distances, 0)
    inside = (taps >= 0) & (taps < axis.size)
    weights = np.where(inside | (not outside), weights, 0)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((axis.out, axis.size))
    columns = np.clip(taps, 0, axis.size - 1).astype(np.intp)
    np.add.at(matrix, (np.arange(axis.out)[:, None], columns), weights)
    return matrix.astype(_F)


def _cubic(node: Node, distances: Array) -> Array:
    """The cubic convolution kernel of ONNX's ``cubic_coeff_a``."""
    a = float(node.attributes.get("cubic_coeff_a", -0.75))
    near = ((a + 2) * distances - (a + 3)) * distances**2 + 1
    far = ((distances - 5) * distances + 8) * distances * a - 4 * a
    return np.where(distances <= 1, near, np.where(distances < 2, far, 0))


def _product(e: Emitter, x: int, place: int, matrix: Array) -> int:
    """An axis of a channels-last image replaced by the matrix times it."""
    source = e.tensor(x)
    if np.array_equal(matrix, np.eye(len(matrix), dtype=_F)):
        return x
    shape = [*source.shape[:place], len(matrix), *source.shape[place + 1 :]]
    rows = (int(np.prod(shape[:place])), source.shape[place], int(np.prod(shape[place + 1 :])))
    target = e.temporary(f"{source.name}/resized", (rows[0], len(matrix), rows[2]), x)
    left = e.constant(matrix[None], "resize")
    return e.shaped(e.op("BATCH_MATMUL", [left, e.shaped(x, rows)], [target]), shape)
