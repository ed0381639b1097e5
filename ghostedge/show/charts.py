"""The report's charts, each a function that draws on axes it is given. Needs matplotlib.

The large ones show all cases: latency against accuracy, or latency alone. The small ones show one
case's distribution and course, one machine's sensors, one quantization's layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from ghostedge.records.quantization import LayerErrors
from ghostedge.show.contents import Contents, Entry
from ghostedge.show.drawing import (
    DPI,
    LIGHT,
    PLAIN,
    TEXT,
    Dot,
    bare,
    latency_axis,
    linear,
    logarithmic,
    series_marker,
    series_name,
)
from ghostedge.show.figures import Histogram, Line, Lines, Steps
from ghostedge.show.words import WARNING, elided, interval, ms, percent, plural, score_words
from ghostedge.terminal import printable
from ghostedge_runtime.record import Result

_DOT = 19.0
_REACH = 13.0
ROW = 44.0
"""Pixels that a row of the latency chart is high."""
_NAME = 22
_NEAR, _LEANS_BACK = 0.1, 0.9


@dataclass(frozen=True)
class Room:
    """How much fits: characters of a name, ticks along x."""

    name: int
    ticks: int


WIDE, NARROW = Room(name=44, ticks=9), Room(name=26, ticks=5)


def entry_words(entry: Entry, contents: Contents) -> str:
    """What a point says when it is pointed at."""
    result = entry.result
    lines = [entry.name]
    if len(contents.series) > 1:
        lines.append(contents.series[entry.series])
    if result.p50_ms:
        sure = interval(result.p50_ms)
        lines.append(f"p50 {ms(result.p50_ms.value)} ms" + (f" (95 %: {sure})" if sure else ""))
    if result.p90_ms:
        lines.append(f"p90 {ms(result.p90_ms.value)} ms")
    if result.score:
        lines.append(f"top-1 {result.score.top1_pct:.2f} %")
    if entry.marks:
        lines.append(f"{WARNING} {', '.join(entry.kinds)}")
    return "\n".join(lines)


def draw_tradeoff(
    ax: Axes, contents: Contents, fronts: Mapping[int, Sequence[Entry]], room: Room
) -> dict[str, list[Dot]]:
    """Latency against accuracy, a point per scored case, a stair per machine: its Pareto front.

    Returns:
        The dots by group, for the page.
    """
    scored = contents.scored
    latencies = [value for entry in scored for value in _interval(entry)]
    latency_axis(ax, latencies, "p50 latency, ms", room.ticks)
    _accuracy_axis(ax, [entry.place[1] for entry in scored], [e.result for e in scored])
    bare(ax, "both")
    stairs = [
        line
        for series, entries in fronts.items()
        for line in _draw_front(ax, series, [entry.place for entry in entries])
    ]
    dots = _draw_dots(ax, [(entry, *entry.place) for entry in scored], contents)
    lines = [*stairs, *(_interval_box(ax, entry) for entry in scored)]
    first = {entry.number for entries in fronts.values() for entry in entries}
    _label(ax, sorted(scored, key=lambda e: (e.number not in first, e.number)), lines, room)
    return dots


def _accuracy_axis(ax: Axes, values: Sequence[float], results: Sequence[Result]) -> None:
    low, high = min(values), max(values)
    margin = max(0.12 * (high - low), 0.25)
    ax.set_ylim(low - margin, high + margin)
    ax.yaxis.set_major_locator(linear(6))
    ax.yaxis.set_major_formatter(PLAIN)
    ax.set_ylabel(f"{score_words(results)}, %")


def _draw_front(ax: Axes, series: int, places: Sequence[tuple[float, float]]) -> list[Bbox]:
    """What accuracy is to be had within a latency: level until the next better model.

    Returns:
        The stair's lines, in pixels.
    """
    xs = [x for x, _ in places] + [ax.get_xlim()[1]]
    ys = [y for _, y in places] + [places[-1][1]]
    colour = LIGHT[series_name(series)]
    ax.plot(xs, ys, drawstyle="steps-post", color=colour, linewidth=1.6, alpha=0.55, zorder=2)
    corners = [
        corner
        for x, y, after in zip(xs, ys, xs[1:], strict=False)
        for corner in ((x, y), (after, y))
    ]
    pixels = ax.transData.transform([*corners, (xs[-1], ys[-1])])
    return [Bbox(pair) for pair in pairwise(pixels)]


def _draw_dots(
    ax: Axes, places: Sequence[tuple[Entry, float, float]], contents: Contents
) -> dict[str, list[Dot]]:
    """Numbered points with their intervals; those of doubtful cases are hollow."""
    dots: dict[str, list[Dot]] = {}
    for entry, x, y in places:
        colour = LIGHT[series_name(entry.series)]
        p50 = entry.result.p50_ms
        if p50 is not None:
            ax.hlines(y, p50.low, p50.high, color=colour, linewidth=2.2, zorder=2.5)
        hollow = bool(entry.marks)
        name = f"case-{entry.number}"
        ax.plot(
            [x],
            [y],
            linestyle="none",
            marker=series_marker(entry.series),
            markersize=_DOT,
            color=LIGHT["paper"] if hollow else colour,
            markeredgecolor=colour,
            markeredgewidth=1.8,
            zorder=3,
            gid=name,
        )
        inside = colour if hollow else LIGHT["paper"]
        ax.annotate(
            str(entry.number),
            (x, y),
            ha="center",
            va="center_baseline",
            fontsize=TEXT - 1,
            fontweight="bold",
            color=inside,
            zorder=3,
        )
        dots[name] = [Dot(entry.number, entry_words(entry, contents))]
    return dots


_SIDES = (
    ((1, 0), "left", "center"),
    ((-1, 0), "right", "center"),
    ((0, 1), "center", "bottom"),
    ((0, -1), "center", "top"),
    ((0.2, 1), "left", "bottom"),
    ((0.2, -1), "left", "top"),
    ((-0.2, 1), "right", "bottom"),
    ((-0.2, -1), "right", "top"),
)
"""Where a name may stand beside its point, best first: direction and alignment."""


def _label(ax: Axes, entries: Sequence[Entry], lines: Sequence[Bbox], room: Room) -> None:
    """Write the names that fit, in the order given.

    A name touches no point and no other name and, where there is a choice, no line.
    """
    renderer = _renderer(ax)
    inside = ax.get_window_extent(renderer)
    taken = [_box(ax, entry.place, _DOT / 2 * renderer.dpi / DPI) for entry in entries]
    for entry in entries:
        texts = {text: text.get_window_extent(renderer) for text in _candidates(ax, entry, room)}
        fitting = [
            text
            for text, box in texts.items()
            if _within(box, inside) and not box.count_overlaps(taken)
        ]
        best = min(fitting, key=lambda text: texts[text].count_overlaps(lines), default=None)
        if best is not None:
            taken.append(texts[best])
        for text in texts:
            if text is not best:
                text.remove()


def _renderer(ax: Axes) -> RendererAgg:
    """What measures text."""
    figure = ax.figure
    if not isinstance(figure, Figure):
        raise TypeError("a chart is drawn on a figure of its own")
    canvas = FigureCanvasAgg(figure)
    renderer: RendererAgg = canvas.get_renderer()  # type: ignore[no-untyped-call]  # its stub's lack
    return renderer


def _candidates(ax: Axes, entry: Entry, room: Room) -> Iterator[Text]:
    words = elided(entry.name, room.name)
    if entry.marks:
        words += f" {WARNING}"
    for (right, up), ha, va in _SIDES:
        yield ax.annotate(
            words,
            entry.place,
            (right * _REACH, up * _REACH),
            textcoords="offset points",
            ha=ha,
            va=va,
            color=LIGHT["warn" if entry.marks else "ink"],
            zorder=4,
        )


def _box(ax: Axes, place: tuple[float, float], radius: float) -> Bbox:
    x, y = ax.transData.transform(place)
    return Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)


def _interval_box(ax: Axes, entry: Entry) -> Bbox:
    low, _, high = _interval(entry)
    return Bbox(ax.transData.transform([(end, entry.place[1]) for end in (low, high)]))


def _interval(entry: Entry) -> tuple[float, float, float]:
    """The ends of p50's interval, itself between them."""
    p50, value = entry.result.p50_ms, entry.place[0]
    return (p50.low, value, p50.high) if p50 else (value, value, value)


