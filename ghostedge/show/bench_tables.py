"""What ``ghostedge bench`` shows: a row per case, and a row per operator where asked for.

Drawn from the records alone. A column that says the same in every row is said once, over the
table; one that says nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from rich.table import Table

from ghostedge.show.columns import LEFT, RIGHT, Column, draw, select
from ghostedge.show.corruption_tables import drawn_tables
from ghostedge.show.result_columns import MEMORY, SIZE, TOP1, TOP5, precision_mode
from ghostedge.show.words import sizes_words, threads_words
from ghostedge_runtime.bench.per_op import KindTime, by_kind, total_ms
from ghostedge_runtime.formats.table import ENGINES
from ghostedge_runtime.machine.words import describe
from ghostedge_runtime.record import BenchRun, Delegation, Estimate, OpTime, Result


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
    device: str | None
    file: str

    @property
    def result(self) -> Result:
        return self.run.results[self.number]


def bench_tables(runs: Sequence[BenchRun]) -> Iterator[str | Table]:
    """How fast and how right each case is, then what else is known of it.

    Corrupted images have tables of their own.

    Ratios of times are to the first row of the same machine: below 1 is faster.
    """
    rows = _rows(runs)
    title = _title(runs, select(_NAMES, rows).common)
    yield draw((*_NAMES, *_FIGURES), rows, title=title)
    yield draw((*_NAMES, *_OTHERS), rows)
    for run in runs:
        yield from drawn_tables(run.results)
    for row in rows:
        if row.result.ops:
            yield _kinds_table(row)
            yield _ops_table(row)


def _rows(runs: Sequence[BenchRun]) -> list[_Row]:
    paths = {result.case.model for run in runs for result in run.results}
    short = len({Path(path).name for path in paths}) == len(paths)
    return [
        _Row(
            run,
            number,
            device=run.device if len(runs) > 1 else None,
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
    return "\n".join([*machines, ", ".join(constants)] if constants else machines)


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
    title = (
        f"{_name(row)}: every operator by itself, "
        f"{total_ms(ops):.2f} ms in sum{_beside(row.result.p50_ms)}"
    )
    return draw(_KINDS, by_kind(ops), title=title)


def _ops_table(row: _Row) -> Table:
    """Every operator of one case, slowest first; dashes for those without a time of their own."""
    ops = row.result.ops
    total, sums = total_ms(ops), accumulate(op.p50_ms for op in ops)
    rows = list(zip(ops, sums, strict=True))
    columns: tuple[Column[tuple[OpTime, float]], ...] = (
        Column("op", LEFT, lambda row: row[0].op),
        Column(
            "output", LEFT, lambda row: row[0].name + (f": {row[0].note}" if row[0].note else "")
        ),
        Column("shape", LEFT, lambda row: row[0].output_shape, sizes_words),
        Column("p50, ms", RIGHT, lambda row: _timed(row[0], row[0].p50_ms), "{:.4f}".format),
        Column("share", RIGHT, lambda row: _timed(row[0], row[0].p50_ms / total), "{:.1%}".format),
        Column("so far", RIGHT, lambda row: _timed(row[0], row[1] / total), "{:.1%}".format),
    )
    return draw(columns, rows, keep_empty=True)


def _beside(p50_ms: Estimate | None) -> str:
    return "" if p50_ms is None else f", {p50_ms.value:.2f} ms as a whole"


def _name(row: _Row) -> str:
    case = row.result.case
    mode = "" if case.precision_mode == "default" else f", {case.precision_mode}"
    return f"{row.file}, {ENGINES[case.backend].title}{mode}, {threads_words(case.threads)}"


def _backend(row: _Row) -> str:
    """The kernels, and the distribution that brings them."""
    result = row.result
    title = ENGINES[result.case.backend].title
    if result.runtime is None:
        return title
    return f"{title} ({result.runtime} {result.runtime_version})"


def _doubtful(row: _Row) -> str:
    marks = row.run.marks_of(row.number)
    return " !" if any(mark.case is not None or mark.fails_strict for mark in marks) else ""


def _delegation_words(delegation: Delegation) -> str:
    pieces = "" if delegation.partitions <= 1 else f" in {delegation.partitions}"
    return f"{delegation.ops} of {delegation.ops_total}{pieces}"


def _timed(op: OpTime, value: float) -> float | None:
    """The value of an operator that has a time of its own."""
    return value if op.note is None else None


def _value(estimate: Estimate) -> str:
    return f"{estimate.value:.2f}"


def _interval(estimate: Estimate) -> str:
    return f"[{estimate.low:.2f}, {estimate.high:.2f}]"


_NAMES: tuple[Column[_Row], ...] = (
    Column("device", LEFT, lambda row: row.device),
    Column("model", LEFT, lambda row: row.file + (" (failed)" if row.result.error else "")),
    Column("backend", LEFT, _backend, once=True),
    Column("precision", LEFT, precision_mode, once=True),
    Column("threads", LEFT, lambda row: row.result.case.threads, threads_words, once=True),
)
"""What tells the rows apart."""
_FIRST: Estimate = Estimate(1.0, 1.0, 1.0)
_FIGURES: tuple[Column[_Row], ...] = (
    Column(
        "p50, ms",
        RIGHT,
        lambda row: row if row.result.p50_ms else None,
        lambda row: _value(row.result.p50_ms) + _doubtful(row),
        lambda row: _interval(row.result.p50_ms),
    ),
    Column("p90, ms", RIGHT, lambda row: row.result.p90_ms, _value, _interval),
    Column("p99, ms", RIGHT, lambda row: row.result.p99_ms, _value, _interval),
    Column(
        "p50 / first row's",
        RIGHT,
        lambda row: row.result.ratio if row.number else _FIRST,
        lambda ratio: "1" if ratio is _FIRST else _value(ratio),
        lambda ratio: "" if ratio is _FIRST else _interval(ratio),
    ),
    TOP1,
    TOP5,
)
_OTHERS: tuple[Column[_Row], ...] = (
    SIZE,
    Column("load, ms", RIGHT, lambda row: row.result.load_ms, "{:.1f}".format),
    Column("first, ms", RIGHT, lambda row: row.result.first_inference_ms, "{:.2f}".format),
    Column(
        "image to input, ms",
        RIGHT,
        lambda row: row.result.preprocessing and row.result.preprocessing.p50_ms,
        "{:.2f}".format,
    ),
    Column("runs", RIGHT, lambda row: row.result.runs or None, "{:,}".format),
    replace(MEMORY, heading="memory, MB", words="{:.0f}".format),
    Column("delegated ops", RIGHT, lambda row: row.result.delegation, _delegation_words),
)
_KINDS: tuple[Column[KindTime], ...] = (
    Column("op", LEFT, lambda kind: kind.op),
    Column("count", RIGHT, lambda kind: kind.count),
    Column("p50 in sum, ms", RIGHT, lambda kind: kind.total_ms, "{:.3f}".format),
    Column("share", RIGHT, lambda kind: kind.share, "{:.1%}".format),
)
