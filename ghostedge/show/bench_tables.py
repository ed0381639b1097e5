"""What ``ghostedge bench`` shows: a row per case, and a row per operator where asked for.

Drawn from the records alone. A column that says the same in every row is said once, over the
table; one that says nothing is left out.

A comparison and a history as people read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from rich.table import Table

from ghostedge.comparison.compare import BudgetVerdict, CaseComparison, Change, Comparison
from ghostedge.records.database import Entry
from ghostedge.show.words import (
    DASH,
    LEFT,
    RIGHT,
    or_dash,
    plain_table,
    size_words,
    threads_words,
)
from ghostedge_runtime.bench.per_op import by_kind, total_ms
from ghostedge_runtime.formats.table import ENGINES
from ghostedge_runtime.machine.words import describe
from ghostedge_runtime.record import BenchRun, Delegation, Estimate, Result


@dataclass(frozen=True)
class _Row:
    """One result where it was measured.

    Attributes:
        number: Its place in the run.
        device: Where several are shown, the one it is of.
        file: The model's name, without its folder where that tells nothing.
    """

    run: BenchRun
    number: int
    device: str
    file: str

    @property
    def result(self) -> Result:
        return self.run.results[self.number]


@dataclass(frozen=True)
class _Column:
    """A heading and what stands under it.

    Attributes:
        once: Said over the table where it is the same in every row.
    """

    heading: str
    side: str
    cell: Callable[[_Row], str]
    once: bool = False


def bench_tables(runs: Sequence[BenchRun]) -> Iterator[Table]:
    """How fast and how right each case is, then what else is known of it.

    Ratios of times are to the first row of the same machine: below 1 is faster.
    """
    rows = _rows(runs)
    names = {column.heading: {column.cell(row) for row in rows} for column in _NAMES}
    told = [column for column in _NAMES if not column.once or len(names[column.heading]) > 1]
    constants = [names[c.heading].pop() for c in _NAMES if c not in told]
    yield _drawn(_title(runs, constants), rows, (*told, *_FIGURES))
    yield _drawn(None, rows, (*told, *_OTHERS))
    for row in rows:
        if row.result.ops:
            yield _kinds_table(row)
            yield _ops_table(row)


def _drawn(title: str | None, rows: Sequence[_Row], columns: Sequence[_Column]) -> Table:
    """The columns that say something."""
    cells = [[column.cell(row) for row in rows] for column in columns]
    kept = [number for number, column in enumerate(cells) if set(column) != {DASH}]
    drawn = plain_table(title, [(columns[n].heading, columns[n].side) for n in kept])
    for row in range(len(rows)):
        drawn.add_row(*(cells[number][row] for number in kept))
    return drawn


def _rows(runs: Sequence[BenchRun]) -> list[_Row]:
    paths = {result.case.model for run in runs for result in run.results}
    short = len({Path(path).name for path in paths}) == len(paths)
    return [
        _Row(
            run,
            number,
            device=run.device if len(runs) > 1 else DASH,
            file=Path(result.case.model).name if short else result.case.model,
        )
        for run in runs
        for number, result in enumerate(run.results)
    ]


def _title(runs: Sequence[BenchRun], constants: Sequence[str]) -> str:
    """The machines, a line each, and what holds for all rows."""
    alone = len(runs) == 1 and runs[0].device == "local"
    machines = [
        describe(run.machine) if alone else f"{run.device}: {describe(run.machine)}" for run in runs
    ]
    said = ", ".join(each for each in constants if each != DASH)
    return "\n".join([*machines, said] if said else machines)


def mark_lines(runs: Sequence[BenchRun]) -> Iterator[str]:
    """What makes figures doubtful, a sentence each, with the machine and the case it is about."""
    rows = {(row.run.id, row.number): row for row in _rows(runs)}
    for run in runs:
        for mark in run.marks:
            about = [run.device] if len(runs) > 1 else []
            if mark.case is not None:
                about.append(_name(rows[run.id, mark.case]))
            yield f"{mark.kind}: {mark.text}" + (f" ({', '.join(about)})" if about else "")


def note_lines(runs: Sequence[BenchRun]) -> Iterator[str]:
    """What could not be read of a machine, or not be done beside the timing, and how to mend it."""
    for run in runs:
        yield from (f"{run.device}: {note}" for note in run.machine.notes)
    for row in _rows(runs):
        yield from (f"{_name(row)}: {note}" for note in row.result.notes)


def error_lines(runs: Sequence[BenchRun]) -> Iterator[str]:
    """Why a case has no figures, a message each."""
    return (result.error for run in runs for result in run.results if result.error is not None)


def _kinds_table(row: _Row) -> Table:
    """One case's operators, a row per kind, and their sum."""
    ops = row.result.ops
    drawn = plain_table(
        f"{_name(row)}: every operator by itself, "
        f"{total_ms(ops):.2f} ms in sum{_beside(row.result.p50_ms)}",
        (("op", LEFT), ("count", RIGHT), ("p50 in sum, ms", RIGHT), ("share", RIGHT)),
    )
    for kind in by_kind(ops):
        drawn.add_row(kind.op, str(kind.count), f"{kind.total_ms:.3f}", f"{kind.share:.1%}")
    return drawn


