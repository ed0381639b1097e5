"""All pictures on one HTML page that opens from disk: no script, no font, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import PurePath

from ghostedge.features.draw import scale_words
from ghostedge.records.features import FeaturesReport, LayerFacts
from ghostedge.show.html import environment
from ghostedge.show.words import decibel_words


def page(report: FeaturesReport) -> str:
    """The page's text."""

    def layers_of(image: int) -> list[LayerFacts]:
        return [layer for layer in report.layers if layer.image == image]

    return (
        environment()
        .get_template("features.html")
        .render(
            report=report,
            title=f"Inside {report.model.file}",
            sentences=tuple(_sentences(report)),
            layers_of=layers_of,
            figures_of=partial(_figures, rescaled=report.rescaled),
            anchor=_anchor,
            side=_side,
        )
    )


def _sentences(report: FeaturesReport) -> Iterator[str]:
    """How to read the page."""
    if report.against is not None:
        yield (
            f"{report.model.file} ({report.model.precision}) beside {report.against.file} "
            f"({report.against.precision}), then the second minus the first. The first two share "
            "their colours, channel by channel; the difference is in percent of each channel's "
            "range of colours. SQNR is signal over "
            "difference, of the whole layer and of the median channel: 6 dB more is half the error."
        )
    if report.rescaled:
        yield (
            "Equalization gives the channels of an int8 network other sizes, so each of them is "
            "multiplied by the one positive factor that brings it closest to the float channel on "
            "this image; an error that is a factor on a whole channel does not show."
        )
    if report.unmatched:
        yield f"{report.against.file if report.against else ''} has no layer of the name: " + (
            ", ".join(report.unmatched)
        )
    yield from report.notes
    yield (
        "In a ghost module the left of two tiles is a primary channel, the right one the ghost "
        "channel that a depthwise convolution makes of it."
    )


def _figures(layer: LayerFacts, *, rescaled: bool) -> tuple[str, ...]:
    """SQNR, the median channel's, the cosine, and the factors between the channels."""
    difference = layer.difference
    if difference is None:
        return "–", "–", "–", "no layer of that name"
    cosine = "–" if difference.cosine is None else f"{difference.cosine:.5f}"
    decibels = map(decibel_words, (difference.sqnr_db, difference.channel_db))
    return (*decibels, cosine, scale_words(difference, rescaled=rescaled))


def _anchor(layer: LayerFacts) -> str:
    """The first picture's name without its ending, which no other layer has."""
    return layer.pictures.model.removesuffix(".model.png")


def _side(picture: str) -> str:
    """Whose picture it is by its name: ``model``, ``against`` or ``difference``."""
    return PurePath(picture).suffixes[-2][1:]
