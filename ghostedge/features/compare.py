"""Feature maps of a float network against those of its int8 form: two numbers and what is left.

Equalization gives the channels of an int8 network other sizes than the float network's: channel c
comes out as ``s_c`` times what it was, and what reads it divides. Before the two are compared, each
channel of the int8 network is multiplied by the ``a_c > 0`` that brings it closest to the float
one's, ``a = Σxy / Σy²``. What that cannot see is an error that is itself one factor on a whole
channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostedge.formats.format import Maps
from ghostedge.records.features import ChannelError, Difference

WORST = 3
"""How many channels a `Difference` names."""


@dataclass(frozen=True)
class Matched:
    """A difference, with the maps it was measured on.

    Attributes:
        difference: The numbers.
        maps: a·y.
        channel_db: For each channel, as `Difference.sqnr_db`; zero where x is silent and y is not.
        worst_first: The channels by ``Σ(x - a·y)² / Σx²``, which one lost altogether has at 1 and
            so none has more of; of equal ones, by the difference itself.
    """

    difference: Difference
    maps: Maps
    channel_db: tuple[float | None, ...]
    worst_first: tuple[int, ...]


def compare(reference: Maps, other: Maps, *, rescaled: bool) -> Matched:
    """Hold feature maps against a reference.

    Args:
        reference: x, float32 [channels, height, width].
        other: y, of the same shape.
        rescaled: Whether the channels of y may have another scale.
    """
    x = reference.astype(np.float64)
    y = other.astype(np.float64)
    factors, unscaled = _factors(x, y) if rescaled else (np.ones(len(x)), 0)
    y *= factors[:, None, None]
    signal, error = (np.sum(values**2, axis=(1, 2)) for values in (x, x - y))
    channel_db = tuple(decibels(s, e) for s, e in zip(signal, error, strict=True))
    heard = signal > 0
    ratios = np.zeros(len(x))
    ratios[heard] = error[heard] / signal[heard]
    worst_first = tuple(map(int, np.lexsort((-error, -np.minimum(ratios, 1)))))
    norms = math.sqrt(float(signal.sum()) * float(np.sum(y**2)))
    difference = Difference(
        sqnr_db=decibels(float(signal.sum()), float(error.sum())),
        channel_db=decibels(1.0, float(np.median(ratios[heard]))) if heard.any() else None,
        cosine=float(np.sum(x * y)) / norms if norms else None,
        scale=(float(factors.min()), float(factors.max())),
        unscaled=unscaled,
        worst=tuple(
            ChannelError(channel, db)
            for channel in worst_first[:WORST]
            if (db := channel_db[channel]) is not None
        ),
    )
    return Matched(difference, y.astype(np.float32), channel_db, worst_first)


def decibels(signal: float, noise: float) -> float | None:
    """``10 · log10(signal / noise)``; None without noise, 0 without a signal to disturb."""
    if noise <= 0:
        return None
    return 10 * math.log10(signal / noise) if signal > 0 else 0.0


def _factors(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], int]:
    """Each channel's a, and for how many there is none of its own."""
    products, squares = np.sum(x * y, axis=(1, 2)), np.sum(y**2, axis=(1, 2))
    fitted = products > 0
    factors = np.ones(len(x))
    factors[fitted] = products[fitted] / squares[fitted]
    if fitted.any():
        factors[~fitted] = np.median(factors[fitted])
    return factors, int(np.sum(~fitted))
