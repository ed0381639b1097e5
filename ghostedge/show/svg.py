"""A matplotlib figure as SVG that belongs to a page: in its colours, with dots to point at.

Matplotlib writes a document of its own: colours and fonts in style attributes, ids that two charts
share, metadata. Here the styles become classes of the page's one style sheet (so that the page's
policy needs to allow no inline style), colours become the page's variables, and ids that nothing
refers to are dropped. `ChartMaker` gives a drawing function axes of the right size and returns SVG.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.axes import Axes

from ghostedge.show.drawing import LIGHT, Chart, Dot, new_figure, place_axes

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_VARIABLES = {value: f"var(--{name})" for name, value in LIGHT.items()}
_REFERENCE = re.compile(r"#([^)]+)")
_REFERRING = ("clip-path", f"{_XLINK}href")
_DROPPED, _GROUPS = ("metadata", "style"), ("g", "defs")


class StyleSheet:
    """Every distinct style of the page's charts, as classes."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}

    def class_of(self, style: str) -> str:
        """The class for a style attribute of matplotlib's; empty where nothing of it is kept."""
        declarations = ";".join(_declarations(style))
        return (
            self._classes.setdefault(declarations, f"m{len(self._classes)}") if declarations else ""
        )

    def css(self) -> str:
        """The rules, in the order they were first needed."""
        return "".join(f".{name}{{{style}}}" for style, name in self._classes.items())


def _declarations(style: str) -> Iterator[str]:
    for declaration in filter(str.strip, style.split(";")):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font":
            yield from _font(value)
        elif name != "font-family":  # the reader's own
            yield f"{name}:{_VARIABLES.get(value, value)}"


def _font(value: str) -> Iterator[str]:
    """Size and weight out of ``bold 11px 'DejaVu Sans'``."""
    for word in value.split():
        if word.endswith("px"):
            yield f"font-size:{word}"
        elif word.isdigit() or word == "bold":
            yield f"font-weight:{word}"


def svg(chart: Chart, name: str, sheet: StyleSheet, kind: str) -> str:
    """The chart as an ``<svg>`` element.

    Args:
        chart: Drawn within `drawing.styled`, and converted within it too.
        name: Unique among the page's charts; all its ids begin with it.
        sheet: Takes its styles.
        kind: Classes of the element.
    """
    written = io.StringIO()
    chart.figure.savefig(written, format="svg", metadata=_NO_METADATA)
    root = ElementTree.fromstring(written.getvalue())
    for group in root.iter(f"{_SVG}g"):
        dots = chart.dots.get(group.get("id", ""))
        if dots is not None:
            _mark_dots(group, dots)
    _drop(root)
    _rename(root, name)
    for element in root.iter():
        _clean(element, sheet)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update(
        {"viewBox": box, "class": f"chart {kind}", "role": "group", "aria-label": chart.words}
    )
    return ElementTree.tostring(root, encoding="unicode")


def _mark_dots(group: ElementTree.Element, dots: list[Dot]) -> None:
    drawn = list(group.iter(f"{_SVG}use"))
    if len(drawn) != len(dots):
        raise ValueError(f"{len(drawn)} points were drawn of {len(dots)}")
    for element, dot in zip(drawn, dots, strict=True):
        element.set("data-dot", str(dot.key))
        element.set("role", "img")
        element.set("aria-label", dot.words)


def _drop(parent: ElementTree.Element) -> None:
    """Take out metadata, the style sheet, and groups that hold nothing."""
    for child in list(parent):
        _drop(child)
        tag = child.tag.removeprefix(_SVG)
        if tag in _DROPPED or (tag in _GROUPS and not len(child)):
            parent.remove(child)


def _rename(root: ElementTree.Element, prefix: str) -> None:
    """Keep the ids that something refers to, each with the chart's name before it."""
    referring = [
        (element, key, match.group(1))
        for element in root.iter()
        for key in _REFERRING
        if (match := _REFERENCE.search(element.get(key, "")))
    ]
    used = sorted({old for _, _, old in referring})
    names = {old: f"{prefix}-{number}" for number, old in enumerate(used)}
    for element in root.iter():
        identity = element.attrib.pop("id", None)
        if identity in names:
            element.set("id", names[identity])
    for element, key, old in referring:
        element.set(key, element.get(key, "").replace(old, names[old]))


def _clean(element: ElementTree.Element, sheet: StyleSheet) -> None:
    element.tag = element.tag.removeprefix(_SVG)
    element.tail = None
    if element.tag != "text":
        element.text = None
    kind = sheet.class_of(element.attrib.pop("style", ""))
    if kind:
        element.set("class", kind)
    if f"{_XLINK}href" in element.attrib:
        element.set("href", element.attrib.pop(f"{_XLINK}href"))
    if "d" in element.attrib:
        element.set("d", " ".join(element.attrib["d"].split()))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]


Dots = Mapping[str, list[Dot]]


@dataclass(frozen=True)
class Frame:
    """A chart's size and margins in pixels, and the classes that say where it shows."""

    kind: str
    width: float
    height: float
    left: float
    right: float = 14
    top: float = 14
    bottom: float = 40


HISTOGRAM = Frame("small", 330, 128, left=10, right=10, top=6)
OVER_TIME = Frame("small", 330, 134, left=44, right=10, top=22)


def sensors(count: int) -> Frame:
    """Room for so many names over the chart, two a line."""
    lines = -(-count // 2)
    return Frame("small", 330, 150 + 13 * lines, left=44, right=10, top=20 + 15 * lines)


class ChartMaker:
    """Makes a page's charts; they share one style sheet."""

    def __init__(self) -> None:
        self.sheet = StyleSheet()
        self._made = 0

    def make(self, frame: Frame, words: str, draw: Callable[[Axes], Dots | None]) -> Markup:
        """One chart.

        Args:
            frame: Its size.
            words: What it shows, for those who do not see it.
            draw: Draws on the axes; returns the dots that can be pointed at.
        """
        figure = new_figure(frame.width, frame.height)
        ax = place_axes(
            figure, left=frame.left, right=frame.right, top=frame.top, bottom=frame.bottom
        )
        dots = draw(ax) or {}
        self._made += 1
        chart = Chart(figure, words, dict(dots))
        return Markup(svg(chart, f"c{self._made}", self.sheet, frame.kind))
