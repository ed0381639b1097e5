"""The search for the fastest choice of float and int8 parts, over measurements that are passed in.

1. The two defaults, all int8 and all float, are measured against each other.
2. **Prefixes**: the first parts float, the others int8; some lengths, then the best's neighbours.
3. **Flips**: each part alone in the other precision, in the context of the best choice so far; the
   parts that gain are flipped together, in several numbers of them; and all of it once more.
4. **The last word**: the choice against both defaults, in measurements of its own, because the best
   of many is in part the luckiest.

Screening takes few loads of each file and only ranks; a choice takes the place of another when the
95 % interval of their ratio, over more loads, lies below 1. For the same measurements the result is
the same. A choice that misses the budget is not timed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ghostedge_quantize.guard.search import Deadline, TimeUpError
from ghostedge_runtime.record import Estimate

Choice = frozenset[int]
"""The indices of the parts that are float; the others are int8."""
Purpose = Literal["search", "last word"]
Stopped = Literal["search done", "time is up", "nothing holds"]

INT8: Choice = frozenset()
SCREENING_LOADS = 2
DECIDING_LOADS = 6
AT_ONCE = 4
"""So many choices are held against the two that every measurement has: each is a process."""
_FLIP_ROUNDS = 2
_SMALL = 8
"""Of so many parts every prefix is measured."""


@dataclass(frozen=True)
class Quality:
    """What a choice is worth beside its speed.

    Attributes:
        agreement_pct: Share of the images with the float network's top-1; None where it puts no
            class first.
        top1_pct: Accuracy on labelled images; None without.
        bytes: Of the file.
        excess: How far it misses the budget, in points of the first bound that it misses and MB of
            the second; 0 where it holds.
    """

    agreement_pct: float | None
    top1_pct: float | None
    bytes: int
    excess: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether it keeps the budget."""
        return self.excess <= 0


class Bench(Protocol):
    """What the search asks of choices."""

    def qualities(self, choices: Sequence[Choice]) -> Sequence[Quality]:
        """What they are worth, in their order."""

    def compare(
        self, base: Choice, others: Sequence[Choice], loads: int, purpose: Purpose = "search"
    ) -> None:
        """Time them in turn with the base until each pair has that many loads."""

    def ratio(self, choice: Choice, base: Choice, purpose: Purpose = "search") -> Estimate | None:
        """Time of the one over the other, with its interval over loads; None where one fails."""


@dataclass(frozen=True)
class Outcome:
    """How a search ended.

    Attributes:
        choice: The best.
        stopped: Why it ended.
        tried: Every choice whose quality was looked at, in order.
    """

    choice: Choice
    stopped: Stopped
    tried: tuple[Choice, ...]


def search(parts: int, bench: Bench, deadline: Deadline) -> Outcome:
    """Find the fastest choice that keeps the budget.

    Args:
        parts: How many there are.
        bench: Measures.
        deadline: When to end with the best so far; the defaults and the last word are measured
            whatever it says.
    """
    return _Search(parts, bench, deadline).run()


