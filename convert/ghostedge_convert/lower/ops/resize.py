"""Resize: the ONNX modes whose sampling positions TFLite can express.

Both sides are evaluated for the actual sizes and compared, so that a mode is accepted exactly
where it computes the same function (``pytorch_half_pixel`` is ``half_pixel`` unless the output
has size 1, ``round_prefer_floor`` matters at exact halves only, …).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
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
    scales = _scales(e, node)
    for align, half in _TFLITE_MODES:
        axes = zip(image.shape[2:], out.shape[2:], scales, strict=True)
        if all(_agree(node, mode, *axis, align=align, half=half) for axis in axes):
            break
    else:
        node.refuse(
            f"{mode} resize with coordinate_transformation_mode="
            f"{transform!r}, nearest_mode="
            f"{node.attributes.get('nearest_mode', 'round_prefer_floor')!r} from "
            f"{image.shape[2:]} to {out.shape[2:]}",
            "TFLite samples by asymmetric, align_corners or half_pixel positions: export with one",
        )
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


def _scales(e: Emitter, node: Node) -> list[float]:
    """Output size over input size of height and width, as ONNX Runtime computes them."""
    image, out = e.value(node.inputs[0]), e.value(node.outputs[0])
    if node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        node.refuse("keep_aspect_ratio_policy", "state the sizes per axis")
    ratios = {a: out.shape[a] / image.shape[a] for a in (2, 3)}
    if node.input(2) is not None:
        given = constant_input(e, node, 2, "scales").tolist()
        axes = [int(a) % image.rank for a in node.attributes.get("axes", range(image.rank))]
        if given:
            ratios.update(zip(axes, given, strict=True))
    return [ratios[2], ratios[3]]


def _agree(
    node: Node, mode: str, size: int, out: int, scale: float, *, align: bool, half: bool
) -> bool:
    """Whether ONNX and a TFLite mode sample one axis at the same places."""
    ours = _onnx_positions(node, size, out, scale)
    theirs = _tflite_positions(size, out, align=align, half=half)
    if mode == "linear":
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
