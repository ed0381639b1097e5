"""Resize: by TFLite's own kernels where they sample at ONNX's positions, else by matrices.

Both sides are evaluated for the actual sizes and compared, so that a kernel is used exactly
where it computes the same function (``pytorch_half_pixel`` is ``half_pixel`` unless the output
has size 1, ``round_prefer_floor`` matters at exact halves only, …). What no kernel samples, a scale
of 1.3 or nearest rounded up, is a product with a constant matrix along each axis, in float.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Graph, Node
from ghostedge_convert.lower.ops.shape import constant_input
from ghostedge_convert.lower.words import CHANNELS_LAST, Array

_F = np.float32
_TFLITE_MODES = ((False, False), (True, False), (False, True))
"""(align_corners, half_pixel_centers), as TFLite names them."""

_TRANSFORMS = ("asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel")
_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - _F(0.5)),
    "round_prefer_ceil": lambda x: np.floor(x + _F(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}
_POSITION_TOLERANCE = 1e-4  # Of an input pixel: float32 rounding of either side's arithmetic.


def resize(e: Emitter, node: Node) -> None:
    """Resize the spatial axes, nearest or bilinear."""
    image, out = e.value(node.inputs[0]), e.value(node.outputs[0])
    mode = node.attributes.get("mode", "nearest")
    if image.rank != len(CHANNELS_LAST) or image.shape[:2] != out.shape[:2]:
        node.refuse("resizing other axes than height and width", "resize images N, C, H, W only")
    if mode not in ("nearest", "linear"):
        node.refuse(f"mode={mode!r}", "use mode 'nearest' or 'linear'")
    for flag in ("antialias", "exclude_outside"):
        if node.attributes.get(flag, 0):
            node.refuse(f"{flag}=1", f"export with {flag}=0")
    transform = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    if transform not in _TRANSFORMS:
        node.refuse(
            f"coordinate_transformation_mode={transform!r}", f"use {', '.join(_TRANSFORMS)}"
        )
    if node.input(2) is not None:
        constant_input(e, node, 2, "scales")
    modes = _kernel_modes(e.graph, node)
    if modes is None:
        _by_matrices(e, node)
        return
    align, half = modes
    x = e.activation(node.inputs[0])
    size = e.int32(out.shape[2:], "size")
    builtin = "RESIZE_BILINEAR" if mode == "linear" else "RESIZE_NEAREST_NEIGHBOR"
    traits = ["half_pixel"] * half + ["align_corners"] * align
    e.result(
        node,
        builtin,
        [x, size],
        quant=e.tensor(x).quant,
        traits=traits,
        alignCorners=align,
        halfPixelCenters=half,
    )


def resize_on_integers(graph: Graph, node: Node) -> bool:
    """Whether a kernel of TFLite's does it: the matrices are floats."""
    known = node.input(2) is None or graph.constant(node, 2) is not None
    spatial = graph.values[node.inputs[0]].rank == len(CHANNELS_LAST)
    return known and spatial and _kernel_modes(graph, node) is not None


def _kernel_modes(graph: Graph, node: Node) -> tuple[bool, bool] | None:
    """TFLite's (align_corners, half_pixel_centers) that samples as the node does, if one does."""
    image, out = (graph.values[name] for name in (node.inputs[0], node.outputs[0]))
    axes = list(zip(image.shape[2:], out.shape[2:], _scales(graph, node), strict=True))
    for align, half in _TFLITE_MODES:
        if all(_agree(node, *axis, align=align, half=half) for axis in axes):
            return align, half
    return None


def _by_matrices(e: Emitter, node: Node) -> None:
    """Mix the rows, then the columns, of a channels-last image: two products from the left."""
    image, out = (e.value(name).shape for name in (node.inputs[0], node.outputs[0]))
    (batch, channels, height, width), (_, _, tall, wide) = image, out
    ratios = _scales(e.graph, node)
    down = e.constant(_matrix(node, height, tall, ratios[0])[None], f"{node.name}/rows")
    across = e.constant(_matrix(node, width, wide, ratios[1])[None, None], f"{node.name}/columns")
    x = e.shaped(e.activation(node.inputs[0]), (batch, height, width * channels))
    rows = e.temporary(f"{node.name}/resized_rows", (batch, tall, width * channels), x)
    x = e.shaped(e.op("BATCH_MATMUL", [down, x], [rows]), (batch, tall, width, channels))
    e.result(node, "BATCH_MATMUL", [across, x])


def _matrix(node: Node, size: int, out: int, scale: float) -> Array:
    """What each output element of one axis takes of each input element: (out, size), float32."""
    places = _onnx_positions(node, size, out, scale)
    if node.attributes.get("mode", "nearest") == "nearest":
        picked = _ROUNDINGS[node.attributes.get("nearest_mode", "round_prefer_floor")](places)
        chosen: Array = np.eye(size, dtype=_F)[np.clip(picked, 0, size - 1).astype(int)]
        return chosen
    places = np.clip(places, 0, size - 1)
    hats: Array = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size, dtype=_F)))
    return hats.astype(_F)


def _scales(graph: Graph, node: Node) -> list[float]:
    """Output size over input size of height and width, as ONNX Runtime computes them."""
    image, out = (graph.values[name] for name in (node.inputs[0], node.outputs[0]))
    if node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        node.refuse("keep_aspect_ratio_policy", "state the sizes per axis")
    ratios = {a: out.shape[a] / image.shape[a] for a in (2, 3)}
    given = graph.constant(node, 2)
    if given is not None and given.size:
        axes = [int(a) % image.rank for a in node.attributes.get("axes", range(image.rank))]
        ratios.update(zip(axes, given.tolist(), strict=True))
    return [ratios[2], ratios[3]]


def _agree(node: Node, size: int, out: int, scale: float, *, align: bool, half: bool) -> bool:
    """Whether ONNX and a TFLite mode sample one axis at the same places."""
    ours = _onnx_positions(node, size, out, scale)
    theirs = _tflite_positions(size, out, align=align, half=half)
    if node.attributes.get("mode", "nearest") == "linear":
        gap = np.abs(np.clip(ours, 0, size - 1) - np.clip(theirs, 0, size - 1))
        return bool(gap.max() <= _POSITION_TOLERANCE)
    rounding = node.attributes.get("nearest_mode", "round_prefer_floor")
    picked = _ROUNDINGS[rounding](ours)
    # TFLite's half_pixel rounds to nearest by dropping the half that a bilinear position has.
    other = np.floor(theirs + _F(0.5)) if align or half else np.floor(theirs)
    return np.array_equal(np.clip(picked, 0, size - 1), np.clip(other, 0, size - 1))


def _onnx_positions(node: Node, size: int, out: int, scale: float) -> Array:
    """Input position of each output element (ONNX Resize, coordinate_transformation_mode)."""
    mode = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    places: Array = np.arange(out, dtype=_F)
    if mode == "asymmetric":
        places = places / _F(scale)
    elif mode == "align_corners":
        places = places * _F(size - 1) / _F(max(out - 1, 1))
    elif mode == "half_pixel" or out > 1:
        places = (places + _F(0.5)) / _F(scale) - _F(0.5)
    return places


def _tflite_positions(size: int, out: int, *, align: bool, half: bool) -> Array:
    """Input position of each output element in TFLite's resize kernels."""
    places: Array = np.arange(out, dtype=_F)
    if align and out > 1:
        places = places * _F((size - 1) / (out - 1))
    elif half:
        places = (places + _F(0.5)) * _F(size / out) - _F(0.5)
    else:
        places = places * _F(size / out)
    return places
