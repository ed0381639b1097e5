"""What the charts draw, worked out once, and as the JSON that the page carries.

The Pareto front holds the models that no other beats in both speed and accuracy. Raw samples are
joined to as few points as can be drawn and sent, without hiding what is left out: a histogram's
axis ends where hardly any sample lies, and how many lie beyond and how far is kept; rounds and
looks at the machine are joined in equal groups, and how many a group holds is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ghostedge.show.contents import Contents, Entry
from ghostedge_runtime.machine.sensors import SENSORS, Sensor
from ghostedge_runtime.record import CorruptionScores, Round, Snapshot

DRAWN_SENSORS = tuple(sensor for sensor in SENSORS if sensor.over_time is not None)
BINS = 40
MOST_DOTS = 90
_BEYOND_P99, _LONG_TAIL = 0.25, 4.0
_MOST_LINES = 5
"""Sensors that one chart holds."""


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point beats, fastest first.

    A point is beaten where another is no slower and no less accurate, and better in one of the two.
    Equal points do not beat each other: either all of them are on the front or none is.

    Args:
        points: (latency, accuracy) each; less of the one and more of the other is better.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i))
    front: list[int] = []
    for index in order:
        if not front:
            front.append(index)
            continue
        last = points[front[-1]]
        if points[index][1] > last[1] or points[index] == last:
            front.append(index)
    return front


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
    samples = np.array([ns for burst in rounds for ns in burst.samples_ns], np.float64) / 1e6
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
    filled = [burst for burst in rounds if burst.samples_ns]
    if not filled:
        return None
    joined = -(-len(filled) // MOST_DOTS)
    groups = [filled[at : at + joined] for at in range(0, len(filled), joined)]
    percentiles = np.array(
        [np.percentile([n for r in group for n in r.samples_ns], (10, 50, 90)) for group in groups]
    )
    p10, p50, p90 = (_rounded(column / 1e6) for column in percentiles.T)
    return Steps(joined, _rounded([group[0].start_s for group in groups]), p10, p50, p90)


def sensor_lines(trace: Sequence[Snapshot], sensor: Sensor, most: int) -> Lines | None:
    """A sensor's ``most`` extreme places over time, None where the machine told none."""

    def read(look: Snapshot) -> Mapping[str, float]:
        places: Mapping[str, float] = getattr(look, sensor.key)
        return places

    names = dict.fromkeys(name for look in trace for name in read(look))
    if not names:
        return None
    extreme: Callable[[Iterable[float]], float] = max if sensor.over_time == "highest" else min
    sign = -1 if extreme is max else 1
    extremes = {
        name: extreme(read(look)[name] for look in trace if name in read(look)) for name in names
    }
    drawn = sorted(names, key=lambda name: (sign * extremes[name], name))[:most]
    joined = -(-len(trace) // MOST_DOTS)
    groups = [trace[at : at + joined] for at in range(0, len(trace), joined)]
    lines = []
    for name in drawn:
        readings = [[read(look)[name] for look in group if name in read(look)] for group in groups]
        lines.append(Line(name, tuple(round(extreme(v), 3) if v else None for v in readings)))
    return Lines(joined, _rounded([group[0].at_s for group in groups]), tuple(lines), len(names))


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    """To a nanosecond, which is what was measured."""
    return tuple(round(float(value), 6) for value in values)


@dataclass(frozen=True)
class CaseFigures:
    """How one case's latency is spread, and how it went over time; None without samples."""

    histogram: Histogram | None
    steps: Steps | None


@dataclass(frozen=True)
class Figures:
    """All that is drawn.

    Attributes:
        cases: By the entry's number.
        machines: Of each run, the sensors over time by their key; None where the machine told none.
        fronts: The entries on each machine's Pareto front, fastest first; none without a score.
    """

    cases: Mapping[int, CaseFigures]
    machines: tuple[Mapping[str, Lines | None], ...]
    fronts: Mapping[int, tuple[Entry, ...]]

    @property
    def on_front(self) -> frozenset[int]:
        """Numbers of all entries on a front."""
        return frozenset(entry.number for entries in self.fronts.values() for entry in entries)


def work_out(contents: Contents) -> Figures:
    """The figures of a report's contents."""
    cases = {
        entry.number: CaseFigures(histogram(entry.result.rounds), steps(entry.result.rounds))
        for entry in contents.timed
    }
    machines = tuple(
        {sensor.key: sensor_lines(run.trace, sensor, _MOST_LINES) for sensor in DRAWN_SENSORS}
        for run in contents.runs
    )
    return Figures(cases, machines, _fronts(contents))


def _plain(lines: Mapping[str, Lines | None]) -> dict[str, Any]:
    return {key: None if drawn is None else asdict(drawn) for key, drawn in lines.items()}


def _fronts(contents: Contents) -> dict[int, tuple[Entry, ...]]:
    fronts = {}
    for series in range(len(contents.series)):
        scored = [entry for entry in contents.scored if entry.series == series]
        front = pareto_front([entry.place for entry in scored])
        if front:
            fronts[series] = tuple(scored[index] for index in front)
    return fronts


def plotted(contents: Contents, figures: Figures) -> dict[str, Any]:
    """The page's JSON: every point and line that it draws, as plain values.

    ``cases`` are the results by number, with ``p50_ms``, ``top1_pct``, ``histogram`` and ``steps``;
    ``machines`` the runs with their sensors; ``layers`` each layer's share of the noise;
    ``image_fits`` each batch norm's divergence and each int8 range's use.
    """
    return {
        "producer": contents.producer,
        "cases": [_case(entry, contents, figures) for entry in contents.entries],
        "machines": [
            {"id": run.id, "device": run.device, "created": run.created, **_plain(lines)}
            for run, lines in zip(contents.runs, figures.machines, strict=True)
        ],
        "quantization": [
            {
                "file": findings.file,
                "layers": [{"name": e.name, "share": e.share} for e in findings.analysis.layers],
            }
            for findings in contents.quantization
        ],
        "image_fits": [
            {
                "name": named.name,
                "layers": [asdict(layer) for layer in named.fit.layers],
                "ranges": [asdict(use) for use in named.fit.ranges],
            }
            for named in contents.image_fits
        ],
    }


def _corrupted(scores: CorruptionScores | None) -> dict[str, list[float]] | None:
    """Top-1 by corruption, in the order of the strengths; ``none`` is the images as they are."""
    if scores is None:
        return None
    names = dict.fromkeys(each.corruption for each in scores.scores)
    return {
        name: [each.top1_pct for each in scores.scores if each.corruption == name] for name in names
    }


def _case(entry: Entry, contents: Contents, figures: Figures) -> dict[str, Any]:
    result = entry.result
    drawn = figures.cases.get(entry.number)
    return {
        "number": entry.number,
        "name": entry.name,
        "machine": contents.series[entry.series],
        "run": entry.run,
        "sha256": result.case.sha256,
        "p50_ms": None if result.p50_ms is None else asdict(result.p50_ms),
        "p90_ms": None if result.p90_ms is None else asdict(result.p90_ms),
        "p99_ms": None if result.p99_ms is None else asdict(result.p99_ms),
        "top1_pct": None if result.score is None else result.score.top1_pct,
        "corrupted_top1_pct": _corrupted(result.corrupted),
        "on_front": entry.number in figures.on_front,
        "marks": list(entry.kinds),
        "error": result.error,
        "histogram": None if drawn is None or drawn.histogram is None else asdict(drawn.histogram),
        "steps": None if drawn is None or drawn.steps is None else asdict(drawn.steps),
    }
