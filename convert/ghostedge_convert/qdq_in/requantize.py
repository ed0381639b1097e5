"""What was requantized, and what that cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostedge_convert.qdq_in.constants import quantized
from ghostedge_convert.qdq_in.pairs import Scheme


@dataclass(frozen=True)
class Loss:
    """How far a requantized tensor is from the source's.

    Attributes:
        max_abs: Largest difference of a value.
        mean_square: Mean of the squared differences.
    """

    max_abs: float
    mean_square: float


@dataclass(frozen=True)
class Requantized:
    """A tensor whose integers are no longer the source's.

    Attributes:
        tensor: Its name in the source: a constant's, or the real activation's before its pair.
        node: The node that the source's form was refused for.
        reason: What TFLite cannot express.
        loss: What it cost; None for an activation, whose loss depends on the images.
        before: The source's scheme, for an activation that had one.
        after: The new one, None for a constant.
    """

    tensor: str
    node: str
    reason: str
    loss: Loss | None = None
    before: Scheme | None = None
    after: Scheme | None = None

    def loss_on(self, batches: Iterable[npt.NDArray[np.float32]]) -> Loss:
        """What the change does to an activation's values.

        Args:
            batches: The real activation, before its pair, on some images.

        Raises:
            ValueError: This is a constant, or there are no batches.
        """
        if self.after is None:
            raise ValueError(f"{self.tensor!r} is a constant")
        largest, squares, count = 0.0, 0.0, 0
        for real in batches:
            new = self.after.dequantize(quantized(real, self.after))
            kept = self.before
            old = real if kept is None else kept.dequantize(quantized(real, kept))
            gap = np.abs(new.astype(np.float64) - old)
            largest = max(largest, float(gap.max(initial=0.0)))
            squares += float(np.square(gap).sum())
            count += gap.size
        if not count:
            raise ValueError("no batches to measure on")
        return Loss(largest, squares / count)
