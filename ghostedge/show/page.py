"""The report as one HTML page that opens from disk and fetches nothing.

A policy in the page allows its one style sheet and its one script by their hashes and nothing else,
so that a name that broke out of its place could still do nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

from ghostedge.show import case_sections, head_sections, machine_sections
from ghostedge.show.contents import Contents
from ghostedge.show.drawing import DARK, LIGHT, SERIES, css_variables, styled
from ghostedge.show.figures import Figures, plotted, work_out
from ghostedge.show.html import text
from ghostedge.show.sentences import title
from ghostedge.show.svg import ChartMaker

DATA_ID = "plotted"


def page(contents: Contents) -> str:
    """The page's text."""
    figures = work_out(contents)
    charts = ChartMaker()
    with styled():
        body = "\n".join(_body(contents, figures, charts))
    style = _style(charts.sheet.css())
    script = _resource("page.js")
    data = _json(plotted(contents, figures))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title(contents))}</title>\n"
        '<link rel="icon" href="data:,">\n'
        f"<style>{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        '<div id="tip" role="status" hidden></div>\n'
        f'<script type="application/json" id="{DATA_ID}">{data}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _body(contents: Contents, figures: Figures, charts: ChartMaker) -> Iterator[str]:
    yield from head_sections.opening(contents, figures, charts)
    yield from case_sections.tables(contents, figures)
    yield from case_sections.cards(contents, figures, charts)
    yield from case_sections.operators(contents)
    yield from case_sections.quantization(contents, charts)
    yield from machine_sections.machines(contents, figures, charts)
    yield from machine_sections.reproduction(contents)
    yield f"<footer>{text(contents.producer)}</footer>"


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
