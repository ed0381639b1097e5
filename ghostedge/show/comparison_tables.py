"""A comparison and a history as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table

from ghostedge.comparison.compare import BudgetVerdict, CaseComparison, Change, Comparison
from ghostedge.records.database import Entry
from ghostedge.show.columns import DASH, LEFT, RIGHT, Column, draw
from ghostedge_runtime.record import BenchRun

_SHORT = 8


def comparison_table(comparison: Comparison) -> Table:
    """A row per case that both sides have."""
    budget = Column[CaseComparison](
        f"at most {comparison.max_regression_pct or 0:g} % slower",
        LEFT,
        lambda case: case.budget,
        lambda verdict: _BUDGET[verdict],
    )
    return draw((*_COMPARISON, budget), comparison.cases)


_BUDGET: dict[BudgetVerdict, str] = {
    "kept": "kept",
    "missed": "missed",
    "not shown": "perhaps missed: not shown",
}


def _interval_words(change: Change) -> str:
    ratio = change.ratio
    if ratio.low is None or ratio.high is None:
        return f"[{DASH}]"
    return f"[{ratio.low:.3f}, {ratio.high:.3f}]"


def _ratio_words(change: Change) -> str:
    return f"{change.ratio.value:.3f}"


_COMPARISON: tuple[Column[CaseComparison], ...] = (
    Column("case", LEFT, lambda case: case.key),
    Column("p50 of A", RIGHT, lambda case: case.p50.a_ms, "{:.3f} ms".format),
    Column("p50 of B", RIGHT, lambda case: case.p50.b_ms, "{:.3f} ms".format),
    Column("p50 B/A", RIGHT, lambda case: case.p50, _ratio_words, _interval_words),
    Column("B is", LEFT, lambda case: case.p50.verdict),
    Column("p90 B/A", RIGHT, lambda case: case.p90, _ratio_words, _interval_words),
    Column("by p90 B is", LEFT, lambda case: case.p90.verdict),
    Column("file", LEFT, lambda case: "same" if case.same_file else "differs"),
    Column("runs A, B", RIGHT, lambda case: f"{len(case.runs_a)}, {len(case.runs_b)}"),
)


def sides_lines(a: Sequence[BenchRun], b: Sequence[BenchRun]) -> list[str]:
    """Who A and B are, a line for each run."""
    return [f"{side}: {_run_words(run)}" for side, runs in (("A", a), ("B", b)) for run in runs]


def _run_words(run: BenchRun) -> str:
    machine = run.machine.board or run.machine.cpu or run.machine.machine
    return f"{run.id[:_SHORT]} of {run.created}, {run.device}, {machine}"


def remark_lines(comparison: Comparison) -> list[str]:
    """What a reader has to know beside the table; never empty, for it says what intervals hold."""
    return [
        *_basis_lines(comparison.cases),
        *_shared_lines(comparison),
        *(f"not the same in all runs: {item}" for item in comparison.differences),
        *(line for case in comparison.cases for line in _case_lines(case)),
        *_mark_lines(comparison.cases),
        *(
            f"not compared: {item.key}, in {item.side}: {item.reason}"
            for item in comparison.unmatched
        ),
    ]


def _basis_lines(cases: Sequence[CaseComparison]) -> Iterable[str]:
    bases = {case.basis for case in cases}
    if "rounds" in bases:
        yield (
            "95 % intervals speak of this pair of runs alone: how much whole runs differ from one "
            "to the next, on the same machine with the same file, is not in them; give several "
            "runs of each side to have it in"
        )
    if "runs" in bases:
        yield "95 % intervals hold the spread between runs" + (
            " where a case has more than one run on a side" if "rounds" in bases else ""
        )
    if any(case.p50.ratio.low is None for case in cases):
        yield "a run of a single round allows no interval, so no difference can be shown"


def _shared_lines(comparison: Comparison) -> Iterable[str]:
    shared = [run for run in comparison.a if run in comparison.b]
    if shared:
        yield f"in A and in B is the same run: {', '.join(run[:_SHORT] for run in shared)}"


def _case_lines(case: CaseComparison) -> Iterable[str]:
    for side, hashes in (("A", case.sha256_a), ("B", case.sha256_b)):
        if len(hashes) > 1:
            yield f"{case.key}: {len(hashes)} different files of that name in {side}"
    if not case.same_file and len(case.sha256_a) == len(case.sha256_b) == 1:
        yield (
            f"{case.key}: SHA-256 {case.sha256_a[0][:_SHORT]}… in A, "
            f"{case.sha256_b[0][:_SHORT]}… in B"
        )
    yield from (f"{case.key}: {note}" for note in case.notes)


def _mark_lines(cases: Sequence[CaseComparison]) -> Iterable[str]:
    """Each mark once, though a whole run's is every case's."""
    lines = (
        f"{mark.kind} in {mark.side}, run {mark.run[:_SHORT]}: {mark.text}"
        for case in cases
        for mark in case.marks
    )
    return dict.fromkeys(lines)


def entries_table(entries: Sequence[Entry]) -> Table:
    """The runs of a database, latest first, under the names that `compare` takes."""
    return draw(_ENTRIES, list(enumerate(reversed(entries))), keep_empty=True)


_ENTRIES: tuple[Column[tuple[int, Entry]], ...] = (
    Column("name", LEFT, lambda row: f"latest~{row[0]}" if row[0] else "latest"),
    Column("id", LEFT, lambda row: row[1].id),
    Column("began", LEFT, lambda row: row[1].created),
    Column("device", LEFT, lambda row: row[1].device),
    Column("board", LEFT, lambda row: row[1].board or None),
    Column("models", LEFT, lambda row: ", ".join(row[1].models)),
    Column("marks", LEFT, lambda row: ", ".join(row[1].marks) or None),
)
