"""Losses against a budget, and when a check may be cut short."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_quantize.guard.score import Budget, BudgetKind, Tally, Target
from ghostedge_runtime.errors import InputError


def chunks(answers: np.ndarray, size: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    order = np.random.default_rng(seed).permutation(len(answers))
    return [(order[i : i + size], answers[order[i : i + size]]) for i in range(0, len(order), size)]


@pytest.mark.parametrize("limit", [-0.1, 100.5, float("nan")])
def test_a_limit_outside_0_to_100_is_refused_by_its_flag(limit: float) -> None:
    with pytest.raises(InputError, match=r"--max-drop: must be between 0 and 100"):
        Budget("max_drop", limit)


def test_a_drop_counts_gains_against_losses() -> None:
    labels = np.zeros(10, int)
    answers = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])  # float: 6 right
    int8 = np.array([1, 1, 0, 0, 0, 0, 0, 1, 1, 2])  # two lost, one won
    score = Target(Budget("max_drop", 10), answers, labels).score(chunks(int8, 10))
    assert (score.loss, score.images, score.holds) == (10.0, 10, True)


def test_agreement_counts_every_difference() -> None:
    answers, int8 = np.arange(8), np.array([0, 1, 2, 3, 4, 5, 0, 0])
    target = Target(Budget("min_agreement", 76), answers)
    assert target.score(chunks(int8, 8)).loss == 25.0
    assert not target.score(chunks(int8, 8)).holds
    assert Target(Budget("min_agreement", 75), answers).score(chunks(int8, 8)).holds


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_check_cut_short_without_statistics_would_have_failed(data: st.DataObject) -> None:
    """Below 200 images only arithmetic ends a check, so it is never wrong."""
    count = data.draw(st.integers(1, 150))
    classes = st.lists(st.integers(0, 2), min_size=count, max_size=count).map(np.array)
    labels, answers, int8 = data.draw(classes), data.draw(classes), data.draw(classes)
    limit = data.draw(st.floats(0, 100))
    kind = data.draw(st.sampled_from(get_args(BudgetKind)))
    target = Target(Budget(kind, limit), answers, labels if kind == "max_drop" else None)
    full = int(target.losses(np.arange(count), int8).sum())
    score = target.score(chunks(int8, data.draw(st.integers(1, 20))))
    assert score.holds == target.budget.holds(100 * full / count)
    if score.holds:
        assert score.images == count
        assert score.loss == pytest.approx(100 * full / count)


def test_a_hopeless_check_ends_soon() -> None:
    answers = np.zeros(50_000, int)
    int8 = np.where(np.random.default_rng(1).random(50_000) < 0.1, 1, 0)
    score = Target(Budget("min_agreement", 99), answers).score(chunks(int8, 100))
    assert not score.holds
    assert score.images < 1000


def test_checks_within_reach_are_hardly_ever_cut_short() -> None:
    """2,000 orders of 1,000 images that just hold; at four sigmas one in 30,000 is expected."""
    losses = np.array([1] * 30 + [-1] * 10 + [0] * 960)
    rng, cut = np.random.default_rng(0), 0
    for _ in range(2000):
        tally = Tally(1000, 2.0, 200)
        for chunk in np.split(rng.permutation(losses), 10):
            tally.add(chunk, 0)
            cut += tally.out_of_reach()
    assert cut <= 2
