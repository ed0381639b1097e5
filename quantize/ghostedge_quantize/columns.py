"""Second moments of what a layer multiplies its weights with, from its inputs.

With the columns ``x`` that a convolution's windows cut out of its input, any error ``e`` in one
output channel's weights costs ``E[(e · x)²] = e · H · e`` where ``H = E[x xᵀ]``: all that rounding
has to know about the images. Convolutions over height and width, and Gemm with its output channels
first; pooled or transposed windows are not covered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import helper

from ghostedge_runtime.errors import InputError

MAX_POSITIONS = 1024
"""Positions looked at in one image; of more, so many evenly spread ones stand for all."""
_CHUNK = 2**22
"""Numbers in the columns that are worked on at a time: 16 MiB."""
_GOLDEN = (math.sqrt(5) - 1) / 2


class _Window(NamedTuple):
    """A convolution's geometry; pairs are (height, width), pads (before, after) for each."""

    groups: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]


def gram(
    node: onnx.NodeProto,
    weight_shape: Sequence[int],
    batches: Iterable[np.ndarray],
    *,
    centred: bool = False,
) -> np.ndarray:
    """Measure the second moments of a layer's input columns, mean over images and positions.

    At most ``MAX_POSITIONS`` positions of an image are used, and memory does not grow with their
    number.

    Args:
        node: A Conv over height and width, or a Gemm with transB=1.
        weight_shape: [O, C/G, kh, kw], or [O, K] for Gemm.
        batches: The layer's inputs, float32 [N, C, H, W], or [N, K] for Gemm. Iterated once.
        centred: Moments about the mean instead of zero: what errors cost that a bias cannot undo.

    Returns:
        float64 [G, K, K]; K counts a group's weights per output channel, in the weights' order
        (channel, row, column). Gemm has one group.

    Raises:
        InputError: No images.
    """
    squares, sums, count = np.zeros((1, 1, 1)), np.zeros((1, 1)), 0
    for columns in _joined(_columns(node, weight_shape, batches)):
        squares = squares + columns @ columns.swapaxes(1, 2)
        sums = sums + columns.sum(axis=2, dtype=np.float64)
        count += columns.shape[2]
    if count == 0:
        raise InputError(
            "no calibration images", where=node.name, remedy="pass at least one batch of images"
        )
    mean = sums / count
    return np.asarray(squares / count - centred * mean[:, :, None] * mean[:, None, :])


def _joined(pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Join [G, K, positions] of single images: one large product is faster than many small."""
    held: list[np.ndarray] = []
    for piece in pieces:
        held.append(piece)
        if sum(each.size for each in held) >= _CHUNK:
            yield np.concatenate(held, axis=2)
            held = []
    if held:
        yield np.concatenate(held, axis=2)


def _columns(
    node: onnx.NodeProto, weight_shape: Sequence[int], batches: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """float32 [G, K, positions], a few images at a time."""
    if node.op_type == "Gemm":
        yield from (np.ascontiguousarray(batch.T)[None] for batch in batches)
        return
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    for batch in batches:
        window = _window(attributes, weight_shape, batch.shape)
        windows = _windows(batch, window)
        rows, lines = _positions(*windows.shape[2:4])
        at_once = max(1, _CHUNK // (len(rows) * batch.shape[1] * math.prod(window.kernel)))
        for first in range(0, len(batch), at_once):
            yield _cut(windows[first : first + at_once][:, :, rows, lines], window.groups)


def _window(
    attributes: dict[str, object], weight_shape: Sequence[int], shape: Sequence[int]
) -> _Window:
    """The geometry of a Conv on an input [N, C, H, W]."""
    height, width = weight_shape[2:]
    strides = _pair(attributes.get("strides", (1, 1)))
    dilations = _pair(attributes.get("dilations", (1, 1)))
    top, left, bottom, right = _ints(attributes.get("pads", (0, 0, 0, 0)))
    pads = ((top, bottom), (left, right))
    auto = attributes.get("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        reach = ((height - 1) * dilations[0] + 1, (width - 1) * dilations[1] + 1)
        sizes = zip(shape[2:], strides, reach, strict=True)
        down, across = (_same(*each, upper=auto == b"SAME_UPPER") for each in sizes)
        pads = (down, across)
    groups = shape[1] // weight_shape[1]
    return _Window(groups, (height, width), strides, dilations, pads)


def _same(size: int, stride: int, reach: int, *, upper: bool) -> tuple[int, int]:
    """ONNX's SAME padding of one axis: output = ceil(size / stride)."""
    total = max(0, (math.ceil(size / stride) - 1) * stride + reach - size)
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)


def _windows(batch: np.ndarray, window: _Window) -> np.ndarray:
    """A view [N, C, positions down, positions across, kh, kw] of the padded input."""
    padded = np.pad(batch, ((0, 0), (0, 0), *window.pads)) if any(sum(window.pads, ())) else batch
    (down, across), (far, wide) = window.strides, window.dilations
    reach = ((window.kernel[0] - 1) * far + 1, (window.kernel[1] - 1) * wide + 1)
    views = sliding_window_view(padded, reach, axis=(2, 3))
    return np.asarray(views[:, :, ::down, ::across, ::far, ::wide])


def _positions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the positions to look at.

    Too many are thinned to a Fibonacci lattice, which, unlike every n-th, has no period in common
    with the strides of the layers before.
    """
    if height * width <= MAX_POSITIONS:
        rows, lines = np.divmod(np.arange(height * width), width)
        return rows, lines
    index = np.arange(MAX_POSITIONS)
    rows = ((index + 0.5) / MAX_POSITIONS * height).astype(np.intp)
    return rows, (index * _GOLDEN % 1 * width).astype(np.intp)


def _cut(windows: np.ndarray, groups: int) -> np.ndarray:
    """[N, C, positions, kh, kw] → [G, K, N·positions]."""
    images, channels, positions, height, width = windows.shape
    split = windows.reshape(images, groups, channels // groups, positions, height, width)
    columns = split.transpose(1, 2, 4, 5, 0, 3).reshape(groups, -1, images * positions)
    return np.asarray(columns)


def _ints(value: object) -> tuple[int, ...]:
    return tuple(int(each) for each in np.asarray(value).tolist())


def _pair(value: object) -> tuple[int, int]:
    first, second = _ints(value)
    return first, second
