"""Rounds a layer's weights up or down so that its output, not each weight, errs least.

The nearest code of every weight is the best only where a layer's inputs are uncorrelated.
Neighbouring channels and pixels are correlated, so that errors of opposite sign cancel. Source of
the objective: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (2020),
equation 13; solved here on the inputs' second moments in place of the paper's relaxation by
gradients: each column makes up for the errors of those before it, then coordinate descent. Scales
are given, and the layer's activation function plays no part.

With the columns ``x`` that a convolution's windows cut out of its input, any error ``e`` in one
output channel's weights costs ``E[(e · x)²] = e · H · e`` where ``H = E[x xᵀ]`` (``gram``): all
that rounding has to know about the images. Convolutions over height and width, and Gemm with its
output channels first, are covered; transposed convolutions are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import helper

from ghostedge_quantize.codes import WEIGHT_MAX
from ghostedge_runtime.errors import InputError

_SWEEPS = 20
"""Sweeps over all columns; most layers stop changing after fewer."""
_BLOCK = 64
"""Columns whose flips are applied to the other columns' slopes at once, in one matrix product."""
_RIDGE = 0.01
"""Added to the diagonal for the first pass, relative to its mean."""
_NOISE = 1e-9
"""A fall of the objective, relative to a flip's own cost, that is mere rounding."""
MAX_POSITIONS = 1024
"""Positions used of one image; of more, so many evenly spread ones stand for all."""
_CHUNK = 2**22
"""Numbers in the columns that are worked on at a time: 16 MiB."""
_GOLDEN = (math.sqrt(5) - 1) / 2