def _within(box: Bbox, outer: Bbox) -> bool:
    return bool(np.all((box.min >= outer.min, box.max <= outer.max)))


def draw_latencies(ax: Axes, contents: Contents, room: Room) -> dict[str, list[Dot]]:
    """A row per case: its name, its p50 as a numbered point, a line to p90 and on to p99."""
    timed = contents.timed
    ends = [max(_figures(entry)) for entry in timed]
    ax.set_xlim(0, max(ends) * 1.06)
    ax.xaxis.set_major_locator(linear(room.ticks))
    ax.xaxis.set_major_formatter(PLAIN)
    ax.set_xlabel("latency, ms: p50, with lines to p90 (thick) and p99 (thin)")
    ax.set_ylim(len(timed) - 0.45, -0.8)
    ax.set_yticks([])
    bare(ax, "x")
    for row, entry in enumerate(timed):
        colour = LIGHT[series_name(entry.series)]
        p50, p90, p99 = _figures(entry)
        ax.hlines(row, 0, p50, color=LIGHT["line"], linewidth=1.4)
        ax.hlines(row, p50, p99, color=colour, linewidth=1.4)
        ax.hlines(row, p50, p90, color=colour, linewidth=5, alpha=0.6)
        doubt = f" {WARNING} {', '.join(entry.kinds)}" if entry.marks else ""
        ax.annotate(
            f"{elided(entry.name, room.name)}   {ms(p50)} ms{doubt}",
            (0, row),
            (4, 17),
            xycoords=ax.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            color=LIGHT["warn" if entry.marks else "ink"],
        )
    places = [(entry, _figures(entry)[0], float(row)) for row, entry in enumerate(timed)]
    return _draw_dots(ax, places, contents)


