"""What ``tune`` tried and chose: a table for each file, the same on the terminal and in reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from rich.table import Table

from ghostedge.records.tuning import Trial, TunedFile, TuningReport
from ghostedge.show.columns import LEFT, RIGHT, Column, Selection, draw, select
from ghostedge.show.result_columns import percents
from ghostedge.show.words import ms, plural, size_words, threads_words
from ghostedge_runtime.formats.table import ENGINES
from ghostedge_runtime.machine.words import cpu_words
from ghostedge_runtime.record import Estimate

HOW_TO_READ_TUNING = (
    "To int8: a choice’s time over that of the conversion’s int8 file, from loads of both in turn, "
    "with its 95 % interval over loads; below 1 is faster. On the front is a choice that no other "
    "beats in latency, answers and size together."
)


def _ratio_words(ratio: Estimate) -> str:
    return f"{ratio.value:.3f}×"


def _ratio_interval(ratio: Estimate) -> str:
    return "" if ratio.low == ratio.high else f"{ratio.low:.3f}–{ratio.high:.3f}"


_TRIALS: tuple[Column[Trial], ...] = (
    Column("choice", LEFT, lambda trial: trial.choice),
    Column("layers float", RIGHT, lambda trial: trial.float_layers),
    Column("p50", RIGHT, lambda trial: trial.p50_ms, lambda p50: f"{ms(p50)} ms"),
    Column("to int8", RIGHT, lambda trial: trial.to_int8, _ratio_words, _ratio_interval),
    Column("agrees with float", RIGHT, lambda trial: trial.agreement_pct, percents),
    Column("top-1", RIGHT, lambda trial: trial.top1_pct, percents),
    Column("size", RIGHT, lambda trial: trial.bytes, size_words),
    Column("front", RIGHT, lambda trial: "✓" if trial.on_front else None),
    Column("budget", RIGHT, lambda trial: None if trial.holds else "✗ misses"),
)


def by_time(file: TunedFile) -> list[Trial]:
    """What was timed of a file, the fastest first; where nothing was, all of it."""
    timed = [trial for trial in file.trials if trial.to_int8 is not None]
    return sorted(timed, key=lambda trial: trial.p50_ms or 0.0) or list(file.trials)


def trials_table(file: TunedFile) -> Selection:
    """The table as the page and Markdown show it."""
    return select(_TRIALS, by_time(file))


def table_title(report: TuningReport, file: TunedFile) -> str:
    """On what a file was measured and scored."""
    parts = [f"{file.file} by {ENGINES[file.backend].title}, {threads_words(file.threads)}"]
    if report.machine is not None:
        where = "" if report.device == "local" else f" ({report.device})"
        parts.append(f"on {cpu_words(report.machine)}{where}")
    if report.image_source is not None:
        parts.append(f"answers on {report.image_source}")
    if report.budget:
        parts.append(f"budget: {report.budget}")
    return "; ".join(parts)


def tuning_tables(report: TuningReport) -> Iterator[str | Table]:
    """Title and table of each file, on the terminal."""
    for file in report.files:
        yield table_title(report, file)
        yield draw(_TRIALS, by_time(file), style=partial(_style, file))


def _style(file: TunedFile, trial: Trial) -> str | None:
    return "bold" if trial.sha256 == file.sha256 else None


def closing_sentences(report: TuningReport) -> Sequence[str]:
    """How each file stands, and what makes the figures doubtful."""
    untimed = [_untimed_words(file) for file in report.files]
    marks = [f"{plural(count, 'measurement')} {kind}" for kind, count in report.marks.items()]
    doubts = [f"! doubtful: {', '.join(marks)}, of {report.loads:,}"] if marks else []
    return [*(file.verdict for file in report.files), *filter(None, untimed), *doubts]


def _untimed_words(file: TunedFile) -> str:
    """How many choices the table leaves out, and why."""
    missing = [trial for trial in file.trials if trial.to_int8 is None]
    if not missing or file.stopped == "recipe":
        return ""
    misses = sum(not trial.holds for trial in missing)
    count = plural(len(missing), "choice")
    return f"{file.file}: {count} not timed, {misses} of which miss the budget"
