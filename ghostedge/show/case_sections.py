"""The parts of the page about the cases: results, distributions, operators, quantization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from ghostedge.records.quantization import LayerError, QuantizationFindings
from ghostedge.show.charts import draw_histogram, draw_layers, draw_steps, histogram_words
from ghostedge.show.columns import Cell, Column, select
from ghostedge.show.contents import Contents, Entry
from ghostedge.show.figures import CaseFigures, Figures
from ghostedge.show.html import badges, bar, cell, facts, heading, number, text
from ghostedge.show.layer_columns import (
    LAYER_FIGURES,
    OPERATOR,
    OPERATOR_P50,
    OPERATOR_SHARE,
    OUTPUT,
    SHAPE,
    OpShare,
    op_shares,
)
from ghostedge.show.result_columns import common_words, results_table
from ghostedge.show.sentences import DISTRIBUTIONS, INTERVALS, operator_words, quantization_words
from ghostedge.show.svg import HISTOGRAM, OVER_TIME, ChartMaker, Frame
from ghostedge.show.words import case_facts, percent

_SHOWN_OPS, _SHOWN_LAYERS = 12, 12


def tables(contents: Contents, figures: Figures) -> Iterator[str]:
    """A table of results for each run."""
    yield heading("Results")
    yield f'<p class="soft">{INTERVALS}</p>'
    for run in range(len(contents.runs)):
        entries = contents.entries_of(run)
        selection = results_table(contents, run, figures.on_front)
        if len(contents.runs) > 1:
            yield heading(contents.machines[run], 3)
        yield f'<p class="common">{text(common_words(entries))}</p>'
        heads = "".join(f"<th>{text(column.heading)}</th>" for column in selection.columns)
        yield f'<table class="stack results"><thead><tr><th class="l">case</th>{heads}</tr>'
        yield "</thead><tbody>"
        for entry, cells in zip(entries, selection.rows, strict=True):
            yield _row(entry, cells, selection.columns)
        yield "</tbody></table>"


def _row(entry: Entry, cells: Sequence[Cell], columns: Sequence[Column[Any]]) -> str:
    kind = ' class="doubtful"' if entry.marks else ""
    name = f"{number(entry.number, entry.series)} {text(entry.name)} {badges(entry.kinds)}"
    if entry.result.error is not None:
        name += f'<div class="failed">could not be measured: {text(entry.result.error)}</div>'
        return f'<tr{kind}><td class="l" colspan="{len(columns) + 1}">{name}</td></tr>'
    figures = "".join(
        cell(_figure(each), column.heading) for each, column in zip(cells, columns, strict=True)
    )
    return f"<tr{kind}>{cell(name, 'case', 'l')}{figures}</tr>"


def _figure(figure: Cell) -> str:
    beside = f'<span class="interval">{text(figure.beside)}</span>' if figure.beside else ""
    return f"<span>{text(figure.words)}{beside}</span>"


def cards(contents: Contents, figures: Figures, charts: ChartMaker) -> Iterator[str]:
    """For each case how its latency is spread and how it went over time."""
    if not contents.timed:
        return
    yield heading("Distribution and drift")
    yield f'<p class="soft">{DISTRIBUTIONS}</p>'
    yield '<div class="cards">'
    for entry in contents.timed:
        yield from _card(entry, figures.cases[entry.number], charts, contents)
    yield "</div>"


def _card(
    entry: Entry, found: CaseFigures, charts: ChartMaker, contents: Contents
) -> Iterator[str]:
    yield f'<section class="card"><h3>{number(entry.number, entry.series)}{text(entry.name)}</h3>'
    if len(contents.series) > 1:
        yield f'<p class="soft">{text(contents.series[entry.series])}</p>'
    yield badges(entry.kinds)
    if found.histogram is None or found.steps is None:
        yield '<p class="soft">The file holds no samples of it.</p>'
    else:
        drawn = partial(draw_histogram, entry=entry, found=found.histogram)
        yield charts.make(HISTOGRAM, f"Histogram of the latency of {entry.name}", drawn)
        yield f'<p class="soft">{text(histogram_words(found.histogram))}</p>'
        over_time = partial(draw_steps, entry=entry, found=found.steps)
        yield charts.make(OVER_TIME, f"Latency of {entry.name} over time", over_time)
        if found.steps.each > 1:
            yield f'<p class="soft">here a dot joins {found.steps.each} rounds</p>'
    yield "<details><summary>more figures</summary>"
    yield from facts(case_facts(entry.result))
    yield "</details></section>"


def operators(contents: Contents) -> Iterator[str]:
    """Each case's operators by themselves, slowest first."""
    asked = [entry for entry in contents.timed if entry.result.ops]
    if not asked:
        return
    yield heading("Operators")
    for place, entry in enumerate(asked):
        name = f"{number(entry.number, entry.series)} {text(entry.name)} {badges(entry.kinds)}"
        yield f"<details{'' if place else ' open'}><summary class=name>{name}</summary>"
        yield f'<p class="soft">{text(operator_words(entry.result))}</p>'
        ops = op_shares(entry.result)
        yield from _ops_table(ops[:_SHOWN_OPS])
        if len(ops) > _SHOWN_OPS:
            yield f"<details><summary>the other {len(ops) - _SHOWN_OPS}</summary>"
            yield from _ops_table(ops[_SHOWN_OPS:])
            yield "</details>"
        yield "</details>"


