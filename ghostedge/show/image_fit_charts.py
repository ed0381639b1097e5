"""What a conversion's images showed, layer by layer, drawn on axes. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter

from ghostedge.records.image_fit import WIDENED, ImageFit
from ghostedge.show.drawing import LIGHT, PLAIN, Dot, bare
from ghostedge.show.words import elided
from ghostedge.terminal import printable

_LEAST = 1e-4
"""The divergence that the chart begins at: what is less is none."""
_NAME = 40


def draw_divergences(ax: Axes, fit: ImageFit) -> dict[str, list[Dot]]:
    """Each batch norm's divergence in the graph's order, by powers of ten."""
    values = {i: max(layer.divergence, _LEAST) for i, layer in enumerate(fit.layers)}
    words = [
        f"{printable(layer.module)}\ndivergence {layer.divergence:.2g}" for layer in fit.layers
    ]
    ax.set_yscale("log")
    _stems(ax, "norms", values, LIGHT["s0"], _LEAST)
    ax.set_ylim(_LEAST, max(1.0, 4 * max(values.values())))
    _by_place(ax, len(values), "batch norm, in the graph's order")
    ax.yaxis.set_major_formatter(PLAIN)
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylabel("divergence")
    worst = max(values, key=lambda place: values[place])
    _name(ax, worst, values[worst], words[worst].partition("\n")[0])
    return {"norms": [Dot(place, text) for place, text in enumerate(words)]}


def draw_ranges(ax: Axes, fit: ImageFit) -> dict[str, list[Dot]]:
    """The share of numbers that each int8 range clips; red where one image sets the range."""
    dots: dict[str, list[Dot]] = {}
    for alone, colour in ((False, LIGHT["s0"]), (True, LIGHT["warn"])):
        values = {
            place: use.clipped_pct
            for place, use in enumerate(fit.ranges)
            if (use.widening >= WIDENED) == alone
        }
        if values:
            name = f"ranges-{'alone' if alone else 'shared'}"
            _stems(ax, name, values, colour, 0.0)
            dots[name] = [Dot(place, _range_words(fit, place)) for place in values]
    ax.set_ylim(0, max(0.1, 1.1 * max(use.clipped_pct for use in fit.ranges)))
    _by_place(ax, len(fit.ranges), "int8 range, in the graph's order")
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_formatter(PLAIN)
    ax.set_ylabel("clipped, %")
    return dots


def _range_words(fit: ImageFit, place: int) -> str:
    use = fit.ranges[place]
    return (
        f"{printable(use.tensor)}\nclips {use.clipped_pct:.2g} % of the numbers\n"
        f"{use.widening:.2f} times as wide as without {printable(use.widest_image)}"
    )


def _stems(ax: Axes, group: str, values: Mapping[int, float], colour: str, low: float) -> None:
    """A dot on a line for each place's value."""
    across, heights = [place + 1 for place in values], list(values.values())
    ax.vlines(across, low, heights, color=colour, linewidth=1.2)
    ax.plot(
        across,
        heights,
        linestyle="none",
        marker="o",
        markersize=5.0,
        color=colour,
        gid=group,
        clip_on=False,
    )


def _name(ax: Axes, place: int, height: float, name: str) -> None:
    """Write a layer's name over its dot, towards the middle."""
    is_left = place + 1 < ax.get_xlim()[1] / 2
    ax.annotate(
        elided(name, _NAME),
        (place + 1, height),
        (-4 if is_left else 4, 8),
        textcoords="offset points",
        ha="left" if is_left else "right",
        color=LIGHT["soft"],
    )


def _by_place(ax: Axes, count: int, label: str) -> None:
    ax.set_xlim(0, count + 1)
    bare(ax, "y")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel(label)
