"""An analysis of a QDQ file as read in a terminal: the worst layers first, then all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from ghostedge.layer_errors import QuantizationReport
from ghostedge.table_parts import LEFT, RIGHT, plain_table
from ghostedge_quantize.analysis.findings import Analysis, Culprit, LayerAnalysis

_BAR = 16
_NO_ERROR = "exact"
_PARTS = {
    "file": "the float weights that the file holds",
    "float model": "the float model, its channels rescaled to fit",
    "rounding step": "their rounding step",
}


def summary_lines(report: QuantizationReport) -> Iterator[str]:
    """The whole, what was assumed, and the worst layers with cause and remedy."""
    found = report.analysis
    total = found.total
    yield (
        f"{Path(report.file).name} on {found.images} images of {report.calib}: output "
        f"{decibel_words(total.sqnr_db)} above its noise, {1 - total.changed:.1%} same top-1 as "
        "float"
    )
    yield f"weights measured against {', '.join(sources(found)) or 'nothing: none are in int8'}"
    for note in report.notes:
        yield f"note: {note}"
    shares = {layer.name: layer for layer in found.layers}
    for rank, culprit in enumerate(found.worst, 1):
        layer = shares[culprit.name]
        yield ""
        yield (
            f"{rank}. {culprit.name} ({layer.op}): {layer.share:.1%} of the output's noise"
            f"{_parts(culprit)}"
        )
        yield f"   {culprit.cause}"
        yield f"   → {culprit.remedy}"


def sources(found: Analysis) -> list[str]:
    """What the weights' error was measured against, in words, each once."""
    kinds = dict.fromkeys(layer.weights.source for layer in found.layers if layer.weights)
    return [_PARTS[kind] for kind in kinds]


def layer_table(report: QuantizationReport) -> Table:
    """A row per layer in graph order; decibels, and a bar of its share of the output's noise."""
    found = report.analysis
    figures = ("output dB", "in int8", "clipped", "codes", "weights dB", "alone dB", "share")
    table = plain_table(
        None, (("layer", LEFT), ("op", LEFT), *((each, RIGHT) for each in figures), ("", LEFT))
    )
    largest = max((layer.share for layer in found.layers), default=0.0)
    worst = {culprit.name for culprit in found.worst}
    for layer in found.layers:
        bar = "█" * round(_BAR * layer.share / largest) if largest else ""
        style = "bold red" if layer.name in worst else None
        table.add_row(*_cells(layer), f"{layer.share:.1%}", bar, style=style)
    return table


def legend() -> str:
    """What the columns of ``layer_table`` are."""
    return (
        "output dB: signal over the error of its own codes; in int8: the same in the fully "
        "quantized graph; codes: those that occur; weights dB: likewise of the weights; alone dB: "
        "the model's output over the change that this layer alone makes; share: of the sum of "
        "these changes; 6 dB are one bit"
    )


def _cells(layer: LayerAnalysis) -> tuple[str, ...]:
    output, weights = layer.activation, layer.weights
    return (
        layer.name,
        layer.op,
        decibel_words(output.sqnr_db, "") if output else "float",
        decibel_words(output.accumulated_db, "") if output else "–",
        f"{output.clipped:.2%}" if output else "–",
        f"{output.used}" if output else "–",
        decibel_words(weights.sqnr_db, "") if weights else "–",
        decibel_words(layer.effect.sqnr_db, ""),
    )


def _parts(culprit: Culprit) -> str:
    """How much of it is the weights', where a layer has both."""
    if culprit.weights is None or culprit.activation is None:
        return ""
    both = culprit.weights.mse + culprit.activation.mse
    share = culprit.weights.mse / both if both else 0.0
    return f", {share:.0%} of that from its weights, {1 - share:.0%} from its output's codes"


def decibel_words(value: float | None, unit: str = " dB") -> str:
    """A signal-to-noise ratio with one decimal, or that there is no noise."""
    return _NO_ERROR if value is None else f"{value:.1f}{unit}"
