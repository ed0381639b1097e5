"""What an analysis of a QDQ graph says, as frozen facts, and the words for why a layer hurts.

Decibels are ``10 · log10(signal power / error power)``: 6 dB more is half the error. ``None``
stands for no error at all, since JSON knows no infinity.

A layer's cause is the first in a table that fits its measurements. The thresholds choose words,
never numbers: each is where its cause alone costs two bits of eight or most of the error. How
layers are measured is in ``analyse``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Generic, Literal, TypeVar

WeightSource = Literal["file", "float model", "rounding step"]
_LEAVE_FLOAT = "leave this layer float (--min-agreement does, where it pays)"


def decibels(signal: float, noise: float) -> float | None:
    """``10 · log10(signal / noise)``; None without noise, 0 without a signal to disturb."""
    if noise <= 0:
        return None
    return 10 * math.log10(signal / noise) if signal > 0 else 0.0


@dataclass(frozen=True)
class Activation:
    """A layer's output and what its codes make of it.

    Attributes:
        tensor: Its name before QuantizeLinear.
        sqnr_db: Its own quantization alone: ``Σx² / Σ(x - x̂)²``, x from the float reference.
        accumulated_db: The same with everything before it quantized too:
            ``Σx² / Σ(x - ŷ)²``, ŷ the tensor of the fully quantized graph.
        clipped: Share of values beyond the range, 0 to 1.
        clipping_noise: Share of the error's power that those values make, 0 to 1.
        levels: How many codes the type has.
        used: Codes from the smallest to the largest that occurs.
        bulk: Codes that the middle 99 % of the values span.
    """

    tensor: str
    sqnr_db: float | None
    accumulated_db: float | None
    clipped: float
    clipping_noise: float
    levels: int
    used: int
    bulk: int


@dataclass(frozen=True)
class Weights:
    """A layer's weights and what rounding made of them.

    Attributes:
        sqnr_db: ``-10 · log10`` of the mean over output channels of ``Σ(w - ŵ)² / Σw²``: every
            channel counts alike, however its neighbours are scaled.
        source: What ``w`` is: float values that the file itself holds (``file``), those of the
            float model with its channels rescaled to fit (``float model``), or unknown and the
            error taken as uniform within one rounding step (``rounding step``).
        clipped: Share of codes at an end of the range, beyond one per scale, 0 to 1.
        used: Different magnitudes that the codes take.
        spread: Largest over smallest channel maximum, where one scale serves them all; else 1.
    """

    sqnr_db: float | None
    source: WeightSource
    clipped: float
    used: int
    spread: float


@dataclass(frozen=True)
class Effect:
    """What some part's quantization does to the output, all else being float.

    Attributes:
        mse: Mean squared change of the output; of several outputs per image (logits) after their
            mean is taken off, since a change common to all classes decides nothing.
        sqnr_db: The output's power, its mean taken off too, over ``mse``.
        changed: Share of images whose top-1 changes, 0 to 1.
    """

    mse: float
    sqnr_db: float | None
    changed: float


@dataclass(frozen=True)
class LayerAnalysis:
    """One layer: a node with int8 weights, or any node whose output is quantized.

    Attributes:
        name: The node's name.
        op: Its type.
        activation: None where the output stays float.
        weights: None where it has none in int8.
        effect: Of its weights and its output's codes together.
        share: Its part of the sum of all layers' ``effect.mse``, 0 to 1.
    """

    name: str
    op: str
    activation: Activation | None
    weights: Weights | None
    effect: Effect
    share: float


@dataclass(frozen=True)
class Culprit:
    """One of the worst layers.

    Attributes:
        name: The layer's.
        weights: Effect of its weights alone, None without.
        activation: Effect of its output's codes alone, None without.
        cause: What is wrong with it, a sentence.
        remedy: What can be done, a sentence.
    """

    name: str
    weights: Effect | None
    activation: Effect | None
    cause: str
    remedy: str


@dataclass(frozen=True)
class Analysis:
    """Where a QDQ graph loses accuracy.

    Attributes:
        images: How many were measured.
        bias_corrected: Whether biases were taken to make up for their weights' mean error.
        total: Effect of quantizing everything.
        layers: In graph order.
        worst: The three with the largest effect, worst first; fewer where fewer have any.
    """

    images: int
    bias_corrected: bool
    total: Effect
    layers: tuple[LayerAnalysis, ...]
    worst: tuple[Culprit, ...]


F = TypeVar("F", Activation, Weights)


@dataclass(frozen=True)
class _Cause(Generic[F]):
    """When it is the cause, and what to say; ``words`` is formatted with the facts' fields."""

    fits: Callable[[F], bool]
    words: str
    remedy: str


