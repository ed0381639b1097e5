"""An output of a network that scores no classes, in a line: its shape and what its numbers are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class OutputSummary:
    """One output of one image.

    Attributes:
        name: As the file has it.
        shape: As the file has it: feature maps channels-last in TFLite, channels-first in ONNX.
        smallest: Of its numbers, integers dequantized.
        mean: Likewise.
        largest: Likewise.
    """

    name: str
    shape: tuple[int, ...]
    smallest: float
    mean: float
    largest: float


def summaries(values: Mapping[str, npt.NDArray[np.float32]]) -> tuple[OutputSummary, ...]:
    """Of what ``Model.values`` returned."""
    return tuple(
        OutputSummary(
            name, array.shape, float(array.min()), float(array.mean()), float(array.max())
        )
        for name, array in values.items()
    )
