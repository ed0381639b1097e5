"""Rounds a layer's weights up or down so that its output, not each weight, errs least.

The nearest code of every weight is the best only where a layer's inputs do not hang together. They
do: neighbouring channels and pixels move alike, so that errors of opposite sign cancel. Source of
the objective: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (2020),
equation 13; solved here on the inputs' second moments (see ``columns``) by coordinate descent in
place of the paper's relaxation by gradients. Scales are given, and the layer's activation function
is not looked at.
"""

from __future__ import annotations

import numpy as np

from ghostedge_quantize.weights import WEIGHT_MAX

_SWEEPS = 20
"""Sweeps over all columns; most layers come to rest in fewer."""
_BLOCK = 64
"""Columns whose flips are gathered before the others hear of them, in one matrix product."""
_NOISE = 1e-9
"""A fall of the objective, relative to a flip's own cost, that is mere rounding."""


def learned_codes(weight: np.ndarray, scale: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Choose each weight's code among the two next to it, for the least squared output error.

    Starts at the nearest codes and flips a weight where that lowers its channel's error, column by
    column, until none does. No channel ends worse than nearest.

    Args:
        weight: float32 [O, …], O a multiple of the group count.
        scale: float32 [O], or [] for one scale; positive.
        gram: Second moments of the input columns, float64 [G, K, K], K weights per channel.

    Returns:
        int8 codes in [-127, 127], in the weight's shape.
    """
    steps = _steps(weight, scale, len(gram))
    # Divided in float32 as the weights are where they are merely rounded: the same on a tie.
    nearest = np.clip(np.rint(_steps(weight, scale, len(gram), np.float32)), -WEIGHT_MAX, WEIGHT_MAX)
    nearest = nearest.astype(np.float64)
    low = np.clip(np.floor(steps), -WEIGHT_MAX, WEIGHT_MAX)
    high = np.clip(np.ceil(steps), -WEIGHT_MAX, WEIGHT_MAX)
    codes = _descend(nearest, low + high - nearest, steps, gram)
    better = _error(codes - steps, gram) < _error(nearest - steps, gram)
    chosen = np.where(better[:, None], codes, nearest)
    return chosen.swapaxes(1, 2).reshape(weight.shape).astype(np.int8)


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


def _descend(
    start: np.ndarray, other: np.ndarray, steps: np.ndarray, gram: np.ndarray
) -> np.ndarray:
    """Flip codes between ``start`` and ``other`` while that lowers the error; all [G, K, O/G]."""
    codes, delta = start.copy(), other - start
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
    change = np.zeros_like(delta)
    for column in range(delta.shape[1]):
        own = gram[:, column, column, None]
        step = delta[:, column]
        step = np.where(2 * step * slope[:, column] + own < -_NOISE * own, step, 0.0)
        change[:, column] = step
        delta[:, column] -= 2 * step
        slope += gram[:, :, column, None] * step[:, None, :]
    return change
