"""The top of the page: what was measured on what, what is doubtful, and the chart of it all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ghostedge.show.charts import NARROW, ROW, WIDE, draw_latencies, draw_tradeoff
from ghostedge.show.contents import Contents, Entry
from ghostedge.show.drawing import MARKERS, series_marker, series_name
from ghostedge.show.figures import Figures
from ghostedge.show.html import heading, number, text
from ghostedge.show.sentences import (
    DOUBTFUL,
    MISSED,
    created_words,
    front_words,
    latency_only_words,
    mark_sentences,
    missed_sentences,
    title,
)
from ghostedge.show.svg import ChartMaker, Frame
from ghostedge.show.words import WARNING, ms

_GLYPHS = dict(zip(MARKERS, "●■◆▲▼✚✖", strict=True))


def opening(contents: Contents, figures: Figures, charts: ChartMaker) -> Iterator[str]:
    """Title, marks, the best in figures, and the chart."""
    yield f"<h1>{text(title(contents))}</h1>"
    yield f'<p class="soft">{text(created_words(contents.runs))}</p>'
    yield from _marks(contents)
    yield from _tiles(contents)
    yield from _charts(contents, figures, charts)


def _marks(contents: Contents) -> Iterator[str]:
    doubts = list(mark_sentences(contents))
    if not doubts:
        yield "<p>Nothing that the machine told makes these figures doubtful.</p>"
    for words, sentences in ((DOUBTFUL, doubts), (MISSED, list(missed_sentences(contents)))):
        if sentences:
            yield f'<section class="warned"><h2>{WARNING} {words}</h2><ul>'
            yield from (f"<li>{text(sentence)}</li>" for sentence in sentences)
            yield "</ul></section>"


def _tiles(contents: Contents) -> Iterator[str]:
    """The fastest and the most accurate of each machine."""
    yield '<div class="tiles">'
    for series, machine in enumerate(contents.series):
        timed = [entry for entry in contents.timed if entry.series == series]
        scored = [entry for entry in contents.scored if entry.series == series]
        about = machine if len(contents.series) > 1 else ""
        best = {"fastest": min(timed, key=_latency)} if timed else {}
        if scored:
            best["most accurate"] = max(scored, key=lambda entry: entry.place[1])
        if len({entry.number for entry in best.values()}) == 1:
            best = {" and ".join(best): next(iter(best.values()))}
        for what, entry in best.items():
            yield _tile(what, entry, about)
    yield "</div>"


def _latency(entry: Entry) -> float:
    return entry.result.p50_ms.value if entry.result.p50_ms else float("inf")


def _tile(what: str, entry: Entry, machine: str) -> str:
    score = entry.result.score
    figures = [f"{ms(_latency(entry))} ms"] + ([f"{score.top1_pct:.2f} %"] if score else [])
    doubt = f" {WARNING} {', '.join(entry.kinds)}" if entry.marks else ""
    where = f"<div class='soft'>{text(machine)}</div>" if machine else ""
    return (
        f'<div class="tile"><span class="what">{what}</span><b>{" · ".join(figures)}</b>'
        f"{number(entry.number, entry.series)} {text(entry.name)}"
        f'<span class="failed">{text(doubt)}</span>{where}</div>'
    )


def _charts(contents: Contents, figures: Figures, charts: ChartMaker) -> Iterator[str]:
    if not contents.timed:
        yield "<p>No case could be timed, so there is nothing to draw.</p>"
        return
    if contents.scored:
        yield heading("Latency against accuracy")
        yield from _tradeoff(contents, figures, charts)
    if len(contents.scored) < len(contents.timed):
        yield heading("Latency")
        yield f"<p>{text(latency_only_words(len(contents.timed), len(contents.scored)))}</p>"
        yield from _latencies(contents, charts)


def _tradeoff(contents: Contents, figures: Figures, charts: ChartMaker) -> Iterator[str]:
    doubtful = any(entry.marks for entry in contents.scored)
    yield "<figure>"
    for kind, room, width, height, left in (
        ("wide", WIDE, 1080, 470, 58),
        ("narrow", NARROW, 346, 380, 48),
    ):
        yield charts.make(
            Frame(kind, width, height, left=left),
            "Latency against accuracy, a point for each case",
            partial(draw_tradeoff, contents=contents, fronts=figures.fronts, room=room),
        )
    words = front_words(len(contents.series), doubtful=doubtful)
    yield f"<figcaption>{text(words)}</figcaption></figure>"
    yield from _legend(contents)


def _latencies(contents: Contents, charts: ChartMaker) -> Iterator[str]:
    yield "<figure>"
    height = 54 + ROW * len(contents.timed)
    for kind, room, width in (("wide", WIDE, 1080), ("narrow", NARROW, 346)):
        yield charts.make(
            Frame(kind, width, height, left=12),
            "Latency of each case",
            partial(draw_latencies, contents=contents, room=room),
        )
    yield "</figure>"
    if not contents.scored:
        yield from _legend(contents)


def _legend(contents: Contents) -> Iterator[str]:
    """Which machine has which colour and shape, where there are several."""
    if len(contents.series) < 2:
        return
    yield '<ul class="legend">'
    for series, machine in enumerate(contents.series):
        glyph = _GLYPHS[series_marker(series)]
        yield f'<li><span class="{series_name(series)}">{glyph}</span> {text(machine)}</li>'
    yield "</ul>"
