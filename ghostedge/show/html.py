"""Small pieces of HTML. Every word that comes from a file goes through `text`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from ghostedge.show.drawing import series_name
from ghostedge.show.words import WARNING
from ghostedge.terminal import printable


def text(words: str) -> str:
    """Words as they are, whatever they hold: in an element and in an attribute."""
    return html.escape(printable(words))


def heading(words: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{text(words)}</h{level}>"


def facts(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Names and values, side by side."""
    yield '<dl class="facts">'
    for name, value in pairs:
        yield f"<dt>{text(name)}</dt><dd>{text(value)}</dd>"
    yield "</dl>"


def badges(kinds: Iterable[str]) -> str:
    """The kinds of marks, to be seen."""
    return "".join(f'<span class="badge">{WARNING} {text(kind)}</span>' for kind in kinds)


def number(value: int, series: int) -> str:
    """A case's number in its machine's colour, as the charts have it."""
    return f'<span class="n bg-{series_name(series)}">{value}</span>'


def bar(share: float, *, worst: bool = False) -> str:
    """A share of the longest, 0 to 1, as a bar."""
    kind = "bar worst" if worst else "bar"
    return (
        f'<svg class="{kind}" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{100 * share:.2f}" height="1"/></svg>'
    )


def cell(words: str, label: str, kind: str = "") -> str:
    """A cell of a table that becomes a list on a phone, each value beside its column's heading."""
    kinds = f' class="{kind}"' if kind else ""
    return f'<td{kinds} data-label="{text(label)}">{words}</td>'
