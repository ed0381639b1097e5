"""The quantization noise that channel factors cause, and its gradient.

Each term is the noise-to-signal ratio of one quantized tensor, its channels weighted by how much
of their noise reaches the output. Largest values are taken as a norm of high order, so that every
large channel has a say. All terms are functions of the factors' logarithms, in which a step is a
relative change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

ORDER = 12
"""Order of the norm that stands for the maximum; 8 and 24 found factors no better."""
_ROUNDING = 1 / 12
"""Variance of a rounding error, in squared steps."""
_CODES = 255
_WEIGHT_CODES = 127


class Term(Protocol):
    """One tensor's share of the noise."""

    def add(self, scales: np.ndarray, gradient: np.ndarray) -> float:
        """Its value at ``scales``; its derivative by their logarithms is added to ``gradient``.

        Both arrays are float64, one entry per channel class.
        """


@dataclass(frozen=True)
class ActivationNoise:
    """An activation's: its channels, divided by their factors, share one step.

    Attributes:
        classes: int [C].
        high: Largest value of each channel, float64 [C].
        low: Magnitude of the smallest, float64 [C].
        effect: What a channel's noise weighs, divided by the power of the tensor's signal.
    """

    classes: np.ndarray
    high: np.ndarray
    low: np.ndarray
    effect: np.ndarray

    def add(self, scales: np.ndarray, gradient: np.ndarray) -> float:
        """See ``Term``."""
        own = scales[self.classes]
        high, by_high = _norm(self.high / own)
        low, by_low = _norm(self.low / own)
        span = high + low
        each = self.effect * own**2
        weight = _ROUNDING / _CODES**2
        slope = 2 * span**2 * each - 2 * span * each.sum() * (by_high + by_low)
        np.add.at(gradient, self.classes, weight * slope)
        return float(weight * span**2 * each.sum())


@dataclass(frozen=True)
class ChannelWeightNoise:
    """A layer's with a weight scale for each output channel: only its inputs' factors count.

    Attributes:
        inputs: int [G, I]: classes of the input channels, by group.
        magnitude: Largest weight of an output and input channel, to the power ``ORDER``;
            float64 [G, O, I].
        power: Mean square of each input channel times the kernel's taps, float64 [G, I].
        effect: What an output's noise weighs, divided by the weighted power of the outputs;
            float64 [G, O].
    """

    inputs: np.ndarray
    magnitude: np.ndarray
    power: np.ndarray
    effect: np.ndarray

    def add(self, scales: np.ndarray, gradient: np.ndarray) -> float:
        """See ``Term``."""
        own = scales[self.inputs]
        raised = own**ORDER
        sums = np.maximum(np.einsum("goi,gi->go", self.magnitude, raised), _TINY)
        steps = self.effect * sums ** (2 / ORDER)
        heard = (self.power / own**2).sum(axis=1)
        weight = _ROUNDING / _WEIGHT_CODES**2
        by_steps = np.einsum("go,goi->gi", steps / sums, self.magnitude) * raised
        slope = 2 * by_steps * heard[:, None]
        slope -= 2 * steps.sum(axis=1)[:, None] * self.power / own**2
        np.add.at(gradient, self.inputs, weight * slope)
        return float(weight * (steps.sum(axis=1) * heard).sum())


@dataclass(frozen=True)
class TensorWeightNoise:
    """A layer's with one weight scale: outputs with small weights lose, unless scaled up.

    Attributes:
        inputs: int [G, I].
        outputs: int [G, O]: classes of the output channels.
        magnitude: As in ``ChannelWeightNoise``.
        power: Likewise.
        effect: Likewise.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    magnitude: np.ndarray
    power: np.ndarray
    effect: np.ndarray

    def add(self, scales: np.ndarray, gradient: np.ndarray) -> float:
        """See ``Term``."""
        own, made = scales[self.inputs], scales[self.outputs]
        parts = self.magnitude * (own**ORDER)[:, None, :] / (made**ORDER)[:, :, None]
        total = max(float(parts.sum()), _TINY)
        step = total ** (2 / ORDER)
        lost = self.effect * made**2
        heard = self.power / own**2
        by_group = heard.sum(axis=1)
        noise = float((lost.sum(axis=1) * by_group).sum())
        weight = _ROUNDING / _WEIGHT_CODES**2
        share = parts * (2 * step / total * noise)
        np.add.at(
            gradient,
            self.inputs,
            weight * (share.sum(axis=1) - 2 * step * lost.sum(axis=1)[:, None] * heard),
        )
        np.add.at(
            gradient,
            self.outputs,
            weight * (2 * step * lost * by_group[:, None] - share.sum(axis=2)),
        )
        return float(weight * step * noise)


_TINY = 1e-300


def _norm(values: np.ndarray) -> tuple[float, np.ndarray]:
    """A smooth maximum of values ≥ 0, and its derivative by each value's logarithm."""
    largest = float(values.max(initial=0.0))
    if largest == 0:
        return 0.0, np.zeros_like(values)
    raised = (values / largest) ** ORDER
    norm = largest * float(raised.sum()) ** (1 / ORDER)
    return norm, norm * raised / raised.sum()
