"""The parts of the page about the machines: their story, their sensors, how to measure again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ghostedge.show.charts import draw_lines
from ghostedge.show.contents import Contents
from ghostedge.show.figures import DRAWN_SENSORS, Figures, Lines
from ghostedge.show.html import badges, cell, facts, heading, number, text
from ghostedge.show.sentences import lines_words
from ghostedge.show.svg import ChartMaker, sensors
from ghostedge.show.words import (
    changes,
    command_line,
    runtime_words,
    settings_facts,
    size_words,
)
from ghostedge_runtime.machine.sensors import Sensor
from ghostedge_runtime.machine.words import fact_rows


def machines(contents: Contents, figures: Figures, charts: ChartMaker) -> Iterator[str]:
    """Each run's machine: what it is, and what it did meanwhile."""
    yield heading("The machine" if len(contents.runs) == 1 else "The machines")
    for index, run in enumerate(contents.runs):
        kinds = dict.fromkeys(mark.kind for mark in run.marks)
        yield f"<h3>{text(contents.machines[index])} {badges(kinds)}</h3>"
        yield '<div class="cards apart"><section class="card">'
        yield from facts([*fact_rows(run.machine).items(), *changes(run.trace)])
        yield "</section>"
        for sensor in DRAWN_SENSORS:
            yield from _over_time(sensor, figures.machines[index][sensor.key], charts)
        yield "</div>"


def _over_time(sensor: Sensor, lines: Lines | None, charts: ChartMaker) -> Iterator[str]:
    yield f'<section class="card"><h3>{sensor.words}</h3>'
    if lines is None:
        yield f'<p class="soft">This machine told no {sensor.words}.</p>'
    else:
        draw = partial(draw_lines, found=lines, unit=sensor.unit)
        yield charts.make(sensors(len(lines.lines)), f"{sensor.words} over time", draw)
        yield f'<p class="soft">{text(lines_words(lines, sensor))}</p>'
    yield "</section>"


def reproduction(contents: Contents) -> Iterator[str]:
    """The files, the settings and the command of each run."""
    yield heading("To measure it again")
    for index, run in enumerate(contents.runs):
        if len(contents.runs) > 1:
            yield heading(contents.machines[index], 3)
        command = command_line(run)
        if command is not None:
            yield f"<pre>{text(command)}</pre>"
        version = ("GhostEdge", run.ghostedge_version)
        yield from facts([version, ("run", run.id), *settings_facts(run.settings)])
        yield from _files(contents, index)


def _files(contents: Contents, run: int) -> Iterator[str]:
    yield '<table class="stack files"><thead><tr><th class="l">case</th><th class="l">file</th>'
    yield '<th>size</th><th class="l">runtime</th><th class="l">SHA-256</th></tr></thead><tbody>'
    for entry in contents.entries_of(run):
        case = entry.result.case
        yield (
            f"<tr>{cell(number(entry.number, entry.series), 'case', 'l')}"
            f"{cell(text(case.model), 'file', 'l plain')}{cell(size_words(case.bytes), 'size')}"
            f"{cell(text(runtime_words(entry.result)), 'runtime', 'l plain')}"
            f"{cell(f'<code>{text(case.sha256)}</code>', 'SHA-256', 'l plain')}</tr>"
        )
    yield "</tbody></table>"
