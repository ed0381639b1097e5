"""Files on corrupted images, in tables and sentences: on the terminal, the page and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.table import Table

from ghostedge.comparison.corrupted import (
    LOST_POINTS,
    CorruptedPair,
    CorruptionLoss,
    StrengthLoss,
    corrupted_pairs,
    scored_once,
)
from ghostedge.show.columns import LEFT, RIGHT, Column, Selection, draw, select
from ghostedge.show.contents import case_names
from ghostedge.show.words import plural
from ghostedge.terminal import printable
from ghostedge_runtime.corruptions import STRENGTHS
from ghostedge_runtime.record import CorruptedScore, CorruptionScores, Estimate, Result

HOW_TO_READ = (
    "At each strength: top-1 of float → of the file, and the drop in points. Beyond clean: what is "
    "lost beyond the drop on the same images as they are, with its 95 % interval; the last column "
    "is its mean over the strengths. An asterisk: that something is lost there is shown, by the "
    "exact sign test over the images at 5 % for the whole table. A file gives way at the first "
    f"strength where more than {LOST_POINTS:g} point is lost beyond clean and that is shown."
)


@dataclass(frozen=True)
class CorruptedTable:
    """A file on corrupted images, beside its float file where the run has it.

    Attributes:
        title: Which files and images.
        columns: Of the table.
        rows: A corruption each.
        verdict: Where the file gives way first; empty where it stands beside none.
    """

    title: str
    columns: tuple[Column[Any], ...]
    rows: Sequence[Any]
    verdict: str = ""

    @property
    def selection(self) -> Selection:
        """The columns, filled."""
        return select(self.columns, self.rows)


def corrupted_tables(results: Sequence[Result], names: Sequence[str]) -> Iterator[CorruptedTable]:
    """A table for each file that stands beside a float file, then for each that is in none.

    Args:
        results: Of a run.
        names: What each result's file is called.
    """
    pairs = corrupted_pairs(results)
    for pair in pairs:
        reference, other = names[pair.reference], names[pair.other]
        clean = " → ".join(f"{top1:.1f}" for top1 in pair.clean)
        title = f"{other} beside {reference} on corrupted images: top-1 in %, clean {clean}; "
        yield CorruptedTable(
            title + _image_words(pair.scores), _PAIR, pair.losses, verdict(pair, other)
        )
    paired = {place for pair in pairs for place in (pair.reference, pair.other)}
    for place, scores in scored_once(results):
        if place not in paired:
            yield _alone(scores, names[place])


def _alone(scores: CorruptionScores, name: str) -> CorruptedTable:
    """A file that stands beside no float file."""
    clean, *worse = scores.scores
    each = len(STRENGTHS)
    rows = [worse[first : first + each] for first in range(0, len(worse), each)]
    title = f"{name} on corrupted images: top-1 in %, clean {clean.top1_pct:.1f}; "
    return CorruptedTable(title + _image_words(scores), _ALONE, rows)


def drawn_tables(results: Sequence[Result]) -> Iterator[str | Table]:
    """The tables of a run for the terminal, what they say, and how to read them."""
    tables = list(corrupted_tables(results, case_names([result.case for result in results])))
    for table in tables:
        yield table.title  # a line of its own: a title would be folded to the table's width
        yield draw(table.columns, table.rows)
        if table.verdict:
            yield table.verdict
    if any(table.verdict for table in tables):
        yield HOW_TO_READ


def verdict(pair: CorruptedPair, name: str) -> str:
    """Where a file gives way first."""
    weakest = pair.first
    way = weakest.gives_way if weakest else None
    if weakest is None or way is None:
        return (
            f"{name}: no corruption was shown to cost it more than {LOST_POINTS:g} point "
            "beyond its clean drop"
        )
    return (
        f"{name} gives way first to {weakest.corruption}, at strength {way.strength}: "
        f"{_points(way.beyond)} points beyond its clean drop"
    )


def _image_words(scores: CorruptionScores) -> str:
    of_all = plural(scores.of_images, "image")
    return of_all if scores.images == scores.of_images else f"{scores.images:,} of {of_all}"


def _points(estimate: Estimate) -> str:
    return f"{estimate.value:.1f} {_interval(estimate)}"


def _interval(estimate: Estimate) -> str:
    return f"[{estimate.low:.1f}, {estimate.high:.1f}]"


def _loss(place: int, row: CorruptionLoss) -> StrengthLoss:
    return row.strengths[place]


def _score(place: int, row: Sequence[CorruptedScore]) -> float:
    return row[place].top1_pct


def _way_words(row: CorruptionLoss) -> str:
    way = row.gives_way
    return "not shown" if way is None else f"at {way.strength}"


def _way_points(row: CorruptionLoss) -> str:
    way = row.gives_way
    return "" if way is None else _points(way.beyond)


_PAIR: tuple[Column[CorruptionLoss], ...] = (
    Column("corruption", LEFT, lambda row: row.corruption, printable),
    *(
        Column[CorruptionLoss](
            f"strength {strength}",
            RIGHT,
            partial(_loss, place),
            lambda loss: f"{loss.reference_pct:.1f} → {loss.top1_pct:.1f}",
            lambda loss: f"{loss.drop:.1f}{' *' if loss.shown else ''}",
        )
        for place, strength in enumerate(STRENGTHS)
    ),
    Column("gives way", RIGHT, lambda row: row, _way_words, _way_points),
    Column(
        "beyond clean", RIGHT, lambda row: row.mean, lambda mean: f"{mean.value:.1f}", _interval
    ),
)
_ALONE: tuple[Column[Sequence[CorruptedScore]], ...] = (
    Column("corruption", LEFT, lambda row: row[0].corruption, printable),
    *(
        Column[Sequence[CorruptedScore]](
            f"strength {strength}", RIGHT, partial(_score, place), "{:.1f}".format
        )
        for place, strength in enumerate(STRENGTHS)
    ),
)