def _ops_table(row: _Row) -> Table:
    """Every operator of one case, slowest first."""
    ops = row.result.ops
    total = total_ms(ops)
    drawn = plain_table(
        None,
        (
            ("op", LEFT),
            ("output", LEFT),
            ("shape", LEFT),
            ("p50, ms", RIGHT),
            ("share", RIGHT),
            ("so far", RIGHT),
        ),
    )
    for op, so_far in zip(ops, accumulate(op.p50_ms for op in ops), strict=True):
        timed = (f"{op.p50_ms:.4f}", f"{op.p50_ms / total:.1%}", f"{so_far / total:.1%}")
        drawn.add_row(
            op.op,
            op.name if op.note is None else f"{op.name}: {op.note}",
            "×".join(map(str, op.output_shape)),
            *(timed if op.note is None else (DASH, DASH, DASH)),
        )
    return drawn


def _beside(p50_ms: Estimate | None) -> str:
    return "" if p50_ms is None else f", {p50_ms.value:.2f} ms as a whole"


def _name(row: _Row) -> str:
    case = row.result.case
    mode = "" if case.precision_mode == "default" else f", {case.precision_mode}"
    return f"{row.file}, {ENGINES[case.backend].title}{mode}, {_threads(row)}"


def _threads(row: _Row) -> str:
    return threads_words(row.result.case.threads)


def _backend(row: _Row) -> str:
    """The kernels, and the distribution that brings them."""
    result = row.result
    words = ENGINES[result.case.backend].title
    return (
        words if result.runtime is None else f"{words} ({result.runtime} {result.runtime_version})"
    )


def _precision(row: _Row) -> str:
    mode = row.result.case.precision_mode
    return DASH if mode == "default" else mode


def _preprocessing(row: _Row) -> str:
    found = row.result.preprocessing
    return DASH if found is None else f"{found.p50_ms:.2f}"


def _top1(row: _Row) -> str:
    score = row.result.score
    return DASH if score is None else f"{score.top1_pct:.2f} %"


def _top5(row: _Row) -> str:
    score = row.result.score
    return DASH if score is None else f"{score.top5_pct:.2f} %"


def _model(row: _Row) -> str:
    return row.file + ("" if row.result.error is None else " (failed)")


def _estimate(found: Estimate | None) -> str:
    """A figure over its interval: two short lines fit a narrow terminal."""
    if found is None:
        return DASH
    return f"{found.value:.2f}\n[{found.low:.2f}, {found.high:.2f}]"


def _p50(row: _Row) -> str:
    marks = row.run.marks_of(row.number)
    doubtful = any(mark.case is not None or mark.fails_strict for mark in marks)
    return _estimate(row.result.p50_ms).replace("\n", " !\n" if doubtful else "\n")


def _ratio(row: _Row) -> str:
    return "1" if row.number == 0 else _estimate(row.result.ratio)


def _delegated(row: _Row) -> str:
    found = row.result.delegation
    return DASH if found is None else _delegation_words(found)


def _delegation_words(found: Delegation) -> str:
    pieces = "" if found.partitions <= 1 else f" in {found.partitions}"
    return f"{found.ops} of {found.ops_total}{pieces}"


