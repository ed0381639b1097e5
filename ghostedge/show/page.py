"""The report as one HTML page that opens from disk and fetches nothing.

A policy in the page allows its one style sheet and its one script by their hashes and nothing else,
so that a name that broke out of its place could still do nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from ghostedge.show import sentences, words
from ghostedge.show.charts import histogram_words
from ghostedge.show.columns import select
from ghostedge.show.contents import Contents, Entry
from ghostedge.show.corruption_tables import HOW_TO_READ, corrupted_tables
from ghostedge.show.drawing import (
    DARK,
    LIGHT,
    MARKERS,
    SERIES,
    css_variables,
    series_marker,
    series_name,
)
from ghostedge.show.figures import DRAWN_SENSORS, plotted, work_out
from ghostedge.show.html import environment
from ghostedge.show.layer_columns import (
    LAYER_FIGURES,
    LAYER_SHARE,
    OPERATOR,
    OPERATOR_P50,
    OPERATOR_SHARE,
    OUTPUT,
    SHAPE,
    op_shares,
)
from ghostedge.show.page_charts import draw_charts
from ghostedge.show.result_columns import FILE, RUNTIME, SHA256, SIZE, common_words, results_table
from ghostedge.show.tuning_tables import HOW_TO_READ_TUNING, table_title, trials_table
from ghostedge_runtime.machine.words import fact_rows
from ghostedge_runtime.record import BenchRun

DATA_ID = "plotted"
_SHOWN = 12
"""Operators and layers that are seen without asking for the others."""
_GLYPHS = dict(zip(MARKERS, "●■◆▲▼✚✖", strict=True))


def page(contents: Contents) -> str:
    """The page's text."""
    figures = work_out(contents)
    charts = draw_charts(contents, figures)
    style, script = _style(charts.style), _resource("page.js")
    return (
        _environment()
        .get_template("report.html")
        .render(
            contents=contents,
            figures=figures,
            charts=charts,
            policy=Markup(_policy(style, script)),
            style=Markup(style),
            script=Markup(script),
            data=Markup(_json(plotted(contents, figures))),
        )
    )


def _environment() -> Environment:
    report = environment()
    report.globals.update(
        DRAWN_SENSORS=DRAWN_SENSORS,
        HOW_TO_READ_CORRUPTED=HOW_TO_READ,
        HOW_TO_READ_TUNING=HOW_TO_READ_TUNING,
        FILES=(FILE, SIZE, RUNTIME, SHA256),
        LAYERS=(*LAYER_FIGURES, LAYER_SHARE),
        OPERATORS=(OPERATOR, OUTPUT, SHAPE, OPERATOR_P50, OPERATOR_SHARE),
        SHOWN=_SHOWN,
        WARNING=words.WARNING,
        best_entries=best_entries,
        common_words=common_words,
        corrupted_tables=corrupted_tables,
        data_id=DATA_ID,
        histogram_words=histogram_words,
        machine_facts=_machine_facts,
        op_shares=op_shares,
        results_table=results_table,
        run_facts=_run_facts,
        select=select,
        sentences=sentences,
        series_glyph=lambda series: _GLYPHS[series_marker(series)],
        series_name=series_name,
        table_title=table_title,
        trials_table=trials_table,
        words=words,
    )
    return report


@dataclass(frozen=True)
class Best:
    """An entry that is the best of its machine.

    Attributes:
        what: At what.
        entry: Which.
        machine: The machine's name, where there are several.
    """

    what: str
    entry: Entry
    machine: str

    @property
    def figures(self) -> str:
        """Its latency, and its accuracy where it has one."""
        score = self.entry.result.score
        latency = f"{words.ms(_latency(self.entry))} ms"
        return latency if score is None else f"{latency} · {score.top1_pct:.2f} %"


def best_entries(contents: Contents) -> Iterator[Best]:
    """The fastest and the most accurate entry of each machine."""
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
            yield Best(what, entry, about)


def _latency(entry: Entry) -> float:
    return entry.result.p50_ms.value if entry.result.p50_ms else float("inf")


def _machine_facts(run: BenchRun) -> list[tuple[str, str]]:
    return [*fact_rows(run.machine).items(), *words.changes(run.trace)]


def _run_facts(run: BenchRun) -> list[tuple[str, str]]:
    version = ("GhostEdge", run.ghostedge_version)
    return [version, ("run", run.id), *words.settings_facts(run.settings)]


def _style(charts: str) -> str:
    """Dark where the reader's system is, light on paper."""
    light, dark = css_variables(LIGHT), css_variables(DARK)
    series = "".join(
        f".s{i}{{color:var(--s{i})}}.bg-s{i}{{background:var(--s{i})}}" for i in range(SERIES)
    )
    return (
        f":root{{{light}}}@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"
        f"{_resource('page.css')}{series}{charts}"
    )


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _json(document: Any) -> str:
    """JSON that no HTML parser takes for a tag."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")


def _resource(name: str) -> str:
    return (resources.files("ghostedge.show") / name).read_text(encoding="utf-8")
