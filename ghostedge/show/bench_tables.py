"""What ``ghostedge bench`` shows: a row per case, and a row per operator where asked for.

Drawn from the records alone. A column that says the same in every row is said once, over the
table; one that says nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from rich.table import Table

from ghostedge.show.words import BACKENDS, threads_words
from ghostedge.table_parts import DASH, LEFT, RIGHT, or_dash, plain_table, size_words
from ghostedge_runtime.bench.per_op import by_kind, total_ms
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
    return f"{row.file}, {BACKENDS[case.backend]}{mode}, {_threads(row)}"


def _threads(row: _Row) -> str:
    return threads_words(row.result.case.threads)


def _backend(row: _Row) -> str:
    """The kernels, and the distribution that brings them."""
    result = row.result
    words = BACKENDS[result.case.backend]
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
