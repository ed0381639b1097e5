"""The table of results as plain cells, the same for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ghostedge.show.contents import Contents, Entry
from ghostedge.show.words import (
    DASH,
    interval,
    ms,
    runtime_words,
    score_words,
    size_words,
    threads_words,
)
from ghostedge_runtime.formats.table import ENGINES
from ghostedge_runtime.record import Estimate, Result


@dataclass(frozen=True)
class Cell:
    """A figure, and its interval where it has one."""

    words: str
    interval: str = ""


@dataclass(frozen=True)
class Row:
    """One result: its figures, or why it has none."""

    entry: Entry
    cells: tuple[Cell, ...]
    error: str | None


@dataclass(frozen=True)
class ResultsTable:
    """One run's results.

    Attributes:
        common: What holds for all rows, in words.
        headings: Of the figures; the number and the name stand before them.
        rows: In the order of the run.
    """

    common: str
    headings: tuple[str, ...]
    rows: tuple[Row, ...]


def results_table(contents: Contents, run: int, on_front: frozenset[int]) -> ResultsTable:
    """A run's results; a figure that no result has gets no column.

    Args:
        contents: Of the report.
        run: Index of the run.
        on_front: Numbers of the entries on the Pareto front.
    """
    entries = contents.entries_of(run)
    results = [entry.result for entry in entries]
    columns: dict[str, Callable[[Entry], Cell | None]] = {
        heading: read
        for heading, read in _VARYING.items()
        if len({read(entry) for entry in entries}) > 1
    }
    columns.update(_COLUMNS)
    if any(result.score for result in results):
        columns["front"] = lambda entry: Cell("✓") if entry.number in on_front else None
    found = {heading: [read(entry) for entry in entries] for heading, read in columns.items()}
    told = [heading for heading, cells in found.items() if any(cells)]
    rows = [
        Row(entry, tuple(found[heading][at] or _NONE for heading in told), entry.result.error)
        for at, entry in enumerate(entries)
    ]
    return ResultsTable(_common(results), tuple(told), tuple(rows))


def _common(results: Sequence[Result]) -> str:
    """Backend, runtime, precision and threads, those that are the same in all rows."""
    parts = (
        {ENGINES[result.case.backend].title for result in results},
        {runtime_words(result) for result in results if result.error is None},
        {_mode(result) for result in results},
        {threads_words(result.case.threads) for result in results},
        {score_words(results)} if any(result.score for result in results) else {""},
    )
    return ", ".join(next(iter(part)) for part in parts if len(part) == 1 and part != {""})


def _mode(result: Result) -> str:
    mode = result.case.precision_mode
    return "" if mode == "default" else mode


def _estimate(found: Estimate | None) -> Cell | None:
    return None if found is None else Cell(f"{ms(found.value)} ms", interval(found))


def _ratio(entry: Entry) -> Cell | None:
    found = entry.result.ratio
    if found is None:
        return None
    return Cell(f"{found.value:.2f}×", f"{found.low:.2f}–{found.high:.2f}")


def _memory(entry: Entry) -> Cell | None:
    found = entry.result.peak_rss_mb
    return None if found is None else Cell(f"{found:.0f} MB")


def _top1(entry: Entry) -> Cell | None:
    score = entry.result.score
    return None if score is None else Cell(f"{score.top1_pct:.2f} %")


_NONE = Cell(DASH)
_VARYING: Mapping[str, Callable[[Entry], Cell | None]] = {
    "backend": lambda entry: Cell(ENGINES[entry.result.case.backend].title),
    "precision": lambda entry: Cell(_mode(entry.result)) if _mode(entry.result) else None,
    "threads": lambda entry: Cell(str(entry.result.case.threads)),
}
"""Columns where the cases differ; where they do not, it is said once."""
_COLUMNS: Mapping[str, Callable[[Entry], Cell | None]] = {
    "size": lambda entry: Cell(size_words(entry.result.case.bytes)),
    "p50": lambda entry: _estimate(entry.result.p50_ms),
    "p90": lambda entry: _estimate(entry.result.p90_ms),
    "p99": lambda entry: _estimate(entry.result.p99_ms),
    "to the first": _ratio,
    "top-1": _top1,
    "memory": _memory,
}
