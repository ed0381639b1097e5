"""The page's charts as SVG; those as wide as the page are drawn for wide and for narrow windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from ghostedge.show.charts import (
    NARROW,
    ROW,
    WIDE,
    draw_histogram,
    draw_latencies,
    draw_layers,
    draw_lines,
    draw_steps,
    draw_tradeoff,
)
from ghostedge.show.contents import Contents, NamedFit
from ghostedge.show.corruption_charts import CorruptionGroup, corruption_groups
from ghostedge.show.drawing import styled
from ghostedge.show.figures import DRAWN_SENSORS, Figures
from ghostedge.show.image_fit_charts import draw_divergences, draw_ranges
from ghostedge.show.svg import HISTOGRAM, OVER_TIME, ChartMaker, Frame, sensors

_WIDTHS = (("wide", 1080), ("narrow", 346))


@dataclass(frozen=True)
class PageCharts:
    """Every chart, and the style sheet that they share.

    Attributes:
        tradeoff: Latency against accuracy, wide and narrow; empty where no file was scored.
        latencies: Latency alone, wide and narrow; empty where all files were scored.
        histograms: By an entry's number.
        over_time: By an entry's number.
        corruptions: A group for each float file that was scored on corrupted images.
        layers: Wide and narrow, by the place of the quantization's findings.
        divergences: Wide and narrow, by the place of the conversion's images; empty where no batch
            norm was measured.
        ranges: Likewise, empty where nothing was calibrated.
        sensors: By the run's place and the sensor's key.
        style: CSS.
    """

    tradeoff: tuple[Markup, ...]
    latencies: tuple[Markup, ...]
    histograms: Mapping[int, Markup]
    over_time: Mapping[int, Markup]
    corruptions: tuple[CorruptionGroup, ...]
    layers: tuple[tuple[Markup, ...], ...]
    divergences: tuple[tuple[Markup, ...], ...]
    ranges: tuple[tuple[Markup, ...], ...]
    sensors: Mapping[tuple[int, str], Markup]
    style: str


def draw_charts(contents: Contents, figures: Figures) -> PageCharts:
    """Draw all that a page of these contents shows."""
    maker = ChartMaker()
    with styled():
        tradeoff = tuple(_tradeoff(contents, figures, maker)) if contents.scored else ()
        all_scored = len(contents.scored) == len(contents.timed)
        latencies = () if all_scored else tuple(_latencies(contents, maker))
        histograms, over_time = _cases(contents, figures, maker)
        corruptions = corruption_groups(contents, maker)
        layers = tuple(
            tuple(_layers(contents, at, maker)) for at in range(len(contents.quantization))
        )
        divergences = tuple(tuple(_divergences(named, maker)) for named in contents.image_fits)
        ranges = tuple(tuple(_ranges(named, maker)) for named in contents.image_fits)
        drawn_sensors = dict(_sensors(contents, figures, maker))
    return PageCharts(
        tradeoff=tradeoff,
        latencies=latencies,
        histograms=histograms,
        over_time=over_time,
        corruptions=corruptions,
        layers=layers,
        divergences=divergences,
        ranges=ranges,
        sensors=drawn_sensors,
        style=maker.sheet.css(),
    )


def _tradeoff(contents: Contents, figures: Figures, maker: ChartMaker) -> Iterator[Markup]:
    for kind, room, width, height, left in (
        ("wide", WIDE, 1080, 470, 58),
        ("narrow", NARROW, 346, 380, 48),
    ):
        yield maker.make(
            Frame(kind, width, height, left=left),
            "Latency against accuracy, a point for each case",
            partial(draw_tradeoff, contents=contents, fronts=figures.fronts, room=room),
        )


def _latencies(contents: Contents, maker: ChartMaker) -> Iterator[Markup]:
    height = 54 + ROW * len(contents.timed)
    for kind, room, width in (("wide", WIDE, 1080), ("narrow", NARROW, 346)):
        yield maker.make(
            Frame(kind, width, height, left=12),
            "Latency of each case",
            partial(draw_latencies, contents=contents, room=room),
        )


def _cases(
    contents: Contents, figures: Figures, maker: ChartMaker
) -> tuple[dict[int, Markup], dict[int, Markup]]:
    """Histograms and courses over time of the cases that have samples."""
    histograms, over_time = {}, {}
    for entry in contents.timed:
        case = figures.cases[entry.number]
        if case.histogram is None or case.steps is None:
            continue
        histograms[entry.number] = maker.make(
            HISTOGRAM,
            f"Histogram of the latency of {entry.name}",
            partial(draw_histogram, entry=entry, histogram=case.histogram),
        )
        over_time[entry.number] = maker.make(
            OVER_TIME,
            f"Latency of {entry.name} over time",
            partial(draw_steps, entry=entry, steps=case.steps),
        )
    return histograms, over_time


def _layers(contents: Contents, place: int, maker: ChartMaker) -> Iterator[Markup]:
    analysis = contents.quantization[place].analysis
    for kind, width in _WIDTHS:
        yield maker.make(
            Frame(kind, width, 240, left=52),
            "Each layer's share of the output's noise",
            partial(draw_layers, analysis=analysis, group=f"layers-{place}"),
        )


def _divergences(named: NamedFit, maker: ChartMaker) -> Iterator[Markup]:
    for kind, width in _WIDTHS if named.fit.layers else ():
        yield maker.make(
            Frame(kind, width, 240, left=62),
            f"How far the images are from training at each batch norm of {named.name}",
            partial(draw_divergences, fit=named.fit),
        )


def _ranges(named: NamedFit, maker: ChartMaker) -> Iterator[Markup]:
    for kind, width in _WIDTHS if named.fit.ranges else ():
        yield maker.make(
            Frame(kind, width, 200, left=62),
            f"The share of numbers that each int8 range of {named.name} clips",
            partial(draw_ranges, fit=named.fit),
        )


def _sensors(
    contents: Contents, figures: Figures, maker: ChartMaker
) -> Iterator[tuple[tuple[int, str], Markup]]:
    for place in range(len(contents.runs)):
        for sensor in DRAWN_SENSORS:
            lines = figures.machines[place][sensor.key]
            if lines is not None:
                yield (
                    (place, sensor.key),
                    maker.make(
                        sensors(len(lines.lines)),
                        f"{sensor.words} over time",
                        partial(draw_lines, lines=lines, unit=sensor.unit),
                    ),
                )
