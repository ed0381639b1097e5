"""Why a layer hurts, told from its measurements: the first cause in a table that fits.

The thresholds choose words, never numbers: each is where its cause alone costs two bits of eight or
most of the error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Generic, TypeVar

from ghostedge_quantize.analysis.findings import Activation, Effect, LayerAnalysis, Weights

F = TypeVar("F", Activation, Weights)
_LEAVE_FLOAT = "leave this layer float (--min-agreement does, where it pays)"


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
    found = next(cause for cause in causes if cause.fits(facts))
    return found.words.format(**asdict(facts)), found.remedy