def learned_codes(weight: np.ndarray, scale: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Choose each weight's code among the two next to it, for the least squared output error.

    A first pass over the columns rounds each weight against the errors so far; then weights are
    flipped, column by column, wherever that lowers the channel's error, until none does. No
    channel ends worse than with its nearest codes.

    Args:
        weight: float32 [O, …], O a multiple of the group count.
        scale: float32 [O], or [] for one scale; positive.
        gram: Second moments of the input columns, float64 [G, K, K], K weights per channel.

    Returns:
        int8 codes in [-127, 127], in the weight's shape.
    """
    steps = _steps(weight, scale, len(gram))
    # Divided in float32 as the weights are where they are merely rounded: the same on a tie.
    rounded = np.rint(_steps(weight, scale, len(gram), np.float32)).astype(np.float64)
    nearest = np.clip(rounded, -WEIGHT_MAX, WEIGHT_MAX)
    low = np.clip(np.floor(steps), -WEIGHT_MAX, WEIGHT_MAX)
    high = np.clip(np.ceil(steps), -WEIGHT_MAX, WEIGHT_MAX)
    start = _feed_forward(steps, low, high, gram)
    codes = _descend(start, low + high - start, steps, gram)
    better = _error(codes - steps, gram) < _error(nearest - steps, gram) * (1 - _NOISE)
    chosen = np.where(better[:, None], codes, nearest)
    return np.asarray(chosen.swapaxes(1, 2).reshape(weight.shape), np.int8)


def output_error(
    weight: np.ndarray, codes: np.ndarray, scale: np.ndarray, gram: np.ndarray
) -> np.ndarray:
    """Mean squared error that codes cause in each channel of a layer's output.

    Args:
        weight: float32 [O, …].
        codes: int8 [O, …].
        scale: float32 [O] or [].
        gram: float64 [G, K, K], as for ``learned_codes``.

    Returns:
        float64 [O], in the squared unit of the output.
    """
    error = _columns_first(codes, len(gram)) - _steps(weight, scale, len(gram))
    width = np.broadcast_to(scale, len(weight)).astype(np.float64)
    return np.asarray(_error(error, gram).reshape(-1) * width**2)


def _steps(
    weight: np.ndarray, scale: np.ndarray, groups: int, dtype: type[np.floating] = np.float64
) -> np.ndarray:
    """The weights in steps of their scale, [G, K, O/G]."""
    scales = np.broadcast_to(scale, len(weight)).reshape(-1, *[1] * (weight.ndim - 1))
    return _columns_first(weight.astype(dtype) / scales.astype(dtype), groups)


def _columns_first(array: np.ndarray, groups: int) -> np.ndarray:
    """[O, …] → [G, K, O/G], so that one column of all channels lies together."""
    split = array.reshape(groups, len(array) // groups, -1)
    return np.ascontiguousarray(split.swapaxes(1, 2))


def _error(error: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """``e · H · e`` of each channel, [G, O/G]; an error of rounding below zero counts as zero."""
    return np.asarray(np.maximum((error * (gram @ error)).sum(axis=1), 0.0))


def _feed_forward(
    steps: np.ndarray, low: np.ndarray, high: np.ndarray, gram: np.ndarray
) -> np.ndarray:
    """Codes between ``low`` and ``high``, each column's chosen given those before; [G, K, O/G].

    With ``H = V Vᵀ``, V upper triangular, the objective is a sum of squares, of which column j is
    the last to enter the j-th: ``V_jj e_j + Σ_{i<j} V_ij e_i``. Each in turn is made small. Source:
    Babai, "On Lovász' Lattice Reduction and the Nearest Lattice Point Problem" (1986).
    """
    root = _upper_root(gram)
    error, carried = np.zeros(steps.shape), np.zeros(steps.shape)
    for first in range(0, steps.shape[1], _BLOCK):
        end = min(first + _BLOCK, steps.shape[1])
        for j in range(first, end):
            best = steps[:, j] - carried[:, j] / root[:, j, j, None]
            error[:, j] = np.clip(np.rint(best), low[:, j], high[:, j]) - steps[:, j]
            carried[:, j:end] += root[:, j, j:end, None] * error[:, None, j]
        carried[:, end:] += root[:, first:end, end:].swapaxes(1, 2) @ error[:, first:end]
    return np.asarray(np.rint(error + steps))


def _upper_root(gram: np.ndarray) -> np.ndarray:
    """Upper triangular V with ``V Vᵀ`` = H, H made definite where inputs are dead or repeated."""
    power = np.trace(gram, axis1=1, axis2=2) / gram.shape[1]
    ridge = np.where(power > 0, _RIDGE * power, 1.0)
    definite = gram + ridge[:, None, None] * np.eye(gram.shape[1])
    lower = np.linalg.cholesky(definite[:, ::-1, ::-1])
    return np.asarray(lower[:, ::-1, ::-1])


def _descend(
    start: np.ndarray, other: np.ndarray, steps: np.ndarray, gram: np.ndarray
) -> np.ndarray:
    """Flip codes between ``start`` and ``other`` while that lowers the error; all [G, K, O/G]."""
    codes: np.ndarray = start.copy()
    delta = other - start
    slope = gram @ (codes - steps)
    for _ in range(_SWEEPS):
        flips = 0
        for first in range(0, codes.shape[1], _BLOCK):
            block = slice(first, first + _BLOCK)
            change = _sweep(slope[:, block], delta[:, block], gram[:, block, block])
            codes[:, block] += change
            flips += np.count_nonzero(change)
            # The block's own slopes are up to date already.
            slope[:, :first] += gram[:, :first, block] @ change
            slope[:, first + _BLOCK :] += gram[:, first + _BLOCK :, block] @ change
        if not flips:
            break
    return codes


def _sweep(slope: np.ndarray, delta: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Visit a block's columns once; ``slope`` and ``delta`` are updated.

    A change ``d`` of one code costs ``2 d slope + d² H_jj``, d being +1, -1, or 0 where a weight
    has one neighbour alone.

    Returns:
        What was added to the codes.
    """
    change: np.ndarray = np.zeros(delta.shape)
    for column in range(delta.shape[1]):
        own = gram[:, column, column, None]
        step = delta[:, column]
        step = np.where(2 * step * slope[:, column] + own < -_NOISE * own, step, 0.0)
        change[:, column] = step
        delta[:, column] -= 2 * step
        slope += gram[:, :, column, None] * step[:, None, :]
    return change


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
        if sum(columns.size for columns in held) >= _CHUNK:
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
    attributes = {
        attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute
    }
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
        down, across = (_same(*axis, upper=auto == b"SAME_UPPER") for axis in sizes)
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
    return tuple(int(number) for number in np.asarray(value).tolist())


def _pair(value: object) -> tuple[int, int]:
    first, second = _ints(value)
    return first, second
