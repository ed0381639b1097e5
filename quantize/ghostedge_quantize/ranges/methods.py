"""The measured range of each activation, and the affine int8 code that a range becomes.

Not here: how ranges are measured (``calibration``) and which tensors share one (``plan``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from ghostedge_runtime.errors import InputError

Method = Literal["auto", "minmax", "percentile", "mse", "entropy"]
"""How the ends of a range are chosen; ``auto``: for each tensor by the one that loses least."""

QMIN, QMAX = -128, 127
MIN_SPAN = 2.0**-50
"""Ranges narrower than this are rounding noise about zero; their scales would underflow."""
ZERO_TENSOR_SPAN = 0.25
"""Upper end given to a tensor that was zero on every calibration image.

Any span will do for what was seen; a small one keeps some resolution for what was not.
"""


class Range(NamedTuple):
    """Lowest and highest real value that is represented; zero always lies within."""

    low: float
    high: float

    def scaled(self, factor: float) -> Range:
        """The range stretched about zero, which leaves the zero point where it was."""
        return Range(self.low * factor, self.high * factor)


class QuantParams(NamedTuple):
    """``real = scale * (code - zero_point)``: scale as stored (float32), zero point int8."""

    scale: np.float32
    zero_point: int


@dataclass(frozen=True)
class Ranges:
    """What calibration found: tensor name → range.

    Attributes:
        method: How the ends were chosen.
        images: How many images were looked at.
        tensors: Frozen; ends are finite and hold zero between them.
        chosen: Frozen; the method that each tensor's range was read by, never ``auto``. May be
            empty.
        float_joins: Concats that stay float because their parts' ranges are unlike (``joins``).
    """

    method: Method
    images: int
    tensors: Mapping[str, Range]
    chosen: Mapping[str, Method] = field(default_factory=dict)
    float_joins: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        frozen = {name: Range(*map(float, ends)) for name, ends in self.tensors.items()}
        for name, (low, high) in frozen.items():
            if not (math.isfinite(low) and math.isfinite(high) and low <= 0 <= high):
                raise InputError(
                    f"[{low}, {high}] is not a range: ends are finite and zero lies between them",
                    where=name,
                )
        object.__setattr__(self, "tensors", MappingProxyType(frozen))
        object.__setattr__(self, "chosen", MappingProxyType(dict(self.chosen)))


def hull(ranges: Iterable[Range]) -> Range:
    """The smallest range that holds zero and all of ``ranges``, and is wide enough to use."""
    low = high = 0.0
    for each in ranges:
        low, high = min(low, each.low), max(high, each.high)
    return Range(low, high) if high - low >= MIN_SPAN else Range(0.0, ZERO_TENSOR_SPAN)


def affine(values: Range) -> QuantParams:
    """Scale and zero point of an asymmetric int8 code in which zero is exact.

    The zero point is rounded, so the represented range is ``values`` moved by up to half a step.
    """
    low, high = values
    scale = np.float32((high - low) / (QMAX - QMIN))
    zero_point = QMIN - round(low / float(scale))
    return QuantParams(scale, min(max(zero_point, QMIN), QMAX))


def quantize_array(values: np.ndarray, params: QuantParams) -> np.ndarray:
    """float32 array → int8 codes, as ONNX's QuantizeLinear: half to even, saturating."""
    codes = np.rint(values / params.scale) + np.float32(params.zero_point)
    return np.asarray(np.clip(codes, QMIN, QMAX), np.int8)
