"""Every artefact held against the one before it.

Two files that should be the same function are compared by their logits; one that rounds to int8
against its float original by the class they put first. The bounds are stated here, printed and put
in the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostedge.manifest import Parity

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Budget:
    """A bound on the difference of two artefacts.

    Attributes:
        max_abs_diff: Of any logit, relative to the largest logit where that is above 1.
        min_agreement_pct: Share of images with the same top-1.
    """

    max_abs_diff: float | None = None
    min_agreement_pct: float | None = None

    def __str__(self) -> str:
        parts = []
        if self.max_abs_diff is not None:
            parts.append(f"logits within {self.max_abs_diff:g}")
        if self.min_agreement_pct is not None:
            parts.append(f"same top-1 on {self.min_agreement_pct:g} %")
        return ", ".join(parts)

    def holds(self, max_abs_diff: float, largest: float, agreement_pct: float) -> bool:
        """Whether a measured difference is inside the bound."""
        diff_ok = self.max_abs_diff is None or max_abs_diff <= self.max_abs_diff * max(1, largest)
        agreement_ok = self.min_agreement_pct is None or agreement_pct >= self.min_agreement_pct
        return diff_ok and agreement_ok


# Agreement is bounded loosely: a conversion is often checked on a few dozen images, where one
# undecided one is percents. On thousands, `benchmarks/accuracy.py` shows what to expect.
BUDGETS: Mapping[tuple[str, str], Budget] = {
    ("onnx", "float32"): Budget(max_abs_diff=1e-4),
    ("tflite", "float32"): Budget(max_abs_diff=1e-3),
    ("onnx", "float16"): Budget(max_abs_diff=1e-2),
    ("tflite", "float16"): Budget(max_abs_diff=1e-3),
    ("onnx", "dynamic"): Budget(min_agreement_pct=90.0),
    ("tflite", "dynamic"): Budget(max_abs_diff=1e-3),
    ("onnx", "int8"): Budget(min_agreement_pct=90.0),
    ("tflite", "int8"): Budget(min_agreement_pct=97.0),
}


def agreement_pct(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> float:
    """Share of equal entries of two arrays of predicted classes, in percent."""
    return 100.0 * float(np.mean(a == b))


def parity(
    logits: Logits,
    reference_logits: Logits,
    *,
    reference: str,
    image_source: str,
    budget: Budget,
) -> Parity:
    """Compare two arrays of logits, (images, classes), of the same images in the same order."""
    diff = float(np.max(np.abs(logits - reference_logits)))
    agreement = agreement_pct(logits.argmax(1), reference_logits.argmax(1))
    largest = float(np.max(np.abs(reference_logits)))
    return Parity(
        reference=reference,
        images=len(logits),
        image_source=image_source,
        max_abs_diff=diff,
        agreement_pct=agreement,
        budget=str(budget),
        within_budget=bool(np.isfinite(diff)) and budget.holds(diff, largest, agreement),
    )
