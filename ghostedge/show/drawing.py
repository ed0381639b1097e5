"""What all charts share: figures measured in pixels, axes, dots to point at. Needs matplotlib.

A figure is drawn at 72 dots per inch, so that a point, an SVG unit and a CSS pixel are the same.
Without pyplot: neither a display nor a caller's settings matter and equal reports give equal files.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from ghostedge.report.look import LIGHT

DPI = 72
TEXT = 11.0
_LOG_FROM = 6.0
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "text.parse_math": False,  # a file's name may hold dollars
    "axes.axisbelow": True,
    "axes.edgecolor": LIGHT["line"],
    "axes.labelcolor": LIGHT["soft"],
    "axes.facecolor": "none",
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.7,
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["line"],
    "ytick.color": LIGHT["line"],
    "xtick.labelcolor": LIGHT["soft"],
    "ytick.labelcolor": LIGHT["soft"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "svg.fonttype": "none",  # text stays text: small, selectable, in the reader's font
    "svg.hashsalt": "ghostedge",
    "svg.image_inline": True,
    "path.simplify": False,
}


@dataclass(frozen=True)
class Dot:
    """A drawn point: the entry or place it stands for, and what is said when it is pointed at."""

    key: int
    words: str


@dataclass(frozen=True)
class Chart:
    """A figure, what it shows in a sentence, and its dots by their group's ``gid``."""

    figure: Figure
    words: str
    dots: dict[str, list[Dot]]


@contextmanager
def styled() -> Iterator[None]:
    """The settings that every chart is drawn in."""
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        # Names in scripts that the measuring font lacks: the page's own font has them.
        warnings.filterwarnings(
            "ignore", message=".*Glyph .* missing from font", category=UserWarning
        )
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many pixels."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def place_axes(figure: Figure, *, left: float, right: float, top: float, bottom: float) -> Axes:
    """Axes with margins in pixels."""
    width, height = (float(inches) * DPI for inches in figure.get_size_inches())
    box = (left / width, bottom / height, (width - left - right) / width)
    return figure.add_axes((*box, (height - top - bottom) / height))


def bare(ax: Axes, grid: str) -> None:
    """No frame but the ground line, a grid across."""
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.grid(axis=grid)  # type: ignore[arg-type]  # "both", "x" or "y"; the stubs want a Literal


def latency_axis(ax: Axes, values: Sequence[float], label: str, ticks: int) -> None:
    """Milliseconds along x; by powers where the slowest is many times the fastest."""
    low, high = min(values), max(values)
    if low > 0 and high / low > _LOG_FROM:
        margin = (high / low) ** 0.08
        logarithmic(ax, ticks)
        ax.set_xlim(low / margin, high * margin)
        label += ", logarithmic"
    else:
        margin = 0.08 * (high - low) or 0.1 * high or 1.0
        ax.set_xlim(max(0.0, low - margin), high + margin)
        ax.xaxis.set_major_locator(linear(ticks))
    ax.xaxis.set_major_formatter(PLAIN)
    ax.set_xlabel(label)


def logarithmic(ax: Axes, ticks: int) -> None:
    """Powers along x, about so many of their ones, twos and fives named."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=ticks + 3))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_minor_locator(NullLocator())


def linear(ticks: int) -> MaxNLocator:
    """At most so many round numbers along an axis."""
    return MaxNLocator(ticks, steps=(1, 2, 5, 10))


PLAIN = FuncFormatter(lambda value, _: f"{value:.6g}")
