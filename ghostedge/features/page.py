"""All pictures on one HTML page that opens from disk: no script, no font, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import PurePath

from ghostedge.features.draw import decibel_words, scale_words
from ghostedge.records.features import FeaturesReport, LayerFacts
from ghostedge.terminal import printable

_STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 2240px;
  color: #111; background: #fff; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #ddd; }
td.n, th.n { text-align: right; white-space: nowrap; }
.grids { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.grids img { flex: 1 1 340px; min-width: 0; max-width: 720px; width: 100%; height: auto; }
.grids img, .seen { border: 1px solid #ccc; box-sizing: border-box; }
.seen { max-width: 100%; min-width: 112px; height: auto; }
"""


def page(report: FeaturesReport) -> str:
    """The page's text."""
    title = f"Inside {report.model.file}"
    body = "\n".join(_body(report, title))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{body}\n</body>\n</html>\n"
    )


def _body(report: FeaturesReport, title: str) -> Iterator[str]:
    yield f"<h1>{_text(title)}</h1>"
    for sentence in _sentences(report):
        yield f"<p>{_text(sentence)}</p>"
    for number, image in enumerate(report.images):
        layers = [layer for layer in report.layers if layer.image == number]
        yield f'<h2 id="image-{number + 1}">{_text(image.file)}</h2>'
        yield f'<img class="seen" src="{_text(image.picture)}" alt="as the network sees it">'
        if report.against is not None:
            yield from _table(layers, rescaled=report.rescaled)
        for layer in layers:
            yield from _layer(layer)


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


def _table(layers: list[LayerFacts], *, rescaled: bool) -> Iterator[str]:
    headings = "".join(f'<th class="n">{heading}</th>' for heading in ("SQNR", "median", "cosine"))
    yield "<table><thead><tr><th>layer</th><th>shape</th>"
    yield f"{headings}<th>factors</th></tr></thead><tbody>"
    for layer in layers:
        *figures, factors = _cells(layer, rescaled=rescaled)
        yield (
            f'<tr><td><a href="#{_anchor(layer)}">{_text(layer.name)}</a></td>'
            f"<td>{' × '.join(map(str, layer.shape))}</td>"
        )
        yield "".join(f'<td class="n">{figure}</td>' for figure in figures)
        yield f"<td>{factors}</td></tr>"
    yield "</tbody></table>"


def _cells(layer: LayerFacts, *, rescaled: bool) -> tuple[str, ...]:
    difference = layer.difference
    if difference is None:
        return "–", "–", "–", "no layer of that name"
    cosine = "–" if difference.cosine is None else f"{difference.cosine:.5f}"
    decibels = map(decibel_words, (difference.sqnr_db, difference.channel_db))
    return (*decibels, cosine, scale_words(difference, rescaled=rescaled))


def _layer(layer: LayerFacts) -> Iterator[str]:
    yield f'<h3 id="{_anchor(layer)}">{_text(layer.name)}</h3>\n<div class="grids">'
    pictures = layer.pictures
    for name in (pictures.model, pictures.against, pictures.difference):
        if name is not None:
            words = _text(f"{layer.name}, {PurePath(name).suffixes[-2][1:]}")
            yield f'<img src="{_text(name)}" alt="{words}" loading="lazy">'
    yield "</div>"


def _anchor(layer: LayerFacts) -> str:
    """The first picture's name without its ending, which no other layer has."""
    return _text(layer.pictures.model.removesuffix(".model.png"))


def _text(words: str) -> str:
    """Words as they are, whatever they hold."""
    return escape(printable(words))