_OF_WEIGHTS: tuple[_Cause[Weights], ...] = (
    _Cause(
        lambda facts: facts.used <= 16,
        "its weights take {used} magnitudes, int8 has 128",
        "quantize it anew from the float model with 8 bits",
    ),
    _Cause(
        lambda facts: facts.clipped > 0.01,
        "{clipped:.1%} of its weights are clipped at an end of the range",
        "take the weights' range from their extremes, and equalize channels first",
    ),
    _Cause(
        lambda facts: facts.spread > 4,
        "one scale serves all its channels, the largest is {spread:.0f} times the smallest",
        "one scale per channel (no --per-tensor), or equalize channels first",
    ),
    _Cause(
        lambda facts: facts.sqnr_db is not None and facts.sqnr_db < 30,
        "a few large weights set each channel's scale, the rest is rounded coarsely",
        f"--rounding adaptive, or {_LEAVE_FLOAT}",
    ),
    _Cause(
        lambda _: True,
        "its weights are rounded no worse than usual, but the output depends on them strongly",
        f"--bias-correction full or --rounding adaptive, or {_LEAVE_FLOAT}",
    ),
)

_OF_ACTIVATIONS: tuple[_Cause[Activation], ...] = (
    _Cause(
        lambda facts: facts.clipping_noise > 0.5,
        "{clipped:.2%} of its output is clipped, which makes {clipping_noise:.0%} of its error: "
        "the range is too narrow",
        "calibrate on more images like these, or --ranges minmax",
    ),
    _Cause(
        lambda facts: facts.used * 4 <= facts.levels,
        "its output takes {used} of {levels} codes: the range is too wide for it",
        "calibrate on images like these; where a concat shares the range, equalize its branches",
    ),
    _Cause(
        lambda facts: facts.bulk * 4 <= facts.levels,
        "a few outliers set the range: 99% of its output lies within {bulk} of {levels} codes",
        f"equalize channels, which --no-equalize skips, or {_LEAVE_FLOAT}",
    ),
    _Cause(
        lambda _: True,
        "its output is rounded no worse than usual, but what follows depends on it strongly",
        _LEAVE_FLOAT,
    ),
)


def explain(
    layer: LayerAnalysis, weights: Effect | None, activation: Effect | None
) -> tuple[str, str]:
    """A cause and a remedy for the part of a layer that does more harm.

    Args:
        layer: As measured; it has weights or an activation.
        weights: Effect of its weights alone, None without.
        activation: Effect of its output's codes alone, None without.
    """
    harm = 0.0 if activation is None else activation.mse
    if layer.weights is not None and weights is not None and weights.mse >= harm:
        return _first(_OF_WEIGHTS, layer.weights)
    if layer.activation is None:
        raise ValueError(f"layer {layer.name} has nothing quantized")
    return _first(_OF_ACTIVATIONS, layer.activation)


def _first(causes: Sequence[_Cause[F]], facts: F) -> tuple[str, str]:
    cause = next(cause for cause in causes if cause.fits(facts))
    return cause.words.format(**asdict(facts)), cause.remedy
