"""The one style of all charts: colours, shapes, sizes in pixels, axes. Needs matplotlib.

A figure is drawn at 72 dots per inch, so that a point, an SVG unit and a CSS pixel are the same.
Without pyplot: neither a display nor a caller's settings matter and equal reports give equal files.
Charts are drawn in the light colours; in the page each of them becomes a CSS variable of the same
name, which is why no two may be equal.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

SERIES = 8
MARKERS = "osD^vPX"

LIGHT: Mapping[str, str] = {
    "ink": "#1b1f24",
    "soft": "#586069",
    "line": "#d3d9e0",
    "paper": "#ffffff",
    "raised": "#f5f7f9",
    "warn": "#a83b00",
    "warned": "#fff3e8",
    "fill": "#7ba3cc",
    "s0": "#0b62c4",
    "s1": "#c2410d",
    "s2": "#14783c",
    "s3": "#7a3be0",
    "s4": "#0d7189",
    "s5": "#bc175b",
    "s6": "#6a6200",
    "s7": "#455468",
}
DARK: Mapping[str, str] = {
    "ink": "#e8ebee",
    "soft": "#a3acb6",
    "line": "#39414b",
    "paper": "#14181d",
    "raised": "#1d232a",
    "warn": "#ffad70",
    "warned": "#33241a",
    "fill": "#5581ad",
    "s0": "#69b1ff",
    "s1": "#ff9760",
    "s2": "#5ccf8b",
    "s3": "#c3a6ff",
    "s4": "#55cde3",
    "s5": "#ff8cbd",
    "s6": "#d6cf58",
    "s7": "#b4c0cd",
}


def series_name(index: int) -> str:
    """The colour of a machine; they repeat after eight, the markers do not at the same time."""
    return f"s{index % SERIES}"


def series_marker(index: int) -> str:
    """The shape of a machine's points."""
    return MARKERS[index % len(MARKERS)]


def css_variables(colours: Mapping[str, str]) -> str:
    """``--ink:#1b1f24;…``."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())


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
def styled(text: float = TEXT) -> Iterator[None]:
    """The settings that every chart is drawn in, its text of so many pixels."""
    with style.context(["default", _STYLE, {"font.size": text}]), warnings.catch_warnings():
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
