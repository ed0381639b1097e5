"""The columns of files: what was measured of each and, where a conversion wrote it, its check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ghostedge.formats.table import is_exact
from ghostedge.records.manifest import Artefact, Parity
from ghostedge.show.columns import DASH, LEFT, RIGHT, Column, Selection, select
from ghostedge.show.contents import Contents, Entry
from ghostedge.show.words import (
    decibel_words,
    interval,
    ms,
    runtime_words,
    score_words,
    size_words,
    threads_words,
)
from ghostedge_runtime.formats.table import ENGINES
from ghostedge_runtime.record import Estimate, Result


class HasResult(Protocol):
    """A row that shows what was measured of a file."""

    @property
    def result(self) -> Result:
        """What was measured."""


def precision_mode(row: HasResult) -> str | None:
    """How it computes, where that is not as the file says."""
    mode = row.result.case.precision_mode
    return None if mode == "default" else mode


def _milliseconds(estimate: Estimate) -> str:
    return f"{ms(estimate.value)} ms"


def percents(value: float) -> str:
    """Percents as accuracy is given."""
    return f"{value:.2f} %"


SIZE = Column[HasResult]("size", RIGHT, lambda row: row.result.case.bytes, size_words)
TOP1 = Column[HasResult](
    "top-1", RIGHT, lambda row: row.result.score and row.result.score.top1_pct, percents
)
TOP5 = Column[HasResult](
    "top-5", RIGHT, lambda row: row.result.score and row.result.score.top5_pct, percents
)
P50, P90, P99 = (
    Column[HasResult]("p50", RIGHT, lambda row: row.result.p50_ms, _milliseconds, interval),
    Column[HasResult]("p90", RIGHT, lambda row: row.result.p90_ms, _milliseconds, interval),
    Column[HasResult]("p99", RIGHT, lambda row: row.result.p99_ms, _milliseconds, interval),
)
RATIO = Column[HasResult](
    "to the first",
    RIGHT,
    lambda row: row.result.ratio,
    lambda ratio: f"{ratio.value:.2f}×",
    lambda ratio: f"{ratio.low:.2f}–{ratio.high:.2f}",
)
MEMORY = Column[HasResult](
    "memory", RIGHT, lambda row: row.result.peak_rss_mb, lambda megabytes: f"{megabytes:.0f} MB"
)
_ENGINE = Column[HasResult](
    "backend", RIGHT, lambda row: ENGINES[row.result.case.backend].title, once=True
)
_PRECISION = Column[HasResult]("precision", RIGHT, precision_mode, once=True)
_THREADS = Column[HasResult]("threads", RIGHT, lambda row: row.result.case.threads, once=True)

FILE = Column[HasResult]("file", LEFT, lambda row: row.result.case.model, code=True)
RUNTIME = Column[HasResult]("runtime", LEFT, lambda row: runtime_words(row.result))
SHA256 = Column[HasResult]("SHA-256", LEFT, lambda row: row.result.case.sha256, code=True)


def _check_words(artefact: Artefact) -> str:
    """How far a file is from the one it was made from, and whether its budget allows it."""
    parity = artefact.parity
    if parity is None:
        raise ValueError(f"{artefact.file} was not checked")
    by_sense = not is_exact(artefact.format, artefact.precision)
    if parity.agreement_pct is None:
        likeness = _output_words(parity, by_noise=by_sense)
    elif by_sense:
        likeness = f"same top-1 {parity.agreement_pct:.2f} %, {_noise_words(parity.sqnr_db)}"
    else:
        likeness = f"logits {_difference_words(parity)}"
    return f"{'✓' if parity.within_budget else '✗'} {likeness} of {parity.reference}"


def _output_words(parity: Parity, *, by_noise: bool) -> str:
    """The noisiest output of a network that scores no classes; named where there are several."""
    worst = parity.worst
    if worst is None or not by_noise:
        return f"outputs {_difference_words(parity)}"
    named = len(parity.outputs) > 1 or str(worst) != worst.name
    return _noise_words(worst.counted_db) + (f" ({worst})" if named else "")


def _difference_words(parity: Parity) -> str:
    absolute = f"± {parity.max_abs_diff:.1e}"
    if not parity.max_relative_diff:
        return absolute
    return f"{absolute} (relative {parity.max_relative_diff:.1e})"


def _noise_words(sqnr_db: float | None) -> str:
    return "no difference" if sqnr_db is None else f"sqnr {sqnr_db:.1f} dB"


ARTEFACT = Column[Entry]("artefact", LEFT, lambda entry: entry.artefact and entry.artefact.file)
ZIPPED = Column[Entry](
    "zipped", RIGHT, lambda entry: entry.artefact and entry.artefact.zipped_bytes, size_words
)
CHECK = Column[Entry](
    "check against its source",
    LEFT,
    lambda entry: entry.artefact if entry.artefact and entry.artefact.parity else None,
    _check_words,
)
AGREEMENT = Column[Entry](
    "agrees with float",
    RIGHT,
    lambda entry: entry.artefact and entry.artefact.float_agreement_pct,
    percents,
)
NOISE = Column[Entry](
    "sqnr to float",
    RIGHT,
    lambda entry: entry.artefact and entry.artefact.float_sqnr_db,
    decibel_words,
)
SPEED_UP = Column[Entry](
    "vs float",
    RIGHT,
    lambda entry: entry.artefact and entry.artefact.speed_up,
    lambda times: f"{times:.2f}×",
)

_RESULTS: tuple[Column[Entry], ...] = (
    *(_ENGINE, _PRECISION, _THREADS, SIZE, ZIPPED, P50, P90, P99, RATIO),
    *(TOP1, AGREEMENT, NOISE, MEMORY),
)


def results_table(contents: Contents, run: int, on_front: frozenset[int]) -> Selection:
    """A run's results, as the page and Markdown show them beside each case's name.

    Args:
        contents: Of the report.
        run: Index of the run.
        on_front: Numbers of the entries on the Pareto front.
    """
    front = Column[Entry]("front", RIGHT, lambda entry: "✓" if entry.number in on_front else None)
    return select((*_RESULTS, front), contents.entries_of(run))


def common_words(entries: Sequence[Entry]) -> str:
    """Backend, runtime, precision and threads, those that are the same for all entries."""
    results = [entry.result for entry in entries]
    parts = (
        {ENGINES[result.case.backend].title for result in results},
        {runtime_words(result) for result in results if result.error is None},
        {precision_mode(entry) or "" for entry in entries},
        {threads_words(result.case.threads) for result in results},
        {score_words(results)} if any(result.score for result in results) else {""},
    )
    return ", ".join(
        next(iter(part)) for part in parts if len(part) == 1 and not part <= {"", DASH}
    )
