"""What the charts draw, worked out once, and as the JSON that the page carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ghostedge.report.distributions import (
    Histogram,
    Lines,
    Steps,
    clocks,
    histogram,
    steps,
    temperatures,
)
from ghostedge.report.pareto import pareto_front
from ghostedge.show.contents import Contents, Entry

_MOST_LINES = 5
"""Sensors that one chart holds."""


@dataclass(frozen=True)
class CaseFigures:
    """How one case's latency is spread, and how it went over time; None without samples."""

    histogram: Histogram | None
    steps: Steps | None


@dataclass(frozen=True)
class MachineFigures:
    """A run's sensors over time; None where the machine told none."""

    temperatures_c: Lines | None
    clocks_mhz: Lines | None


@dataclass(frozen=True)
class Figures:
    """All that is drawn.

    Attributes:
        cases: By the entry's number.
        machines: In the order of the runs.
        fronts: The entries on each machine's Pareto front, fastest first; none without a score.
    """

    cases: Mapping[int, CaseFigures]
    machines: tuple[MachineFigures, ...]
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
        MachineFigures(temperatures(run.trace, _MOST_LINES), clocks(run.trace, _MOST_LINES))
        for run in contents.runs
    )
    return Figures(cases, machines, _fronts(contents))


def _fronts(contents: Contents) -> dict[int, tuple[Entry, ...]]:
    found = {}
    for series in range(len(contents.series)):
        scored = [entry for entry in contents.scored if entry.series == series]
        front = pareto_front([entry.place for entry in scored])
        if front:
            found[series] = tuple(scored[index] for index in front)
    return found


def plotted(contents: Contents, figures: Figures) -> dict[str, Any]:
    """The page's JSON: every point and line that it draws, as plain values.

    ``cases`` are the results by number, with ``p50_ms``, ``top1_pct``, ``histogram`` and ``steps``;
    ``machines`` the runs with their sensors; ``layers`` each layer's share of the noise.
    """
    return {
        "producer": contents.producer,
        "cases": [_case(entry, contents, figures) for entry in contents.entries],
        "machines": [
            {"id": run.id, "device": run.device, "created": run.created, **asdict(found)}
            for run, found in zip(contents.runs, figures.machines, strict=True)
        ],
        "quantization": [
            {
                "file": found.file,
                "layers": [{"name": e.name, "share": e.share} for e in found.analysis.layers],
            }
            for found in contents.quantization
        ],
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
        "on_front": entry.number in figures.on_front,
        "marks": list(entry.kinds),
        "error": result.error,
        "histogram": None if drawn is None or drawn.histogram is None else asdict(drawn.histogram),
        "steps": None if drawn is None or drawn.steps is None else asdict(drawn.steps),
    }