class _Search:
    def __init__(self, parts: int, bench: Bench, deadline: Deadline) -> None:
        self._parts, self._bench, self._deadline = parts, bench, deadline
        self._float: Choice = frozenset(range(parts))
        self._defaults = (INT8, self._float)
        self._quality: dict[Choice, Quality] = {}

    def run(self) -> Outcome:
        holding = self._holding(self._defaults)
        self._bench.compare(INT8, [self._float], DECIDING_LOADS)
        best = self._fastest(holding, INT8)
        stopped: Stopped = "search done"
        try:
            best = self._best_prefix(best)
            for _ in range(_FLIP_ROUNDS):
                flipped = self._best_flips(best)
                if flipped == best:
                    break
                best = flipped
        except TimeUpError:  # the last word will tell whether the leader is more than lucky
            stopped = "time is up"
            best = self._fastest(self._holding([*self._quality]), INT8, best)
        if best is None:
            nearest = min(self._quality, key=lambda choice: self._quality[choice].excess)
            return Outcome(nearest, "nothing holds", tuple(self._quality))
        return Outcome(self._last_word(best, holding), stopped, tuple(self._quality))

    def _best_prefix(self, best: Choice | None) -> Choice | None:
        lengths = _lengths(self._parts)
        tried = self._screened(best, map(_prefix, lengths))
        leader = self._fastest(tried, best or INT8)
        if leader is not None:
            around = {len(leader) - 1, len(leader) + 1} - {0, self._parts, *lengths}
            tried += self._screened(best, map(_prefix, sorted(around)))
            leader = self._fastest(tried, best or INT8)
        return best if leader is None else self._better(best, [leader])

    def _best_flips(self, best: Choice | None) -> Choice | None:
        """Flip the parts that gain by it; parts that bring a choice within the budget count too."""
        base = best or INT8
        tried = self._screened(best, (base ^ {part} for part in range(self._parts)))
        ratios = {choice: ratio.value for choice in tried if (ratio := self._ratio(choice, base))}
        gaining = [c for c in ratios if best is None or ratios[c] < 1]
        flips = [min(c ^ base) for c in sorted(gaining, key=ratios.__getitem__)]
        numbers = sorted({1, (len(flips) + 1) // 2, len(flips)}) if flips else []
        together = [base ^ frozenset(flips[:number]) for number in numbers]
        return self._better(best, self._holding(together))

    def _better(self, best: Choice | None, others: Sequence[Choice]) -> Choice | None:
        """The fastest of the others where its interval lies below the best so far, else that."""
        base = best or INT8
        self._compare(base, others, DECIDING_LOADS)
        if best is None:
            return self._fastest(others, base)
        surely = [c for c in others if (ratio := self._ratio(c, base)) and ratio.high < 1]
        return self._fastest(surely, base, best)

    def _last_word(self, best: Choice, holding: Sequence[Choice]) -> Choice:
        """The choice where it is faster than the defaults that hold, else the faster of these."""
        if best in self._defaults or not holding:
            return best
        self._bench.compare(best, self._defaults, DECIDING_LOADS, "last word")
        ratios = [self._bench.ratio(best, default, "last word") for default in holding]
        if all(ratio is not None and ratio.high < 1 for ratio in ratios):
            return best
        default = self._fastest(holding, INT8)
        return best if default is None else default

    def _screened(self, best: Choice | None, choices: Iterable[Choice]) -> list[Choice]:
        """Those of the choices that hold and are no default, timed on a few loads."""
        new = [choice for choice in choices if choice not in self._defaults]
        screened = list[Choice]()
        for start in range(0, len(new), AT_ONCE):
            self._deadline.check()
            holding = self._holding(new[start : start + AT_ONCE])
            self._compare(best or INT8, holding, SCREENING_LOADS)
            screened += holding
        return screened

    def _compare(self, base: Choice, others: Sequence[Choice], loads: int) -> None:
        if others:
            self._deadline.check()
            self._bench.compare(base, others, loads)

    def _holding(self, choices: Sequence[Choice]) -> list[Choice]:
        unknown = [choice for choice in dict.fromkeys(choices) if choice not in self._quality]
        self._quality |= zip(unknown, self._bench.qualities(unknown), strict=True)
        return [choice for choice in dict.fromkeys(choices) if self._quality[choice].holds]

    def _fastest(
        self, choices: Collection[Choice], base: Choice, otherwise: Choice | None = None
    ) -> Choice | None:
        """The fastest of those that were timed; all int8 is an empty choice, and no None."""
        timed = {choice: ratio for choice in choices if (ratio := self._ratio(choice, base))}
        return min(timed, key=lambda choice: timed[choice].value, default=otherwise)

    def _ratio(self, choice: Choice, base: Choice) -> Estimate | None:
        return Estimate(1, 1, 1) if choice == base else self._bench.ratio(choice, base)


def _prefix(length: int) -> Choice:
    return frozenset(range(length))


def _lengths(parts: int) -> list[int]:
    """Of prefixes that are neither empty nor the whole: all of few parts, else ever fewer."""
    lengths, length, step = set[int](), 1.0, 1.0
    while round(length) < parts:
        lengths.add(round(length))
        step = 1.0 if parts <= _SMALL or length < _SMALL / 2 else step * 1.4
        length += step
    return sorted(lengths | {parts - 1} - {0})
