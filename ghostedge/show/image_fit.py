"""What images say of preprocessing and network, as lines and tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from ghostedge.records.image_fit import ImageFit, Normalization, NormFit
from ghostedge.show.columns import LEFT, RIGHT, Column, draw
from ghostedge.show.words import plural

LEGEND = (
    "divergence: how far what the images bring to a batch norm is from what it remembers of "
    "training, half the symmetric Kullback-Leibler divergence of two Gaussians, median over "
    "channels; 0.5 is a mean off by a standard deviation, 0.125 a variance off by a factor of two; "
    "misfit of a preprocessing: the same of the first batch norm, mean over channels, 1 at most"
)
_CANDIDATES = 6
_LAYERS = 8


def image_fit_tables(fit: ImageFit) -> Iterator[str | Table]:
    """What was found, the likeliest preprocessings, the batch norms farthest from training.

    Args:
        fit: What there is to show of it is shown, whatever could not be told.

    Yields:
        Lines, to be printed however long, and tables.
    """
    yield from fit.lines
    if fit.network is not None and fit.network.verdict in ("fits", "untold"):
        yield fit.network.evidence
    if fit.preprocessing is not None:
        used = fit.preprocessing.in_use
        yield draw(
            _NORMALIZATIONS,
            _first(fit.preprocessing.candidates, used),
            style=lambda row: "bold" if row == used else None,
        )
    if fit.layers:
        shown = fit.worst[:_LAYERS]
        # A line of its own: a title would be folded to the table's width.
        yield (
            f"{len(shown)} of {plural(len(fit.layers), 'batch norm')}, the farthest from training "
            "first"
        )
        yield draw(_layer_columns(fit), shown)
        yield LEGEND


def _first(candidates: Sequence[Normalization], used: Normalization) -> list[Normalization]:
    """The best few, and the one in use where it is none of them."""
    first = list(candidates[:_CANDIDATES])
    return first if used in first else [*first, used]


_NORMALIZATIONS: tuple[Column[Normalization], ...] = (
    Column("preprocessing", LEFT, lambda candidate: candidate.name),
    Column("order", LEFT, lambda candidate: candidate.color_order),
    Column("mean", LEFT, lambda candidate: _numbers(candidate.mean)),
    Column("std", LEFT, lambda candidate: _numbers(candidate.std)),
    Column("misfit", RIGHT, lambda candidate: candidate.misfit, "{:.2g}".format),
)


def _layer_columns(fit: ImageFit) -> tuple[Column[NormFit], ...]:
    places = {layer.layer: place for place, layer in enumerate(fit.layers, 1)}
    return (
        Column("place", RIGHT, lambda layer: places[layer.layer]),
        Column("batch norm", LEFT, lambda layer: layer.module),
        Column("divergence", RIGHT, lambda layer: layer.divergence, "{:.2g}".format),
    )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)
