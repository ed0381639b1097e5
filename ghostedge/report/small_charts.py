"""The small charts of a case, a machine and a quantization. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ghostedge.records.quantization import LayerErrors
from ghostedge.report.distributions import Histogram, Line, Lines, Steps
from ghostedge.report.look import LIGHT, series_name
from ghostedge.show.contents import Entry
from ghostedge.show.drawing import PLAIN, TEXT, Dot, bare, linear, logarithmic
from ghostedge.show.words import elided, ms, percent, plural
from ghostedge.terminal import printable

_NAME = 22
_NEAR, _LEANS_BACK = 0.1, 0.9


def draw_histogram(ax: Axes, entry: Entry, found: Histogram) -> None:
    """How often which latency occurred, with p50, p90 and p99."""
    ax.stairs(found.counts, found.edges_ms, fill=True, color=LIGHT["fill"])
    result = entry.result
    top = max(found.counts)
    ax.set_ylim(0, top * 1.65)
    if found.logarithmic:
        logarithmic(ax, 5)
    else:
        ax.xaxis.set_major_locator(linear(5))
    ax.set_xlim(found.edges_ms[0], found.edges_ms[-1])
    ax.set_yticks([])
    ax.xaxis.set_major_formatter(PLAIN)
    ax.set_xlabel("ms an inference" + (", logarithmic" if found.logarithmic else ""))
    bare(ax, "x")
    line, before = 0, float("-inf")
    for name, estimate in (("p50", result.p50_ms), ("p90", result.p90_ms), ("p99", result.p99_ms)):
        if estimate is not None and estimate.value <= found.edges_ms[-1]:
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


def histogram_words(found: Histogram) -> str:
    """What the histogram leaves out."""
    if not found.beyond:
        return f"all of {plural(sum(found.counts), 'inference')}"
    total = sum(found.counts) + found.beyond
    beyond = f"{found.beyond:,} of {plural(total, 'inference')}"
    return f"{beyond} beyond the axis, up to {ms(found.max_ms)} ms"


def draw_steps(ax: Axes, entry: Entry, found: Steps) -> dict[str, list[Dot]]:
    """Each step's median over time, in the band from its 10th to its 90th percentile."""
    colour = LIGHT[series_name(entry.series)]
    ax.fill_between(found.at_s, found.p10_ms, found.p90_ms, color=LIGHT["line"], linewidth=0)
    name = f"steps-{entry.number}"
    ax.plot(
        found.at_s,
        found.p50_ms,
        linestyle="none",
        marker="o",
        markersize=4.0,
        color=colour,
        gid=name,
    )
    _over_time(ax, "ms")
    low, high = min(found.p10_ms), max(found.p90_ms)
    margin = max(0.08 * (high - low), 0.01 * high)
    ax.set_ylim(max(0.0, low - margin), high + margin)
    points = zip(found.at_s, found.p50_ms, strict=True)
    return {
        name: [
            Dot(i, f"{entry.name}\nat {at:.1f} s: {ms(p50)} ms")
            for i, (at, p50) in enumerate(points)
        ]
    }


def draw_lines(ax: Axes, found: Lines, unit: str) -> None:
    """Sensors over time, each named over the chart in its colour."""
    for index, line in enumerate(found.lines):
        _draw_line(ax, index, line, found.at_s)
    _over_time(ax, unit)
    ax.margins(y=0.12)


def _draw_line(ax: Axes, index: int, line: Line, at_s: Sequence[float]) -> None:
    told = [(x, y) for x, y in zip(at_s, line.values, strict=True) if y is not None]
    colour = LIGHT[series_name(index)]
    xs, ys = [x for x, _ in told], [y for _, y in told]
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


def draw_layers(ax: Axes, found: LayerErrors, group: str) -> dict[str, list[Dot]]:
    """Each layer's share of the output's noise in graph order, the worst three in red."""
    worst = {cause.name for cause in found.worst}
    dots: dict[str, list[Dot]] = {}
    for which, colour in ((False, LIGHT["s0"]), (True, LIGHT["warn"])):
        chosen = [(i, e) for i, e in enumerate(found.layers) if (e.name in worst) == which]
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
    ax.set_xlim(0, len(found.layers) + 1)
    bare(ax, "y")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.yaxis.set_major_formatter(PLAIN)
    ax.set_xlabel("layer, in the graph's order")
    ax.set_ylabel("share of the output's noise, %")
    return dots
