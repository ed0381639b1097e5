"""Choices in words, and which of them no other beats."""

from __future__ import annotations

import pytest

from ghostedge.records.tuning import Trial
from ghostedge.tuning.report import choice_words, on_front
from ghostedge.tuning.segments import Segment
from ghostedge_runtime.record import Estimate

SEGMENTS = tuple(Segment((f"part{n}",)) for n in range(12))


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ((), "int8"),
        (range(12), "float32"),
        ((0,), "float part0"),
        ((0, 1, 2), "float up to part2"),
        ((0, 1, 4, 6, 7), "float up to part1, part4, part6 to part7"),
        ((0, 2, 4, 6, 8, 10), "float part0, part2, part4, part6 and 2 more"),
    ],
)
def test_neighbours_are_said_together(choice: tuple[int, ...], words: str) -> None:
    assert choice_words(frozenset(choice), SEGMENTS) == words


def trial(to_int8: float | None, agreement: float, size: int) -> Trial:
    ratio = None if to_int8 is None else Estimate(to_int8, to_int8, to_int8)
    return Trial("it", 0, "", size, agreement, None, holds=True, to_int8=ratio)


def test_on_the_front_is_what_no_other_beats_in_all_three() -> None:
    fast, right, small = trial(0.8, 98, 5), trial(1.0, 100, 5), trial(1.0, 98, 2)
    beaten, untimed = trial(0.9, 97, 6), trial(None, 100, 1)
    trials = [fast, right, small, beaten, untimed]
    assert [on_front(each, trials) for each in trials] == [True, True, True, False, False]


def test_equals_are_both_on_the_front() -> None:
    one = trial(0.8, 98, 5)
    assert on_front(one, [one, trial(0.8, 98, 5)])