def _figures(entry: Entry) -> tuple[float, float, float]:
    """p50, p90 and p99; where a record lacks one, the one before it."""
    result = entry.result
    p50 = result.p50_ms.value if result.p50_ms else 0.0
    p90 = result.p90_ms.value if result.p90_ms else p50
    return p50, p90, result.p99_ms.value if result.p99_ms else p90


def draw_histogram(ax: Axes, entry: Entry, histogram: Histogram) -> None:
    """How often which latency occurred, with p50, p90 and p99."""
    ax.stairs(histogram.counts, histogram.edges_ms, fill=True, color=LIGHT["fill"])
    result = entry.result
    top = max(histogram.counts)
    ax.set_ylim(0, top * 1.65)
    if histogram.logarithmic:
        logarithmic(ax, 5)
    else:
        ax.xaxis.set_major_locator(linear(5))
    ax.set_xlim(histogram.edges_ms[0], histogram.edges_ms[-1])
    ax.set_yticks([])
    ax.xaxis.set_major_formatter(PLAIN)
    ax.set_xlabel("ms an inference" + (", logarithmic" if histogram.logarithmic else ""))
    bare(ax, "x")
    line, before = 0, float("-inf")
    for name, estimate in (("p50", result.p50_ms), ("p90", result.p90_ms), ("p99", result.p99_ms)):
        if estimate is not None and estimate.value <= histogram.edges_ms[-1]:
            place = _across(ax, estimate.value)
            line = line + 1 if place - before < _NEAR else 0
            before = place
            _upright(ax, estimate.value, name, top * (1.06 + 0.19 * line))


def _across(ax: Axes, x: float) -> float:
    """How far along the axis, 0 to 1."""
    return float(ax.transAxes.inverted().transform(ax.transData.transform((x, 0)))[0])


def _upright(ax: Axes, x: float, name: str, top: float) -> None:
    """A line over the histogram; its name leans away from the end of the axis."""
    offset, ha = ((-3, 0), "right") if _across(ax, x) > _LEANS_BACK else ((3, 0), "left")
    ax.vlines(x, 0, top * 1.1, color=LIGHT["ink"], linewidth=1.1)
    ax.annotate(name, (x, top), offset, textcoords="offset points", ha=ha, color=LIGHT["soft"])


def histogram_words(histogram: Histogram) -> str:
    """What the histogram leaves out."""
    if not histogram.beyond:
        return f"all of {plural(sum(histogram.counts), 'inference')}"
    total = sum(histogram.counts) + histogram.beyond
    beyond = f"{histogram.beyond:,} of {plural(total, 'inference')}"
    return f"{beyond} beyond the axis, up to {ms(histogram.max_ms)} ms"


