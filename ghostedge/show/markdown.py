"""The report as Markdown tables, to be pasted into an issue or a README. Needs Python alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ghostedge.records.quantization import QuantizationFindings
from ghostedge.show.columns import LEFT, RIGHT, Cell, Column, Selection, select
from ghostedge.show.contents import Contents, Entry
from ghostedge.show.corruption_tables import HOW_TO_READ, corrupted_tables
from ghostedge.show.figures import DRAWN_SENSORS, Figures, Lines, work_out
from ghostedge.show.layer_columns import (
    LAYER,
    LAYER_FIGURES,
    LAYER_OPERATOR,
    LAYER_SHARE,
    OPERATOR,
    OPERATOR_P50,
    OPERATOR_SHARE,
    OUTPUT,
    SHAPE,
    op_shares,
)
from ghostedge.show.result_columns import (
    FILE,
    RUNTIME,
    SHA256,
    SIZE,
    common_words,
    results_table,
)
from ghostedge.show.sentences import (
    DOUBTFUL,
    INTERVALS,
    MISSED,
    created_words,
    mark_sentences,
    missed_sentences,
    operator_words,
    quantization_words,
    sensor_words,
    title,
)
from ghostedge.show.tuning_tables import HOW_TO_READ_TUNING, table_title, trials_table
from ghostedge.show.words import WARNING, case_facts, changes, command_line, settings_facts
from ghostedge.terminal import printable
from ghostedge_runtime.machine.words import fact_rows

_OPS, _LAYERS = 10, 10
# An underscore inside a word means itself.
_MEANT = re.compile(r"[\\`*{}\[\]<>|#~&]|(?<!\w)_|_(?!\w)")


def markdown(contents: Contents) -> str:
    """The document's text."""
    figures = work_out(contents)
    parts = [
        *_head(contents),
        *_results(contents, figures),
        *_tunings(contents),
        *_corruptions(contents),
        *_details(contents),
        *_operators(contents),
        *_quantization(contents.quantization),
        *_machines(contents, figures.machines),
        *_reproduction(contents),
        plain(contents.producer),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(words: str) -> str:
    """Words as they are, whatever Markdown would make of them."""
    return _MEANT.sub(r"\\\g<0>", printable(words))


def code(words: str) -> str:
    """A name or a path as code, fit for a table."""
    inside = printable(words).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", inside)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {inside} {fence}" if longest else f"`{inside}`"


def table(selection: Selection, cases: Sequence[str] | None = None) -> str:
    """A table.

    Args:
        selection: Its columns and cells.
        cases: Markdown for a column of cases before them.
    """
    columns = selection.columns
    lines = [
        [column.heading for column in columns],
        [":--" if column.side == LEFT else "--:" for column in columns],
        *(list(map(_cell, columns, cells)) for cells in selection.rows),
    ]
    if cases is not None:
        lines = [[name, *line] for name, line in zip(("case", ":--", *cases), lines, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def facts_table(facts: Iterable[tuple[str, str]]) -> str:
    """Names and values, side by side."""
    return table(select(_FACTS, list(facts)))


_FACTS: tuple[Column[tuple[str, str]], ...] = (
    Column("", LEFT, lambda fact: fact[0]),
    Column("", LEFT, lambda fact: fact[1]),
)


def _cell(column: Column[Any], cell: Cell) -> str:
    words = code(cell.words) if column.code else plain(cell.words)
    return f"{words} ({plain(cell.beside)})" if cell.beside else words


def _head(contents: Contents) -> Iterator[str]:
    yield f"# {plain(title(contents))}"
    yield plain(created_words(contents.runs))
    for heading, sentences in (
        (DOUBTFUL, mark_sentences(contents)),
        (MISSED, missed_sentences(contents)),
    ):
        listed = [f"- {plain(sentence)}" for sentence in sentences]
        if listed:
            yield "\n".join(f"> {line}" for line in (f"**{WARNING} {heading}**", *listed))


def _name(entry: Entry) -> str:
    doubt = f" {WARNING} {', '.join(entry.kinds)}" if entry.marks else ""
    return f"{entry.number} {code(entry.name)}{doubt}"


def _name_or_error(entry: Entry) -> str:
    error = entry.result.error
    return _name(entry) + ("" if error is None else f": could not be measured: {plain(error)}")


def _results(contents: Contents, figures: Figures) -> Iterator[str]:
    yield "## Results"
    for run in range(len(contents.runs)):
        entries = contents.entries_of(run)
        yield from _machine_heading(contents, run)
        yield plain(common_words(entries))
        selection = results_table(contents, run, figures.on_front)
        yield table(selection, list(map(_name_or_error, entries)))
    yield INTERVALS


def _machine_heading(contents: Contents, run: int) -> Iterator[str]:
    if len(contents.runs) > 1:
        yield f"### {plain(contents.machines[run])}"


def _details(contents: Contents) -> Iterator[str]:
    """The lesser figures, a column for each that any case has."""
    if not contents.timed:
        return
    facts = [dict(case_facts(entry.result)) for entry in contents.timed]
    names = dict.fromkeys(name for row in facts for name in row)
    columns = [Column[dict[str, str]](name, RIGHT, partial(_fact, name)) for name in names]
    yield "## More figures"
    yield table(select(columns, facts), list(map(_name, contents.timed)))


def _fact(name: str, facts: dict[str, str]) -> str | None:
    return facts.get(name)


def _operators(contents: Contents) -> Iterator[str]:
    entries = [entry for entry in contents.timed if entry.result.ops]
    if entries:
        yield f"## Operators, the {_OPS} slowest of each case"
    for entry in entries:
        yield f"### {_name(entry)}"
        yield plain(operator_words(entry.result))
        columns = (OPERATOR, OUTPUT, SHAPE, OPERATOR_P50, OPERATOR_SHARE)
        yield table(select(columns, op_shares(entry.result)[:_OPS], keep_empty=True))


def _corruptions(contents: Contents) -> Iterator[str]:
    tables = [
        each
        for at, run in enumerate(contents.runs)
        for each in corrupted_tables(run.results, [e.name for e in contents.entries_of(at)])
    ]
    if tables:
        yield f"## Corrupted images\n\n{plain(HOW_TO_READ)}"
    for each in tables:
        yield plain(each.title)
        yield table(each.selection)
        yield plain(each.verdict)


def _tunings(contents: Contents) -> Iterator[str]:
    if contents.tunings:
        yield f"## Tuned files\n\n{plain(HOW_TO_READ_TUNING)}"
    for report in contents.tunings:
        for file in report.files:
            yield f"### {plain(table_title(report, file))}"
            yield plain(file.verdict)
            yield table(trials_table(file))


def _quantization(findings: Sequence[QuantizationFindings]) -> Iterator[str]:
    if findings:
        yield f"## Quantization error, the {_LAYERS} layers that harm most"
    for measured in findings:
        yield f"### {code(measured.file)}"
        yield "\n".join(map(plain, quantization_words(measured)))
        layers = sorted(measured.analysis.layers, key=lambda layer: -layer.share)[:_LAYERS]
        columns = (LAYER, LAYER_OPERATOR, *LAYER_FIGURES, LAYER_SHARE)
        yield table(select(columns, layers, keep_empty=True))
        yield "\n".join(
            f"{rank}. {code(cause.name)}: {plain(cause.cause)} → {plain(cause.remedy)}"
            for rank, cause in enumerate(measured.analysis.worst, 1)
        )


def _machines(contents: Contents, figures: Sequence[Mapping[str, Lines | None]]) -> Iterator[str]:
    yield "## The machine" if len(contents.runs) == 1 else "## The machines"
    for index, (run, lines) in enumerate(zip(contents.runs, figures, strict=True)):
        yield from _machine_heading(contents, index)
        sensors = (
            (sensor.words, sensor_words(lines[sensor.key], sensor.unit)) for sensor in DRAWN_SENSORS
        )
        yield facts_table([*fact_rows(run.machine).items(), *changes(run.trace), *sensors])


def _reproduction(contents: Contents) -> Iterator[str]:
    yield "## To measure it again"
    for index, run in enumerate(contents.runs):
        yield from _machine_heading(contents, index)
        command = command_line(run)
        if command is not None:
            yield _fenced(command)
        versions = [("GhostEdge", run.ghostedge_version), ("run", run.id)]
        yield facts_table([*versions, *settings_facts(run.settings)])
        entries = contents.entries_of(index)
        files = select((FILE, RUNTIME, SHA256, SIZE), entries)
        yield table(files, [str(entry.number) for entry in entries])


def _fenced(command: str) -> str:
    longest = max((len(run) for run in re.findall("`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{command}\n{fence}"
