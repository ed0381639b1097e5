"""Layers and what was found of them, as read in a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from ghostedge.features.compare import Difference
from ghostedge.features.draw import decibel_words
from ghostedge.features.graph import Layer
from ghostedge.records.features import FeaturesReport, LayerFacts
from ghostedge.table_parts import LEFT, RIGHT, plain_table


def layer_list(layers: Iterable[Layer]) -> Table:
    """A row for each layer, in the graph's order."""
    table = _table(("layer", "channels", "height", "width"), "ghost module")
    for layer in layers:
        sizes = ("?" if size is None else str(size) for size in layer.shape)
        table.add_row(layer.name, *sizes, f"{layer.primary} primary" if layer.primary else "")
    return table


def report_table(report: FeaturesReport) -> Table:
    """A row for each layer of each image; figures where two networks were compared."""
    figures = ("SQNR dB", "median channel", "cosine", "factors") if report.against else ()
    table = _table(("image", "layer", "shape", *figures), "worst channels" if figures else "")
    for layer in report.layers:
        image = report.images[layer.image].file
        shape = "×".join(map(str, layer.shape))
        cells = _cells(layer, report) if figures else ("",)
        table.add_row(image, layer.name, shape, *cells)
    return table


def _table(columns: Iterable[str], last: str) -> Table:
    sides = [(each, LEFT if each in ("image", "layer") else RIGHT) for each in columns]
    return plain_table(None, [*sides, (last, LEFT)])


def _cells(layer: LayerFacts, report: FeaturesReport) -> tuple[str, ...]:
    found = layer.difference
    if found is None:
        return "–", "–", "–", "–", "no layer of that name"
    low, high = found.scale
    return (
        decibel_words(found.sqnr_db).removesuffix(" dB"),
        decibel_words(found.channel_db).removesuffix(" dB"),
        "–" if found.cosine is None else f"{found.cosine:.5f}",
        f"{low:.3g}–{high:.3g}" if report.rescaled else "–",
        _worst(found),
    )


def _worst(found: Difference) -> str:
    return ", ".join(f"{each.channel} ({round(each.sqnr_db)} dB)" for each in found.worst)
