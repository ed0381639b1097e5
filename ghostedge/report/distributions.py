"""Raw samples made few enough to draw and to ship, without hiding what is left out.

A histogram's axis ends where hardly any sample lies; how many lie beyond and how far is kept.
Rounds are joined in equal groups, looks at the machine likewise, and what a group stands for is
said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ghostedge_runtime.record import Round, Snapshot

BINS = 40
MOST_DOTS = 90
_BEYOND_P99, _LONG_TAIL = 0.25, 4.0


@dataclass(frozen=True)
class Histogram:
    """How often which latency occurred.

    Attributes:
        edges_ms: `BINS` + 1 edges of the bins, in milliseconds.
        counts: Inferences in each bin.
        beyond: Inferences slower than the last edge.
        max_ms: The slowest of all.
        logarithmic: Whether the bins widen, because the slow are many times slower than most.
    """

    edges_ms: tuple[float, ...]
    counts: tuple[int, ...]
    beyond: int
    max_ms: float
    logarithmic: bool


@dataclass(frozen=True)
class Steps:
    """Latency over time.

    Attributes:
        each: Rounds that one step joins; the last step may join fewer.
        at_s: When each step began, in seconds since the run began.
        p10_ms, p50_ms, p90_ms: Of the inferences of each step.
    """

    each: int
    at_s: tuple[float, ...]
    p10_ms: tuple[float, ...]
    p50_ms: tuple[float, ...]
    p90_ms: tuple[float, ...]


@dataclass(frozen=True)
class Line:
    """One sensor or clock over time; None where it was not told."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Lines:
    """Sensors over time.

    Attributes:
        each: Looks that one value stands for; it is the most extreme of them.
        at_s: When each began, in seconds since the run began.
        lines: The sensors drawn, most extreme first.
        all: How many sensors there were.
    """

    each: int
    at_s: tuple[float, ...]
    lines: tuple[Line, ...]
    all: int


def histogram(rounds: Iterable[Round]) -> Histogram | None:
    """The samples of all rounds, None without any."""
    samples = np.array([ns for each in rounds for ns in each.samples_ns], np.float64) / 1e6
    if not samples.size:
        return None
    low, high = float(samples.min()), float(samples.max())
    p99 = float(np.percentile(samples, 99))
    end = min(high, p99 + _BEYOND_P99 * (p99 - low))
    if end <= low:
        end = low * (1 + 1e-6) or 1e-6  # all alike: a bin needs some width
    logarithmic = p99 > _LONG_TAIL * float(np.median(samples)) and low > 0
    edges = (np.geomspace if logarithmic else np.linspace)(low, end, BINS + 1)
    edges[0], edges[-1] = low, end  # as they are, not as powers round them
    counts, _ = np.histogram(samples, edges)
    return Histogram(
        edges_ms=_rounded(edges),
        counts=tuple(int(count) for count in counts),
        beyond=int((samples > end).sum()),
        max_ms=round(high, 6),
        logarithmic=logarithmic,
    )


def steps(rounds: Sequence[Round]) -> Steps | None:
    """The rounds in order, joined to at most `MOST_DOTS` steps; None without samples."""
    filled = [each for each in rounds if each.samples_ns]
    if not filled:
        return None
    each = -(-len(filled) // MOST_DOTS)
    groups = [filled[at : at + each] for at in range(0, len(filled), each)]
    percentiles = np.array(
        [np.percentile([n for r in group for n in r.samples_ns], (10, 50, 90)) for group in groups]
    )
    p10, p50, p90 = (_rounded(column / 1e6) for column in percentiles.T)
    return Steps(each, _rounded([group[0].start_s for group in groups]), p10, p50, p90)


def temperatures(trace: Sequence[Snapshot], most: int) -> Lines | None:
    """The ``most`` hottest sensors over time, None where none was told."""
    return _lines(trace, lambda look: look.temperatures_c, max, most)


def clocks(trace: Sequence[Snapshot], most: int) -> Lines | None:
    """The ``most`` slowest clocks over time, None where none was told."""
    return _lines(trace, lambda look: look.clocks_mhz, min, most)


def _lines(
    trace: Sequence[Snapshot],
    read: Callable[[Snapshot], Mapping[str, float]],
    extreme: Callable[[Iterable[float]], float],
    most: int,
) -> Lines | None:
    names = dict.fromkeys(name for look in trace for name in read(look))
    if not names:
        return None
    sign = -1 if extreme is max else 1
    found = {
        name: extreme(read(look)[name] for look in trace if name in read(look)) for name in names
    }
    drawn = sorted(names, key=lambda name: (sign * found[name], name))[:most]
    each = -(-len(trace) // MOST_DOTS)
    groups = [trace[at : at + each] for at in range(0, len(trace), each)]
    lines = []
    for name in drawn:
        told = [[read(look)[name] for look in group if name in read(look)] for group in groups]
        lines.append(Line(name, tuple(round(extreme(v), 3) if v else None for v in told)))
    return Lines(each, _rounded([group[0].at_s for group in groups]), tuple(lines), len(names))


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    """To a nanosecond, which is what was measured."""
    return tuple(round(float(value), 6) for value in values)