def draw_steps(ax: Axes, entry: Entry, steps: Steps) -> dict[str, list[Dot]]:
    """Each step's median over time, in the band from its 10th to its 90th percentile."""
    colour = LIGHT[series_name(entry.series)]
    ax.fill_between(steps.at_s, steps.p10_ms, steps.p90_ms, color=LIGHT["line"], linewidth=0)
    name = f"steps-{entry.number}"
    ax.plot(
        steps.at_s,
        steps.p50_ms,
        linestyle="none",
        marker="o",
        markersize=4.0,
        color=colour,
        gid=name,
    )
    _over_time(ax, "ms")
    low, high = min(steps.p10_ms), max(steps.p90_ms)
    margin = max(0.08 * (high - low), 0.01 * high)
    ax.set_ylim(max(0.0, low - margin), high + margin)
    points = zip(steps.at_s, steps.p50_ms, strict=True)
    return {
        name: [
            Dot(i, f"{entry.name}\nat {at:.1f} s: {ms(p50)} ms")
            for i, (at, p50) in enumerate(points)
        ]
    }


def draw_lines(ax: Axes, lines: Lines, unit: str) -> None:
    """Sensors over time, each named over the chart in its colour."""
    for index, line in enumerate(lines.lines):
        _draw_line(ax, index, line, lines.at_s)
    _over_time(ax, unit)
    ax.margins(y=0.12)


def _draw_line(ax: Axes, index: int, line: Line, at_s: Sequence[float]) -> None:
    values = [(x, y) for x, y in zip(at_s, line.values, strict=True) if y is not None]
    colour = LIGHT[series_name(index)]
    xs, ys = [x for x, _ in values], [y for _, y in values]
    ax.plot(xs, ys, color=colour, linewidth=1.6, marker="o", markersize=2.5)
    column, row = index % 2, index // 2
    ax.annotate(
        elided(printable(line.name), _NAME),
        (0.5 * column, 1),
        (0, 32 - 13 * row),
        xycoords="axes fraction",
        textcoords="offset points",
        va="center",
        color=colour,
        fontsize=TEXT - 0.5,
    )


def _over_time(ax: Axes, unit: str) -> None:
    bare(ax, "y")
    ax.xaxis.set_major_locator(linear(5))
    ax.yaxis.set_major_locator(linear(4))
    ax.xaxis.set_major_formatter(PLAIN)
    ax.yaxis.set_major_formatter(PLAIN)
    ax.set_xlabel("seconds since the run began")
    ax.annotate(
        unit,
        (0, 1),
        (-6, 13),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="center",
        color=LIGHT["soft"],
    )


def draw_layers(ax: Axes, analysis: LayerErrors, group: str) -> dict[str, list[Dot]]:
    """Each layer's share of the output's noise in graph order, the worst three in red."""
    worst = {cause.name for cause in analysis.worst}
    dots: dict[str, list[Dot]] = {}
    for which, colour in ((False, LIGHT["s0"]), (True, LIGHT["warn"])):
        chosen = [(i, e) for i, e in enumerate(analysis.layers) if (e.name in worst) == which]
        xs, ys = [i + 1 for i, _ in chosen], [100 * layer.share for _, layer in chosen]
        if not chosen:
            continue
        name = f"{group}-{'worst' if which else 'rest'}"
        ax.vlines(xs, 0, ys, color=colour, linewidth=1.2)
        ax.plot(
            xs,
            ys,
            linestyle="none",
            marker="o",
            markersize=5.5,
            color=colour,
            gid=name,
            clip_on=False,
        )
        dots[name] = [
            Dot(i, f"{printable(layer.name)}\n{layer.op}: {percent(layer.share)} of the noise")
            for i, layer in chosen
        ]
    ax.set_ylim(bottom=0)
    ax.set_xlim(0, len(analysis.layers) + 1)
    bare(ax, "y")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.yaxis.set_major_formatter(PLAIN)
    ax.set_xlabel("layer, in the graph's order")
    ax.set_ylabel("share of the output's noise, %")
    return dots
