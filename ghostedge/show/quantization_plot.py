"""An analysis of a QDQ file as a picture, a row of three bars per layer. Needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

from ghostedge.layer_errors import QuantizationReport
from ghostedge.show.drawing import DPI, LIGHT, bare, new_figure, styled
from ghostedge.terminal import printable

_ROW, _FRAME, _TITLE, _WIDTH = 11.5, 108.0, 22.0, 936.0
"""In pixels: a layer, what is above and below all layers, the title, the picture."""
_SHARPNESS = 1.5
"""Pixels of the picture for each that it is laid out in."""
_TEXT = 8.0


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
    height = _FRAME + _ROW * len(layers)
    with styled(_TEXT):
        figure = new_figure(_WIDTH, height)
        figure.set_dpi(_SHARPNESS * DPI)  # the room for names is that of their text as it is saved
        figure.set_facecolor(LIGHT["paper"])
        axes = figure.subplots(1, len(panels), sharey=True, width_ratios=(3, 2, 3))
        for ax, panel in zip(axes, panels, strict=True):
            _draw(ax, panel, red)
        _label_rows(axes[0], [printable(layer.name) for layer in layers], red)
        figure.suptitle(_title(report), x=0.01, ha="left")
        figure.tight_layout(rect=(0, 0, 1, 1 - _TITLE / height))
        # The version of the library would make the bytes differ between machines.
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=_SHARPNESS * DPI, metadata={"Software": None})
    return drawn.getvalue()


def _draw(ax: Axes, panel: _Panel, red: Sequence[bool]) -> None:
    rows = [row for row, value in enumerate(panel.bars) if value is not None]
    values = [value for value in panel.bars if value is not None]
    colours = [LIGHT["warn" if red[row] else "fill"] for row in rows]
    ax.barh(rows, values, height=0.8, color=colours)
    dotted = [row for row, value in enumerate(panel.dots) if value is not None]
    dots = [value for value in panel.dots if value is not None]
    ax.scatter(dots, dotted, s=9, color=LIGHT["ink"], zorder=3)
    ax.set_title(panel.title, color=LIGHT["soft"])
    ax.set_xlabel(panel.axis)
    bare(ax, "x")


def _label_rows(ax: Axes, names: Sequence[str], red: Sequence[bool]) -> None:
    ax.set_yticks(range(len(names)), names, fontsize=_TEXT - 1)
    ax.set_ylim(len(names) - 0.4, -0.6)
    for label, is_worst in zip(ax.get_yticklabels(), red, strict=True):
        label.set_color(LIGHT["warn" if is_worst else "ink"])


def _title(report: QuantizationReport) -> str:
    analysis = report.analysis
    ratio = "exact" if analysis.total.sqnr_db is None else f"{analysis.total.sqnr_db:.1f} dB"
    name = printable(Path(report.file).name)
    return f"{name}: output SQNR {ratio} over {analysis.images} images; worst in red"
