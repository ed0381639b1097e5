"""How a graph is to be quantized: the choices by name. Imports nothing, so that options can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["auto", "minmax", "percentile", "mse", "entropy"]
"""How the ends of a range are chosen; ``auto``: for each tensor by the one that loses least."""
BiasCorrection = Literal["none", "fast", "full"]
Rounding = Literal["nearest", "first", "adaptive"]
"""Which layers' weights learn to round: none, those that read the image, all."""
OutputType = Literal["float32", "int8"]


@dataclass(frozen=True)
class Int8Settings:
    """How a graph is to be quantized.

    Attributes:
        ranges: How the ends of an activation's range are chosen.
        equalize: Whether channels are rescaled first, which leaves the float function unchanged.
        bias_correction: How a layer's mean error is taken out of its bias.
        rounding: How weights are rounded to int8.
        per_channel: A weight scale for every output channel, or one per tensor.
        output_type: What the int8 graph puts out.
    """

    ranges: Method = "auto"
    equalize: bool = True
    bias_correction: BiasCorrection = "full"
    rounding: Rounding = "first"
    per_channel: bool = True
    output_type: OutputType = "float32"