def _ops_table(shown: Sequence[OpShare]) -> Iterator[str]:
    yield '<table class="ops"><thead><tr><th class="l">operator</th><th>p50</th>'
    yield "<th>share</th></tr></thead><tbody>"
    selection = select((OPERATOR, OUTPUT, SHAPE, OPERATOR_P50, OPERATOR_SHARE), shown)
    for row, cells in zip(shown, selection.rows, strict=True):
        operator, output, shape, p50, share = (text(each.words) for each in cells)
        yield (
            f'<tr><td class="l"><b>{operator}</b> <span class="soft">{output} {shape}'
            f'</span></td><td>{p50}</td><td class="b">{share}{bar(row.of_longest)}</td></tr>'
        )
    yield "</tbody></table>"


def quantization(contents: Contents, charts: ChartMaker) -> Iterator[str]:
    """Where int8 files lose accuracy, layer by layer."""
    if not contents.quantization:
        return
    yield heading("Quantization error by layer")
    for place, found in enumerate(contents.quantization):
        yield heading(found.file, 3)
        for sentence in quantization_words(found):
            yield f"<p>{text(sentence)}</p>"
        yield from _layer_charts(found, f"layers-{place}", charts)
        yield "<ol>"
        for cause in found.analysis.worst:
            yield f"<li><b>{text(cause.name)}</b>: {text(cause.cause)} → {text(cause.remedy)}</li>"
        yield "</ol>"
        yield from _layers(found)


def _layer_charts(found: QuantizationFindings, group: str, charts: ChartMaker) -> Iterator[str]:
    draw = partial(draw_layers, found=found.analysis, group=group)
    words = "Each layer's share of the output's noise"
    yield charts.make(Frame("wide", 1080, 240, left=52), words, draw)
    yield charts.make(Frame("narrow", 346, 240, left=52), words, draw)


def _layers(found: QuantizationFindings) -> Iterator[str]:
    layers = sorted(found.analysis.layers, key=lambda layer: -layer.share)
    worst = {cause.name for cause in found.analysis.worst}
    largest = max((layer.share for layer in layers), default=0.0) or 1.0
    yield from _layer_table(layers[:_SHOWN_LAYERS], worst, largest)
    if len(layers) > _SHOWN_LAYERS:
        yield f"<details><summary>the other {len(layers) - _SHOWN_LAYERS}</summary>"
        yield from _layer_table(layers[_SHOWN_LAYERS:], worst, largest)
        yield "</details>"


def _layer_table(layers: Sequence[LayerError], worst: set[str], largest: float) -> Iterator[str]:
    selection = select(LAYER_FIGURES, layers, keep_empty=True)
    yield '<table class="stack"><thead><tr><th class="l">layer</th>'
    yield "".join(f"<th>{column.heading}</th>" for column in selection.columns)
    yield "<th>share of the noise</th></tr></thead><tbody>"
    for layer, cells in zip(layers, selection.rows, strict=True):
        share = f"<span>{percent(layer.share)}</span>"
        share += bar(layer.share / largest, worst=layer.name in worst)
        figures = zip(cells, selection.columns, strict=True)
        name = f"{text(layer.name)} <span class=soft>{text(layer.op)}</span>"
        yield (
            f"<tr>{cell(name, 'layer', 'l')}"
            f"{''.join(cell(each.words, column.heading) for each, column in figures)}"
            f"{cell(share, 'share of the noise', 'b')}</tr>"
        )
    yield "</tbody></table>"
