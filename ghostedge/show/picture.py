"""The report as one PNG: the chart it opens with, every distribution. Needs matplotlib."""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ghostedge.show.charts import ROW, WIDE, draw_histogram, draw_latencies, draw_tradeoff
from ghostedge.show.contents import Contents, Entry
from ghostedge.show.drawing import (
    DPI,
    LIGHT,
    TEXT,
    new_figure,
    place_axes,
    series_marker,
    series_name,
    styled,
)
from ghostedge.show.figures import Figures, Histogram, work_out
from ghostedge.show.result_columns import common_words
from ghostedge.show.sentences import (
    created_words,
    front_words,
    latency_only_words,
    mark_sentences,
    missed_sentences,
    title,
)
from ghostedge.show.words import WARNING, elided, plural

_SHARPNESS = 2
"""Pixels of the picture for each that it is laid out in."""
_WIDTH, _EDGE, _COLUMNS = 1120.0, 24.0, 3
_LINE, _CHART, _SMALL, _HISTOGRAM_TITLE = 18.0, 470.0, 152.0, 40.0
_CHARACTERS, _MOST_MARKS = 150, 8


@dataclass
class _Sheet:
    """A figure that is filled from the top; ``down`` is how far, in pixels."""

    figure: Figure
    height: float
    down: float = _EDGE

    def write(
        self, words: str, colour: str = "ink", size: float = TEXT, bold: bool = False
    ) -> None:
        """One line of text."""
        self.down += 1.45 * size
        self.figure.text(
            _EDGE / _WIDTH,
            1 - self.down / self.height,
            words,
            color=LIGHT[colour],
            fontsize=size,
            fontweight="bold" if bold else "normal",
        )


def picture(contents: Contents) -> bytes:
    """The PNG's bytes."""
    figures = work_out(contents)
    drawn = [
        (entry, case.histogram)
        for entry in contents.timed
        if (case := figures.cases[entry.number]).histogram is not None
    ]
    lines = _lines(contents)
    chart = _chart_height(contents)
    rows = -(-len(drawn) // _COLUMNS)
    height = 70 + _LINE * (len(lines) + 1) + chart + rows * (_SMALL + _HISTOGRAM_TITLE) + _EDGE
    with styled():
        figure = new_figure(_WIDTH, height)
        figure.set_facecolor(LIGHT["paper"])
        sheet = _Sheet(figure, height)
        _write_head(sheet, contents, lines)
        if contents.timed:
            _draw_chart(sheet, contents, figures, chart)
        for place, (entry, histogram) in enumerate(drawn):
            _draw_case(sheet, place, entry, histogram)
        png = io.BytesIO()
        # The version of the library would make the bytes differ between machines.
        figure.savefig(png, format="png", dpi=_SHARPNESS * DPI, metadata={"Software": None})
    return png.getvalue()


def _lines(contents: Contents) -> list[tuple[str, str]]:
    """What stands under the title: colour and words."""
    sentences = (*mark_sentences(contents), *missed_sentences(contents))
    marks = [f"{WARNING} {sentence}" for sentence in sentences]
    if len(marks) > _MOST_MARKS:
        more = plural(len(marks) - _MOST_MARKS, "mark")
        marks = [*marks[:_MOST_MARKS], f"{WARNING} and {more} more"]
    errors = [
        f"{entry.number} {entry.name} could not be measured: {entry.result.error}"
        for entry in contents.entries
        if entry.result.error is not None
    ]
    runs = range(len(contents.runs))
    common = dict.fromkeys(common_words(contents.entries_of(run)) for run in runs)
    plain = [created_words(contents.runs), *(line for line in common if line)]
    if len(contents.scored) < len(contents.timed):
        plain.append(latency_only_words(len(contents.timed), len(contents.scored)))
    if contents.scored:
        doubtful = any(entry.marks for entry in contents.scored)
        plain.append(front_words(len(contents.series), doubtful=doubtful))
    coloured = [("warn", line) for line in (*marks, *errors)] + [("soft", line) for line in plain]
    return [
        (colour, part) for colour, line in coloured for part in textwrap.wrap(line, _CHARACTERS)
    ]


def _write_head(sheet: _Sheet, contents: Contents, lines: list[tuple[str, str]]) -> None:
    sheet.write(elided(title(contents), 70), size=20, bold=True)
    sheet.down += 6
    for colour, words in lines:
        sheet.write(words, colour)
    sheet.down += 8


def _chart_height(contents: Contents) -> float:
    if not contents.timed:
        return 0.0
    return _CHART if contents.scored else 60 + ROW * len(contents.timed)


def _draw_chart(sheet: _Sheet, contents: Contents, figures: Figures, height: float) -> None:
    ax = place_axes(
        sheet.figure,
        left=_EDGE + (54 if contents.scored else 4),
        right=_EDGE,
        top=sheet.down + 10,
        bottom=sheet.height - sheet.down - height + 46,
    )
    if contents.scored:
        draw_tradeoff(ax, contents, figures.fronts, WIDE)
    else:
        draw_latencies(ax, contents, WIDE)
    if len(contents.series) > 1:
        keys = [
            Line2D([], [], linestyle="none", marker=series_marker(i), color=LIGHT[series_name(i)])
            for i in range(len(contents.series))
        ]
        names = [elided(name, 60) for name in contents.series]
        ax.legend(keys, names, loc="lower right", frameon=True, edgecolor=LIGHT["line"])
    sheet.down += height


def _draw_case(sheet: _Sheet, place: int, entry: Entry, histogram: Histogram | None) -> None:
    if histogram is None:
        raise ValueError(f"case {entry.number} has no samples")
    width = (_WIDTH - 2 * _EDGE) / _COLUMNS
    row, column = divmod(place, _COLUMNS)
    top = sheet.down + row * (_SMALL + _HISTOGRAM_TITLE) + _HISTOGRAM_TITLE
    ax = place_axes(
        sheet.figure,
        left=_EDGE + column * width + 6,
        right=_WIDTH - _EDGE - (column + 1) * width + 16,
        top=top,
        bottom=sheet.height - top - _SMALL + 40,
    )
    draw_histogram(ax, entry, histogram)
    doubt = f" {WARNING} {', '.join(entry.kinds)}" if entry.marks else ""
    ax.annotate(
        f"{entry.number}  {elided(entry.name, 44 - len(doubt))}{doubt}",
        (0, 1),
        (0, 10),
        xycoords="axes fraction",
        textcoords="offset points",
        color=LIGHT["warn" if entry.marks else "ink"],
        fontweight="bold",
    )
