"""The search on networks whose parts have known costs; nothing is timed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge.tuning.search import (
    DECIDING_LOADS,
    INT8,
    SCREENING_LOADS,
    Choice,
    Purpose,
    Quality,
    search,
)
from ghostedge_quantize.guard.search import Deadline
from ghostedge_runtime.record import Estimate


class KnownCosts:
    """A bench of parts that take so long in int8 and in float, and of borders that cost something.

    Args:
        int8_ms, float_ms: By part.
        border_ms: Of each change of precision between neighbours.
        noise: Standard deviation of a load's logarithm, drawn from a seed.
        lost: Points of agreement that a part loses in int8.
        allowed: Points that may be lost.
    """

    def __init__(
        self,
        int8_ms: Sequence[float],
        float_ms: Sequence[float],
        *,
        border_ms: float = 0.0,
        noise: float = 0.0,
        lost: Mapping[int, float] | None = None,
        allowed: float = 100.0,
    ) -> None:
        self.parts = (int8_ms, float_ms)
        self.border_ms, self.noise = border_ms, noise
        self.lost, self.allowed = lost or {}, allowed
        self.timed: list[Choice] = []
        self._random = np.random.default_rng(1)
        self._loads: dict[tuple[Choice, Choice, str], list[float]] = {}

    def ms(self, choice: Choice) -> float:
        int8_ms, float_ms = self.parts
        kinds = [part in choice for part in range(len(int8_ms))]
        own = sum(float_ms[n] if kind else int8_ms[n] for n, kind in enumerate(kinds))
        return own + self.border_ms * sum(map(bool.__xor__, kinds, kinds[1:]))

    def qualities(self, choices: Sequence[Choice]) -> list[Quality]:
        losses = [sum(v for part, v in self.lost.items() if part not in c) for c in choices]
        return [Quality(100 - loss, None, 1, max(0.0, loss - self.allowed)) for loss in losses]

    def compare(
        self, base: Choice, others: Sequence[Choice], loads: int, purpose: Purpose = "search"
    ) -> None:
        for other in others:
            self.timed.append(other)
            for pair in ((other, base), (other, INT8)):
                ratio = self.ms(pair[0]) / self.ms(pair[1])
                known = self._loads.setdefault((*pair, purpose), [])
                while len(known) < loads:
                    known.append(math.log(ratio) + self.noise * self._random.standard_normal())

    def ratio(self, choice: Choice, base: Choice, purpose: Purpose = "search") -> Estimate | None:
        logs = self._loads.get((choice, base, purpose))
        if logs is None and (logs := self._loads.get((base, choice, purpose))):
            logs = [-value for value in logs]
        if not logs:
            return None
        half = 3 * self.noise / math.sqrt(len(logs))
        ends = (np.mean(logs), np.mean(logs) - half, np.mean(logs) + half)
        return Estimate(*(math.exp(value) for value in ends))


def endless() -> Deadline:
    return Deadline(None)


FIRST_TWO = KnownCosts([9, 8, 3, 3, 3, 3], [5, 6, 6, 6, 6, 6], border_ms=0.5)


def test_a_float_prefix_is_chosen_where_int8_is_slow_at_the_start() -> None:
    outcome = search(6, FIRST_TWO, endless())
    assert (outcome.choice, outcome.stopped) == (frozenset({0, 1}), "search done")


def test_a_part_in_the_middle_is_found_by_flipping_it() -> None:
    bench = KnownCosts([2, 2, 2, 9, 2, 2, 2, 8], [4, 4, 4, 3, 4, 4, 4, 2], border_ms=0.25)
    assert search(8, bench, endless()).choice == frozenset({3, 7})


def test_where_nothing_wins_the_faster_default_is_given() -> None:
    assert search(4, KnownCosts([1, 1, 1, 1], [2, 2, 2, 2]), endless()).choice == INT8
    slow = KnownCosts([2, 2, 2, 2], [1, 1, 1, 1])
    assert search(4, slow, endless()).choice == frozenset(range(4))


def test_differences_within_the_noise_are_no_reason_to_choose() -> None:
    bench = KnownCosts([1.0] * 6, [0.999] + [1.2] * 5, noise=0.02)
    assert search(6, bench, endless()).choice == INT8


class Lucky(KnownCosts):
    """A bench on which mixtures look fast until the last word."""

    def ratio(self, choice: Choice, base: Choice, purpose: Purpose = "search") -> Estimate | None:
        ratio = super().ratio(choice, base, purpose)
        if ratio is None or purpose == "last word":
            return ratio
        luck = (0.8 if self.is_mixed(choice) else 1) / (0.8 if self.is_mixed(base) else 1)
        return Estimate(ratio.value * luck, ratio.low * luck, ratio.high * luck)

    def is_mixed(self, choice: Choice) -> bool:
        return 0 < len(choice) < len(self.parts[0])


@pytest.mark.parametrize(("int8_ms", "float_ms"), [(1.0, 1.05), (1.05, 1.0)])
def test_the_last_word_overrules_a_choice_that_was_lucky(int8_ms: float, float_ms: float) -> None:
    bench = Lucky([int8_ms] * 5, [float_ms] * 5, border_ms=0.1)
    outcome = search(5, bench, endless())
    assert any(bench.is_mixed(choice) for choice in bench.timed)
    faster = INT8 if int8_ms < float_ms else frozenset(range(5))
    assert outcome.choice == faster


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=10))
def test_the_choice_is_never_slower_than_either_default(costs: list[tuple[int, int]]) -> None:
    bench = KnownCosts([a for a, _ in costs], [b for _, b in costs], border_ms=0.3)
    outcome = search(len(costs), bench, endless())
    everything = frozenset(range(len(costs)))
    assert bench.ms(outcome.choice) <= min(bench.ms(INT8), bench.ms(everything)) + 1e-9


def test_the_same_measurements_give_the_same_choice() -> None:
    def once() -> tuple[Choice, list[Choice]]:
        bench = KnownCosts([3, 5, 2, 7, 2], [4, 3, 4, 4, 4], border_ms=0.2, noise=0.01)
        return search(5, bench, endless()).choice, bench.timed

    assert once() == once()


def test_a_choice_that_misses_the_budget_is_neither_timed_nor_chosen() -> None:
    bench = KnownCosts([9, 1, 1, 1], [5, 6, 6, 6], lost={1: 3.0}, allowed=1.0)
    outcome = search(4, bench, endless())
    assert 1 in outcome.choice
    assert frozenset({0}) in outcome.tried
    assert frozenset({0}) not in bench.timed


def test_a_budget_that_a_mixture_alone_holds_is_held_by_the_fastest_of_those() -> None:
    """All int8 loses too much, and all float is too large."""

    class Small(KnownCosts):
        def qualities(self, choices: Sequence[Choice]) -> list[Quality]:
            lost = super().qualities(choices)
            return [
                Quality(q.agreement_pct, None, len(c), q.excess + max(0, len(c) - 2))
                for q, c in zip(lost, choices, strict=True)
            ]

    bench = Small([2, 2, 2, 2], [3, 3, 5, 4], lost={0: 2.0, 2: 2.0}, allowed=2.0)
    assert search(4, bench, endless()).choice == frozenset({0})


def test_a_budget_that_nothing_holds_gives_the_nearest() -> None:
    class Strict(KnownCosts):
        def qualities(self, choices: Sequence[Choice]) -> list[Quality]:
            return [Quality(50, None, 1, excess=abs(len(c) - 2) + 1.0) for c in choices]

    outcome = search(4, Strict([1] * 4, [1] * 4), endless())
    assert outcome.stopped == "nothing holds"
    assert len(outcome.choice) == 2


def test_time_that_is_up_ends_with_the_best_so_far_held_against_the_defaults() -> None:
    class Clock:
        now = 0.0

    bench = KnownCosts([9, 8, 3, 3, 3, 3], [5, 6, 6, 6, 6, 6], border_ms=0.5)
    deadline = Deadline(1.0, lambda: Clock.now)
    compare = bench.compare

    def slow(
        base: Choice, others: Sequence[Choice], loads: int, purpose: Purpose = "search"
    ) -> None:
        compare(base, others, loads, purpose)
        Clock.now += 0.6

    bench.compare = slow  # type: ignore[method-assign]
    outcome = search(6, bench, deadline)
    assert outcome.stopped == "time is up"
    assert outcome.choice == frozenset({0, 1})
    assert bench.ratio(outcome.choice, INT8, "last word") is not None


def test_loads_are_few_for_screening_and_more_for_deciding() -> None:
    assert 2 <= SCREENING_LOADS < DECIDING_LOADS


@pytest.mark.parametrize("parts", [1, 2])
def test_a_network_of_hardly_any_parts_is_searched_too(parts: int) -> None:
    assert search(parts, KnownCosts([1] * parts, [2] * parts), endless()).choice == INT8