# What tells the rows apart.
_NAMES = (
    _Column("device", LEFT, lambda row: row.device),
    _Column("model", LEFT, _model),
    _Column("backend", LEFT, _backend, once=True),
    _Column("precision", LEFT, _precision, once=True),
    _Column("threads", LEFT, _threads, once=True),
)
_FIGURES = (
    _Column("p50, ms", RIGHT, _p50),
    _Column("p90, ms", RIGHT, lambda row: _estimate(row.result.p90_ms)),
    _Column("p99, ms", RIGHT, lambda row: _estimate(row.result.p99_ms)),
    _Column("p50 / first row's", RIGHT, _ratio),
    _Column("top-1", RIGHT, _top1),
    _Column("top-5", RIGHT, _top5),
)
_OTHERS = (
    _Column("size", RIGHT, lambda row: size_words(row.result.case.bytes)),
    _Column("load, ms", RIGHT, lambda row: or_dash(row.result.load_ms, "{:.1f}")),
    _Column("first, ms", RIGHT, lambda row: or_dash(row.result.first_inference_ms, "{:.2f}")),
    _Column("image to input, ms", RIGHT, _preprocessing),
    _Column("runs", RIGHT, lambda row: f"{row.result.runs:,}" if row.result.runs else DASH),
    _Column("memory, MB", RIGHT, lambda row: or_dash(row.result.peak_rss_mb, "{:.0f}")),
    _Column("delegated ops", RIGHT, _delegated),
)


_SHORT = 8


def comparison_table(found: Comparison) -> Table:
    """A row per case that both sides have."""
    columns = [
        ("case", LEFT),
        ("p50 of A", RIGHT),
        ("p50 of B", RIGHT),
        ("p50 B/A", RIGHT),
        ("B is", LEFT),
        ("p90 B/A", RIGHT),
        ("by p90 B is", LEFT),
        ("file", LEFT),
        ("runs A, B", RIGHT),
    ]
    if found.max_regression_pct is not None:
        columns.append((f"at most {found.max_regression_pct:g} % slower", LEFT))
    table = plain_table(None, columns)
    for case in found.cases:
        row = [
            str(case.key),
            f"{case.p50.a_ms:.3f} ms",
            f"{case.p50.b_ms:.3f} ms",
            ratio_words(case.p50),
            case.p50.verdict,
            ratio_words(case.p90),
            case.p90.verdict,
            "same" if case.same_file else "differs",
            f"{len(case.runs_a)}, {len(case.runs_b)}",
        ]
        table.add_row(*row, *([] if case.budget is None else [_BUDGET[case.budget]]))
    return table


_BUDGET: dict[BudgetVerdict, str] = {
    "kept": "kept",
    "missed": "missed",
    "not shown": "perhaps missed: not shown",
}


def ratio_words(change: Change) -> str:
    """A ratio over its interval: two short lines fit a narrow terminal."""
    ratio = change.ratio
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.3f}\n[{DASH}]"
    return f"{ratio.value:.3f}\n[{ratio.low:.3f}, {ratio.high:.3f}]"


def sides_lines(a: Sequence[BenchRun], b: Sequence[BenchRun]) -> list[str]:
    """Who A and B are, a line for each run."""
    return [f"{side}: {_run_words(run)}" for side, runs in (("A", a), ("B", b)) for run in runs]


def _run_words(run: BenchRun) -> str:
    machine = run.machine.board or run.machine.cpu or run.machine.machine
    return f"{run.id[:_SHORT]} of {run.created}, {run.device}, {machine}"


def remark_lines(found: Comparison) -> list[str]:
    """What a reader has to know beside the table; never empty, for it says what intervals hold."""
    return [
        *_basis_lines(found.cases),
        *_shared_lines(found),
        *(f"not the same in all runs: {each}" for each in found.differences),
        *(line for case in found.cases for line in _case_lines(case)),
        *_mark_lines(found.cases),
        *(f"not compared: {each.key}, in {each.side}: {each.reason}" for each in found.unmatched),
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


def _shared_lines(found: Comparison) -> Iterable[str]:
    shared = [each for each in found.a if each in found.b]
    if shared:
        yield f"in A and in B is the same run: {', '.join(each[:_SHORT] for each in shared)}"


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
    table = plain_table(
        None,
        [
            ("name", LEFT),
            ("id", LEFT),
            ("began", LEFT),
            ("device", LEFT),
            ("board", LEFT),
            ("models", LEFT),
            ("marks", LEFT),
        ],
    )
    for back, each in enumerate(reversed(entries)):
        table.add_row(
            f"latest~{back}" if back else "latest",
            each.id,
            each.created,
            each.device,
            each.board or DASH,
            ", ".join(each.models),
            ", ".join(each.marks) or DASH,
        )
    return table
