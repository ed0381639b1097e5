"""Which layers are drawn, which channels of them, and which are the same in two networks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from ghostedge.formats.format import Layer, Layers
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.formats.backend import format_shape

_SUGGESTED = 3


def choose_layers(layers: Layers, patterns: Sequence[str]) -> list[Layer]:
    """The layers that patterns name, in the graph's order.

    A pattern is a name, or one with ``*``, ``?`` and ``[…]`` in it; the part before the slash alone
    names the module's output: ``blocks.3.0.ghost1`` is ``blocks.3.0.ghost1/Concat``. Without any,
    of each image size the last ghost module or, in a network without such, the last layer.

    Raises:
        InputError: A pattern names nothing, or there is no layer at all.
    """
    if not layers.by_name:
        raise InputError(
            "it has no feature maps: no inner tensor has channels, height and width",
            remedy="give a convolutional network",
        )
    if not patterns:
        return _last_of_each_size(layers.by_name.values())
    chosen = set()
    for pattern in patterns:
        named = [name for name in layers.by_name if _names(pattern, name)]
        named = named or [layers.inner[name] for name in layers.inner if _names(pattern, name)]
        if not named:
            raise _unknown(pattern, layers)
        chosen.update(named)
    return [layer for name, layer in layers.by_name.items() if name in chosen]


def _names(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[0], pattern)


def _unknown(pattern: str, layers: Layers) -> InputError:
    close = difflib.get_close_matches(pattern, layers.by_name, _SUGGESTED, cutoff=0.4)
    return InputError(
        f"no layer is named {pattern!r}",
        where="--layers",
        remedy=f"closest: {', '.join(close)}; --list prints all"
        if close
        else "--list prints their names",
    )


def _last_of_each_size(layers: Iterable[Layer]) -> list[Layer]:
    every = list(layers)
    ghosts = [layer for layer in every if layer.primary]
    # A map of one pixel, as behind a global pooling, is no picture.
    pictures = [layer for layer in ghosts or every if layer.shape[1:] != (1, 1)]
    by_size = {layer.shape[1:]: layer for layer in pictures or every}
    return [layer for layer in every if by_size.get(layer.shape[1:]) is layer]


def counterparts(chosen: Iterable[Layer], layers: Layers, others: Layers) -> dict[str, Layer]:
    """Another network's layers of the same names, by that name; those without are left out.

    A quantizer may drop a ReLU whose work its codes do (ONNX Runtime's does): the layer then has
    the name of the convolution before it.
    """
    before = {layer: inner for inner, layer in layers.inner.items() if inner in others.by_name}
    pairs = {}
    for layer in chosen:
        other = others.by_name.get(layer.name) or others.by_name.get(before.get(layer.name, ""))
        if other is not None:
            pairs[layer.name] = other
    return pairs


def check_same_network(layers: Layers, others: Layers, where: Path) -> None:
    """Refuse a network whose layers of the same names have other shapes.

    Raises:
        InputError: One has, or none has the same name.
    """
    same = counterparts(layers.by_name.values(), layers, others)
    if not same:
        raise InputError(
            "not one of its layers has the name of a layer of MODEL",
            where=where,
            remedy="give a file made from MODEL; --list prints a file's names",
        )
    for name, other in same.items():
        here = layers.by_name[name].shape
        if any(a and b and a != b for a, b in zip(here, other.shape, strict=True)):
            raise InputError(
                f"it is of another network: {name} is {format_shape(other.shape)} in it and "
                f"{format_shape(here)} in MODEL",
                where=where,
                remedy="give a file made from MODEL, for the same input size",
            )


def choose_channels(
    layer: Layer, channels: int, limit: int, worst_first: Sequence[int] | None
) -> list[list[int]]:
    """Groups of channels to draw side by side: a primary one with its ghosts, else one alone.

    Args:
        layer: Whose they are.
        channels: How many it has.
        limit: Draw no more than so many, but at least one group.
        worst_first: The channels in the order of their difference; the groups that come first are
            drawn. Without, groups evenly over all.

    Returns:
        In the order of their first channel.
    """
    groups = _groups(channels, layer.primary)
    count = min(max(1, limit // len(groups[0])), len(groups))
    if worst_first is None:
        chosen = {round(i) for i in np.linspace(0, len(groups) - 1, count)}
        return [groups[i] for i in sorted(chosen)]
    home = {channel: place for place, group in enumerate(groups) for channel in group}
    ranked = list(dict.fromkeys(home[channel] for channel in worst_first))
    return [groups[i] for i in sorted(ranked[:count])]


def _groups(channels: int, primary: int | None) -> list[list[int]]:
    if primary is None:
        return [[channel] for channel in range(channels)]
    ghosts = channels // primary - 1
    return [[c, *range(primary + c * ghosts, primary + (c + 1) * ghosts)] for c in range(primary)]
