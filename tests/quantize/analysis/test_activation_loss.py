"""What one pair loses of a tensor, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge_quantize.analysis.activation_loss import ActivationLoss
from ghostedge_quantize.analysis.qdq_graph import Pair

HALVES = Pair("x", "x_codes", np.float32(0.5).reshape(()), np.uint8(0).reshape(()), 1, 0, 255)


def test_values_on_the_grid_lose_nothing() -> None:
    loss = ActivationLoss(HALVES)
    loss.add(np.array([0.0, 0.5, 2.0], np.float32), np.array([0.0, 0.5, 2.0], np.float32))
    report = loss.report()
    assert report.sqnr_db is None
    assert report.accumulated_db is None
    assert (report.clipped, report.clipping_noise) == (0.0, 0.0)
    assert (report.levels, report.used) == (256, 5)


def test_what_lies_beyond_the_range_is_clipped_and_counted_apart() -> None:
    loss = ActivationLoss(HALVES)
    values = np.array([-1.0, 0.25, 4.0, 8.0], np.float32)  # -1 becomes 0, 0.25 becomes 0
    loss.add(values, values)
    report = loss.report()
    assert report.clipped == 0.25
    assert report.clipping_noise == pytest.approx(1 / (1 + 0.25**2))
    assert report.sqnr_db == pytest.approx(10 * np.log10(81.0625 / 1.0625))


def test_what_layers_before_it_lost_counts_in_the_accumulated_figure_alone() -> None:
    loss = ActivationLoss(HALVES)
    loss.add(np.array([1.0, 2.0], np.float32), np.array([1.5, 2.0], np.float32))
    report = loss.report()
    assert report.sqnr_db is None
    assert report.accumulated_db == pytest.approx(10 * np.log10(5 / 0.25))
