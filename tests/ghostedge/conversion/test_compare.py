"""A bound that float32 itself cannot keep allows for rounding."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from ghostedge.conversion.classes import score_parity
from ghostedge.conversion.compare import Rounding
from ghostedge.formats.table import TARGETS
from ghostedge.records.manifest import Parity

REFERENCE = np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 1.0]], np.float32)


class Chaotic:
    """A network that makes ``gain`` times as much of what its input is off by."""

    def __init__(self, gain: float) -> None:
        self.gain, self.calls = gain, 0

    def values(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        self.calls += 1
        return {"y": 400 * (1 + np.float32(self.gain) * (batch - 1).mean(axis=(1, 2, 3)))}


def judged_by_rounding(gain: float, off: float) -> tuple[Parity, Chaotic]:
    """A file that is off by this share of its largest number, where the gain is so large."""
    model = Chaotic(gain)
    rounding = Rounding(model, [np.ones((1, 1, 1, 1), np.float32)])  # type: ignore[arg-type] # a stand-in for Model
    judge = partial(
        score_parity,
        REFERENCE * np.float32(1 + off),
        REFERENCE,
        reference="m",
        image_source="2 images",
    )
    return rounding.judged(judge, TARGETS["onnx"].output_budgets["float32"]), model


EPS = float(np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    ("gain", "off", "kept"),
    [
        (1, 5e-5, True),
        (1, 1e-3, False),  # a real difference of a network that rounding hardly moves
        (1e-3 / EPS, 1e-3, True),  # what one rounding of the input does to it
        (1e-5 / EPS, 1e-3, False),
        (1e-1 / EPS, 5e-3, True),
        (1e-1 / EPS, 5e-2, False),  # whatever rounding does: not shown to be the same function
    ],
)
def test_a_difference_may_be_what_float32_rounding_makes_of_the_network(
    gain: float, off: float, kept: bool
) -> None:
    found, model = judged_by_rounding(gain, off)
    assert found.within_budget is kept
    assert found.max_relative_diff == pytest.approx(off, rel=1e-2)
    assert (model.calls == 0) is (off < 1e-4)  # it is only asked where the bound is missed


def test_a_bound_that_allows_for_rounding_says_so() -> None:
    found, _ = judged_by_rounding(1e-4 / EPS, 5e-4)
    assert found.budget == (
        "differences within 0.001 of the output's largest number: "
        "10 times what it moves when its input is rounded"
    )
