"""Curves over a corruption's strength: small charts, those of a group with the same axis.

A group is a float file and the files that stand beside it; a file that stands beside none is a
group of its own. Of each corruption one chart has the accuracy, another what the files lose beyond
their clean drop, which would be hard to see in the first. Needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup
from matplotlib.axes import Axes

from ghostedge.comparison.corrupted import (
    LOST_POINTS,
    CorruptedPair,
    StrengthLoss,
    corrupted_pairs,
    scored_once,
)
from ghostedge.show.contents import Contents, Entry
from ghostedge.show.drawing import LIGHT, PLAIN, Dot, bare, linear, series_marker, series_name
from ghostedge.show.svg import ChartMaker, Frame
from ghostedge_runtime.corruptions import STRENGTHS
from ghostedge_runtime.record import AS_THEY_ARE, CorruptionScores

_ACCURACY = Frame("small", 330, 168, left=40, right=12)
_LOSS = Frame("small", 330, 132, left=40, right=12, top=24)
_ASIDE = 0.07
"""How far apart the points of several files stand along x, in strengths."""
_TICKS = ("clean", *map(str, STRENGTHS))


@dataclass(frozen=True)
class Curve:
    """A file over the strengths of every corruption.

    Attributes:
        entry: The file.
        scores: Its own.
        pair: How it stands to the float file; None of that file itself.
    """

    entry: Entry
    scores: CorruptionScores
    pair: CorruptedPair | None

    def top1(self, corruption: str) -> list[float]:
        """Clean, then at each strength, in percent."""
        wanted = (AS_THEY_ARE, corruption)
        return [each.top1_pct for each in self.scores.scores if each.corruption in wanted]

    def losses(self, corruption: str) -> tuple[StrengthLoss, ...]:
        """What is lost at each strength; none of the float file itself."""
        every = () if self.pair is None else self.pair.losses
        return next((loss.strengths for loss in every if loss.corruption == corruption), ())


@dataclass(frozen=True)
class CorruptionGroup:
    """A float file, those that stand beside it, and their charts.

    Attributes:
        curves: The float file's first.
        charts: Name of a corruption and its charts.
    """

    curves: tuple[Curve, ...]
    charts: tuple[tuple[str, tuple[Markup, ...]], ...]


def corruption_groups(contents: Contents, maker: ChartMaker) -> tuple[CorruptionGroup, ...]:
    """The groups of every run, drawn."""
    groups = []
    for run in range(len(contents.runs)):
        for curves in _grouped(contents.entries_of(run)):
            names = dict.fromkeys(each.corruption for each in curves[0].scores.scores)
            charts = tuple(
                (name, tuple(_charts(curves, name, maker))) for name in names if name != AS_THEY_ARE
            )
            groups.append(CorruptionGroup(curves, charts))
    return tuple(groups)


def _grouped(entries: Sequence[Entry]) -> Iterator[tuple[Curve, ...]]:
    results = [entry.result for entry in entries]
    pairs = corrupted_pairs(results)
    others = {pair.other for pair in pairs}
    for place, scores in scored_once(results):
        if place not in others:
            beside = [pair for pair in pairs if pair.reference == place]
            yield (
                Curve(entries[place], scores, None),
                *(Curve(entries[pair.other], pair.scores, pair) for pair in beside),
            )


def _charts(curves: Sequence[Curve], corruption: str, maker: ChartMaker) -> Iterator[Markup]:
    group = f"worse-{curves[0].entry.number}-{corruption}"
    yield maker.make(
        _ACCURACY,
        f"Top-1 over the strength of {corruption}",
        partial(draw_accuracy, curves=curves, corruption=corruption, group=group),
    )
    if len(curves) > 1:
        yield maker.make(
            _LOSS,
            f"Points lost beyond the clean drop over the strength of {corruption}",
            partial(draw_losses, curves=curves, corruption=corruption, group=f"{group}-loss"),
        )


def draw_accuracy(
    ax: Axes, curves: Sequence[Curve], corruption: str, group: str
) -> dict[str, list[Dot]]:
    """A line for each file, the float file's broad and pale under the others.

    Returns:
        The dots by group, for the page.
    """
    dots = {}
    for index, curve in enumerate(curves):
        name, values = f"{group}-{index}", curve.top1(corruption)
        broad = index == 0 and len(curves) > 1
        ax.plot(
            range(len(values)),
            values,
            color=LIGHT[series_name(index)],
            alpha=0.45 if broad else 1,
            linewidth=5 if broad else 1.5,
            marker=series_marker(index),
            markersize=9 if broad else 4.5,
            gid=name,
        )
        dots[name] = [
            Dot(
                strength,
                f"{curve.entry.name}\n{corruption}, {_TICKS[strength]}: top-1 {value:.2f} %",
            )
            for strength, value in enumerate(values)
        ]
    _along_strengths(ax, [each.top1_pct for curve in curves for each in curve.scores.scores])
    ax.set_ylabel("top-1, %")
    return dots


def draw_losses(
    ax: Axes, curves: Sequence[Curve], corruption: str, group: str
) -> dict[str, list[Dot]]:
    """What each file loses beyond its clean drop, with the 95 % interval and the bound.

    Returns:
        The dots by group, for the page.
    """
    ax.axhline(0, color=LIGHT["line"], linewidth=1.2)
    ax.axhline(LOST_POINTS, color=LIGHT["warn"], linewidth=1, linestyle=(0, (4, 3)))
    dots = {}
    for index, curve in enumerate(curves[1:], 1):
        losses, name = curve.losses(corruption), f"{group}-{index}"
        colour = LIGHT[series_name(index)]
        xs = [loss.strength + _ASIDE * (index - 1) for loss in losses]
        ends = [(loss.beyond.low, loss.beyond.high) for loss in losses]
        ax.vlines(xs, [low for low, _ in ends], [high for _, high in ends], color=colour, alpha=0.5)
        ys = [loss.beyond.value for loss in losses]
        ax.plot(
            xs,
            ys,
            linestyle="none",
            color=colour,
            marker=series_marker(index),
            markersize=4,
            gid=name,
        )
        weak = [(x, y) for x, y, loss in zip(xs, ys, losses, strict=True) if loss.gives_way]
        _ring(ax, weak)
        dots[name] = [Dot(at, _loss_words(curve, corruption, at)) for at in range(len(losses))]
    every = [loss.beyond for curve in curves[1:] for loss in _all_losses(curve)]
    _along_strengths(ax, [end for each in every for end in (each.low, each.high)])
    ax.set_xticks(STRENGTHS)
    ax.annotate(
        "points lost beyond clean",
        (0, 1),
        (-30, 13),
        xycoords="axes fraction",
        textcoords="offset points",
        va="center",
        color=LIGHT["soft"],
    )
    return dots


def _all_losses(curve: Curve) -> list[StrengthLoss]:
    every = () if curve.pair is None else curve.pair.losses
    return [loss for corruption in every for loss in corruption.strengths]


def _ring(ax: Axes, places: Sequence[tuple[float, float]]) -> None:
    ax.plot(
        [x for x, _ in places],
        [y for _, y in places],
        linestyle="none",
        marker="o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor=LIGHT["warn"],
        markeredgewidth=1.6,
    )


def _loss_words(curve: Curve, corruption: str, at: int) -> str:
    loss = curve.losses(corruption)[at]
    beyond, sure = loss.beyond, ", shown" if loss.shown else ""
    interval = f"95 %: {beyond.low:.2f} to {beyond.high:.2f}"
    return (
        f"{curve.entry.name}\n{corruption}, {loss.strength}: "
        f"{beyond.value:.2f} points beyond clean ({interval}){sure}"
    )


def _along_strengths(ax: Axes, every: Sequence[float]) -> None:
    """Strengths along x; up, room for all that the group shows, so that its charts compare."""
    bare(ax, "y")
    low, high = min(every), max(every)
    margin = max(0.06 * (high - low), 0.2)
    ax.set_ylim(low - margin, high + margin)
    ax.set_xlim(-0.25, len(STRENGTHS) + 0.35)
    ax.set_xticks(range(len(_TICKS)), _TICKS)
    ax.yaxis.set_major_locator(linear(4))
    ax.yaxis.set_major_formatter(PLAIN)
    ax.set_xlabel("strength")
