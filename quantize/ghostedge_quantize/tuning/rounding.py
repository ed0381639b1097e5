"""Rounds a layer's weights up or down so that its output, not each weight, errs least.

The nearest code of every weight is the best only where a layer's inputs do not hang together. They
do: neighbouring channels and pixels move alike, so that errors of opposite sign cancel. Source of
the objective: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (2020),
equation 13; solved here on the inputs' second moments (see ``columns``) in place of the paper's
relaxation by gradients: each column makes up for the errors of those before it, then coordinate
descent. Scales are given, and the layer's activation function is not looked at.
"""

from __future__ import annotations

import numpy as np

from ghostedge_quantize.tuning.weights import WEIGHT_MAX

_SWEEPS = 20
"""Sweeps over all columns; most layers come to rest in fewer."""
_BLOCK = 64
"""Columns whose flips are gathered before the others hear of them, in one matrix product."""
_RIDGE = 0.01
"""Added to the diagonal for the first pass, relative to its mean."""
_NOISE = 1e-9
"""A fall of the objective, relative to a flip's own cost, that is mere rounding."""


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
    each = np.broadcast_to(scale, len(weight)).reshape(-1, *[1] * (weight.ndim - 1))
    return _columns_first(weight.astype(dtype) / each.astype(dtype), groups)


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
            wanted = steps[:, j] - carried[:, j] / root[:, j, j, None]
            error[:, j] = np.clip(np.rint(wanted), low[:, j], high[:, j]) - steps[:, j]
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
