"""Charts for the page: a drawing function gets a figure of the right size, out comes SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes

from ghostedge.show.drawing import Chart, Dot, new_figure, place_axes
from ghostedge.show.svg import StyleSheet, svg

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

    def make(self, frame: Frame, words: str, draw: Callable[[Axes], Dots | None]) -> str:
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
        return svg(Chart(figure, words, dict(dots)), f"c{self._made}", self.sheet, frame.kind)
