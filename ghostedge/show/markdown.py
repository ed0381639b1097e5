"""The report as Markdown tables, to be pasted into an issue or a README. Needs Python alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ghostedge.records.quantization import QuantizationFindings
from ghostedge.show.result_columns import results_table
from ghostedge.show.contents import Contents, Entry
from ghostedge.show.figures import DRAWN_SENSORS, Figures, Lines, work_out
from ghostedge.show.sentences import (
    INTERVALS,
    LAYER_FIGURES,
    created_words,
    layer_figures,
    mark_sentences,
    operator_words,
    quantization_words,
    sensor_words,
    title,
)
from ghostedge.show.words import (
    DASH,
    WARNING,
    case_facts,
    changes,
    command_line,
    op_time,
    percent,
    runtime_words,
    settings_facts,
    size_words,
)
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


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table whose first ``left`` columns are text, the others figures."""
    sides = [":--" if column < left else "--:" for column in range(len(headings))]
    lines = [headings, sides, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _head(contents: Contents) -> Iterator[str]:
    yield f"# {plain(title(contents))}"
    yield plain(created_words(contents.runs))
    marks = list(mark_sentences(contents))
    if marks:
        lines = [f"**{WARNING} These figures are doubtful**", *(f"- {plain(m)}" for m in marks)]
        yield "\n".join(f"> {line}" for line in lines)


def _name(entry: Entry) -> str:
    doubt = f" {WARNING} {', '.join(entry.kinds)}" if entry.marks else ""
    return f"{entry.number} {code(entry.name)}{doubt}"


def _results(contents: Contents, figures: Figures) -> Iterator[str]:
    yield "## Results"
    for run in range(len(contents.runs)):
        found = results_table(contents, run, figures.on_front)
        yield from _machine_heading(contents, run)
        yield plain(found.common)
        rows = []
        for row in found.rows:
            error = "" if row.error is None else f": could not be measured: {plain(row.error)}"
            cells = (
                f"{each.words} ({each.interval})" if each.interval else each.words
                for each in row.cells
            )
            rows.append([_name(row.entry) + error, *cells])
        yield table(["case", *found.headings], rows)
    yield INTERVALS


def _machine_heading(contents: Contents, run: int) -> Iterator[str]:
    if len(contents.runs) > 1:
        yield f"### {plain(contents.machines[run])}"


def _details(contents: Contents) -> Iterator[str]:
    """The lesser figures, a column for each that any case has."""
    if not contents.timed:
        return
    found = {entry.number: dict(case_facts(entry.result)) for entry in contents.timed}
    names = list(dict.fromkeys(name for facts in found.values() for name in facts))
    rows = [
        [_name(entry), *(plain(found[entry.number].get(name, DASH)) for name in names)]
        for entry in contents.timed
    ]
    yield "## More figures"
    yield table(["case", *names], rows)


def _operators(contents: Contents) -> Iterator[str]:
    asked = [entry for entry in contents.timed if entry.result.ops]
    if asked:
        yield f"## Operators, the {_OPS} slowest of each case"
    for entry in asked:
        ops = sorted(entry.result.ops, key=lambda op: -op.p50_ms)
        total = sum(op.p50_ms for op in ops) or 1.0
        rows = [
            [
                code(op.op),
                code(op.name),
                "×".join(map(str, op.output_shape)),
                op_time(op),
                percent(op.p50_ms / total),
            ]
            for op in ops[:_OPS]
        ]
        yield f"### {_name(entry)}"
        yield plain(operator_words(entry.result))
        yield table(["operator", "output", "shape", "p50", "share"], rows, left=2)


def _quantization(findings: Sequence[QuantizationFindings]) -> Iterator[str]:
    if findings:
        yield f"## Quantization error, the {_LAYERS} layers that harm most"
    for found in findings:
        yield f"### {code(found.file)}"
        yield "\n".join(map(plain, quantization_words(found)))
        layers = sorted(found.analysis.layers, key=lambda layer: -layer.share)[:_LAYERS]
        rows = [
            [code(layer.name), code(layer.op), *layer_figures(layer), percent(layer.share)]
            for layer in layers
        ]
        yield table(["layer", "operator", *LAYER_FIGURES, "share of the noise"], rows, left=2)
        worst = found.analysis.worst
        yield "\n".join(
            f"{rank}. {code(cause.name)}: {plain(cause.cause)} → {plain(cause.remedy)}"
            for rank, cause in enumerate(worst, 1)
        )


def _machines(contents: Contents, figures: Sequence[Mapping[str, Lines | None]]) -> Iterator[str]:
    yield "## The machine" if len(contents.runs) == 1 else "## The machines"
    for index, (run, lines) in enumerate(zip(contents.runs, figures, strict=True)):
        yield from _machine_heading(contents, index)
        sensors = (
            (sensor.words, sensor_words(lines[sensor.key], sensor.unit)) for sensor in DRAWN_SENSORS
        )
        facts = [*fact_rows(run.machine).items(), *changes(run.trace), *sensors]
        yield table(["", ""], [[name, plain(value)] for name, value in facts], left=2)


def _reproduction(contents: Contents) -> Iterator[str]:
    yield "## To measure it again"
    for index, run in enumerate(contents.runs):
        yield from _machine_heading(contents, index)
        command = command_line(run)
        if command is not None:
            yield _fenced(command)
        facts = [("GhostEdge", run.ghostedge_version), ("run", run.id)]
        rows = [[name, plain(value)] for name, value in (*facts, *settings_facts(run.settings))]
        yield table(["", ""], rows, left=2)
        entries = contents.entries_of(index)
        files = [
            [
                str(entry.number),
                code(entry.result.case.model),
                plain(runtime_words(entry.result)),
                code(entry.result.case.sha256),
                size_words(entry.result.case.bytes),
            ]
            for entry in entries
        ]
        yield table(["case", "file", "runtime", "SHA-256", "size"], files, left=4)


def _fenced(command: str) -> str:
    longest = max((len(run) for run in re.findall("`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{command}\n{fence}"
