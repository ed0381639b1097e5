"""How much of a tensor a pair of QuantizeLinear and DequantizeLinear loses."""

from __future__ import annotations

import numpy as np

from ghostedge_quantize.analysis.findings import Activation, decibels
from ghostedge_quantize.analysis.qdq_graph import Pair

_MIDDLE = 0.99


class ActivationLoss:
    """Sums over the images what one pair loses; of the values themselves nothing is kept.

    Args:
        pair: How the tensor is quantized.
    """

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._signal = self._noise = self._clipping = self._accumulated = 0.0
        self._values = self._clipped = 0
        self._counts = np.zeros(pair.high - pair.low + 1, np.int64)

    def add(self, reference: np.ndarray, quantized: np.ndarray) -> None:
        """Count one run of the graph.

        Args:
            reference: The tensor in the float graph.
            quantized: The same, before this pair, where everything else is quantized.
        """
        codes, outside, decoded = self._through(reference)
        squares = np.square(reference - decoded)
        self._signal += _power(reference)
        self._noise += float(squares.sum(dtype=np.float64))
        self._clipping += float(squares[outside].sum(dtype=np.float64))
        self._accumulated += _power(reference - self._through(quantized)[2])
        self._values += reference.size
        self._clipped += int(outside.sum())
        places = (codes - self._pair.low).astype(np.int64).reshape(-1)
        self._counts += np.bincount(places, minlength=self._counts.size)

    def report(self) -> Activation:
        """What was found; at least one run must have been added."""
        taken = np.flatnonzero(self._counts)
        share = np.cumsum(self._counts) / self._values
        first, last = np.searchsorted(share, [(1 - _MIDDLE) / 2, (1 + _MIDDLE) / 2])
        return Activation(
            tensor=self._pair.tensor,
            sqnr_db=decibels(self._signal, self._noise),
            accumulated_db=decibels(self._signal, self._accumulated),
            clipped=self._clipped / self._values,
            clipping_noise=self._clipping / self._noise if self._noise else 0.0,
            levels=self._counts.size,
            used=int(taken[-1] - taken[0]) + 1,
            bulk=int(last - first) + 1,
        )

    def _through(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Codes, whether each value was out of range, and the values that the codes stand for."""
        pair, shape = self._pair, [1] * values.ndim
        if pair.scale.ndim:
            shape[pair.axis] = -1
        scale = pair.scale.reshape(shape)
        zero_point = pair.zero_point.astype(np.float32).reshape(shape)
        steps = np.rint(values / scale) + zero_point
        codes = np.clip(steps, pair.low, pair.high)
        return codes, codes != steps, (codes - zero_point) * scale


def _power(values: np.ndarray) -> float:
    return float(np.square(values).sum(dtype=np.float64))
