"""An analysis of a QDQ file as a picture: a row per layer, three panels of bars. Needs matplotlib.

Drawn on a canvas of its own, without pyplot, so that neither a display nor a caller's settings
matter and equal analyses give equal files.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ghostedge.layer_errors import QuantizationReport
from ghostedge.terminal import printable

_PLAIN, _WORST, _DOT, _GRID = "#4878a8", "#c8402f", "#202020", "#dddddd"
_ROW_INCHES, _FRAME_INCHES, _WIDTH_INCHES, _DPI = 0.16, 1.5, 13.0, 110
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.axisbelow": True,
    "text.parse_math": False,  # a layer's name may hold dollars
}


@dataclass(frozen=True)
class _Panel:
    """One column of bars; None draws nothing in its row."""

    title: str
    axis: str
    bars: Sequence[float | None]
    dots: Sequence[float | None] = ()


def draw_quantization(report: QuantizationReport) -> bytes:
    """A PNG: per layer its output's and its weights' SQNR, and its share of the noise.

    The three worst layers are red.
    """
    layers = report.analysis.layers
    panels = (
        _Panel(
            "output: its own codes (bar), with all before (dot)",
            "SQNR, dB",
            [layer.activation.sqnr_db if layer.activation else None for layer in layers],
            [layer.activation.accumulated_db if layer.activation else None for layer in layers],
        ),
        _Panel(
            "weights",
            "SQNR, dB",
            [layer.weights.sqnr_db if layer.weights else None for layer in layers],
        ),
        _Panel(
            "this layer alone",
            "% of the output's noise",
            [100 * layer.share for layer in layers],
        ),
    )
    worst = {culprit.name for culprit in report.analysis.worst}
    red = [layer.name in worst for layer in layers]
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(_WIDTH_INCHES, _FRAME_INCHES + _ROW_INCHES * len(layers)))
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(panels), sharey=True, width_ratios=(3, 2, 3))
        for ax, panel in zip(axes, panels, strict=True):
            _draw(ax, panel, red)
        _label_rows(axes[0], [printable(layer.name) for layer in layers], red)
        figure.suptitle(_title(report), x=0.01, ha="left")
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.3 / figure.get_figheight()))
        # The version of the library would make the bytes differ between machines.
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=_DPI, metadata={"Software": None})
    return drawn.getvalue()


def _draw(ax: Axes, panel: _Panel, red: Sequence[bool]) -> None:
    rows = [row for row, value in enumerate(panel.bars) if value is not None]
    values = [value for value in panel.bars if value is not None]
    ax.barh(rows, values, height=0.8, color=[_WORST if red[row] else _PLAIN for row in rows])
    dotted = [row for row, value in enumerate(panel.dots) if value is not None]
    dots = [value for value in panel.dots if value is not None]
    ax.scatter(dots, dotted, s=9, color=_DOT, zorder=3)
    ax.set_title(panel.title)
    ax.set_xlabel(panel.axis)
    ax.grid(axis="x", color=_GRID)
    ax.spines[["top", "right"]].set_visible(False)


def _label_rows(ax: Axes, names: Sequence[str], red: Sequence[bool]) -> None:
    ax.set_yticks(range(len(names)), names, fontsize=7)
    ax.set_ylim(len(names) - 0.4, -0.6)
    for label, is_worst in zip(ax.get_yticklabels(), red, strict=True):
        label.set_color(_WORST if is_worst else _DOT)


def _title(report: QuantizationReport) -> str:
    found = report.analysis
    ratio = "exact" if found.total.sqnr_db is None else f"{found.total.sqnr_db:.1f} dB"
    name = printable(Path(report.file).name)
    return f"{name}: output SQNR {ratio} over {found.images} images; worst in red"
