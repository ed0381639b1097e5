"""What lies between two arrays of scores, in differences and in powers."""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge.conversion.gap import Gap
from ghostedge.formats.table import Budget

REFERENCE = np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 1.0]], np.float32)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 400.0])
def test_the_bound_on_a_difference_is_a_share_of_the_largest_score_however_large(
    scale: float,
) -> None:
    scaled, shifted = REFERENCE * np.float32(scale), (REFERENCE + 0.003) * np.float32(scale)
    gap = Gap.of_scores(shifted.astype(np.float32), scaled)
    assert gap.keeps(Budget(max_difference=1e-3))  # 0.003 ≤ 1e-3 · 4
    assert not gap.keeps(Budget(max_difference=5e-4))


def test_what_all_scores_of_an_image_have_in_common_is_neither_noise_nor_signal() -> None:
    shifted = REFERENCE + np.array([[50.0], [-7.0]], np.float32)
    assert Gap.of_scores(shifted, REFERENCE).keeps(Budget(min_sqnr_db=100.0))
    noise = np.array([[0.5, -0.5, 0.0], [0.0, 0.5, -0.5]], np.float32)
    offset = Gap.of_scores(REFERENCE + 1000 + noise, REFERENCE + np.float32(1000))
    assert offset.sqnr_db == pytest.approx(10 * np.log10((2 + 26 / 3) / 1.0), abs=0.01)
