"""What a family of networks states so that its weights are recognised, sized and built.

A `Family` is data. Detection, building and their errors read nothing of a family but what is stated
here, so a new one is one module, which ends in its `Family`, and one row in ``table``. Families
whose members differ by one channel multiplier have a `Multiplier` as their sizes.

A network for grey images, or for images with a fourth channel, differs from the published one in
the weights of its first convolution alone; their shape gives the number of channels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Protocol, TypeVar

import torch
from torch import nn

from ghostedge_runtime.metadata import ArchitectureInfo, Preprocessing

COLOURS = 3

Shapes = Mapping[str, tuple[int, ...]]
T = TypeVar("T")


@dataclass(frozen=True)
class Size:
    """One member's size.

    Attributes:
        label: Its part of the member's name: ``130`` in ``ghostnet_130``.
        description: How messages put it: ``width 1.3``.
        width: The channel multiplier; 1.0 in a family that has none.
        options: Arguments of the network's constructor for it, besides ``num_classes``.
    """

    label: str
    description: str
    width: float
    options: tuple[tuple[str, Hashable], ...]


class Sizes(Protocol):
    """How the sizes of a family are named and found. Hashable: make it a frozen dataclass."""

    @property
    def published(self) -> tuple[str, ...]:
        """The labels of the published members, which errors suggest."""

    def named(self, label: str) -> Size | None:
        """The size of a label, None where it is no label of this family's."""

    def of_width(self, width: float) -> Size | None:
        """The size at a channel multiplier, None where the family has no multiplier."""

    def like(self, shapes: Shapes) -> Size:
        """A size whose network has all the keys that these weights should have."""

    def find(self, shapes: Shapes, fits: Callable[[Size], bool]) -> Size:
        """The size that gives these shapes, or nearly does where none gives them all.

        Args:
            shapes: Of all the family's weights by key; they may be of any rank.
            fits: Whether a size gives exactly these shapes.
        """

    def stated_by(self, architecture: ArchitectureInfo, shapes: Shapes) -> Size:
        """The size that a detected architecture is of."""

    def evidence(self, size: Size, shapes: Shapes) -> str:
        """What in the shapes shows the size, one line."""


@dataclass(frozen=True)
class Form:
    """One way in which weights of a family are stored.

    Attributes:
        network: Called with a size's options and ``num_classes``, makes the network whose
            ``state_dict`` has this form's keys.
        title: What it is called beside the family, e.g. ``training form``; empty for an only form.
        key_pattern: Some key of this form matches it, and none of a form after it in the family's.
    """

    network: Callable[..., nn.Module]
    title: str = ""
    key_pattern: str = ""


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Attributes:
        title: Its published name: ``GhostNetV2``.
        name: What its members' names begin with: ``ghostnetv2`` in ``ghostnetv2_100``.
        sizes: How its sizes are named and found.
        forms: How its weights are stored; the first is taken whose pattern a key has.
        key_pattern: Some key of it matches, and none of a family after it in the table.
        also: What the shapes must fulfil besides.
        variant_of: The name of the family that it is an uncommon variant of, if it is one.
        assumed: Whether it is taken where keys and shapes fit variants of it as well.
        misfit: How far the running means in the weights are from those that the family predicts: 0
            where they agree, None where the weights have none. It decides between variants.
        first: The key of the convolution that reads the image.
        classifier: The key of the classifier's weight, classes × features.
        renames: Other spellings of keys: pattern and replacement, applied to every key.
        unused: A pattern of keys of weights that the authors' code stores and never computes with.
        fuse: Makes the network that is deployed out of one of any form, the same function in
            evaluation mode; None where what is trained is deployed.
        preprocessing: What its published weights are evaluated with.
    """

    title: str
    name: str
    sizes: Sizes
    forms: tuple[Form, ...]
    key_pattern: str
    also: Callable[[Shapes], bool] = lambda _: True
    variant_of: str = ""
    assumed: bool = True
    misfit: Callable[[Mapping[str, torch.Tensor]], float | None] | None = None
    first: str = "conv_stem.weight"
    classifier: str = "classifier.weight"
    renames: tuple[tuple[str, str], ...] = ()
    unused: str = ""
    fuse: Callable[[nn.Module], nn.Module] | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def member(self, size: Size) -> str:
        """The name of a member: ``ghostnet_130``."""
        return f"{self.name}_{size.label}"

    def published(self) -> tuple[str, ...]:
        """The names of the published members."""
        return tuple(f"{self.name}_{label}" for label in self.sizes.published)

    def recognised_by(self, shapes: Shapes) -> str | None:
        """The key that shows that weights of these shapes may be this family's, if any does."""
        key = next((key for key in shapes if re.search(self.key_pattern, key)), None)
        return key if key is not None and self.also(shapes) else None

    def form_of(self, keys: Collection[str]) -> Form:
        """The form that keys are of; the last where no pattern matches."""
        for form in self.forms:
            if any(re.search(form.key_pattern, key) for key in keys):
                return form
        return self.forms[-1]

    def titled(self, form: Form) -> str:
        """The family's title with the form's."""
        return f"{self.title} in its {form.title}" if form.title else self.title

    def own(self, weights: Mapping[str, T]) -> dict[str, T]:
        """The weights that are used, under the family's own spelling of their keys."""
        return {
            self._spelt(key): value
            for key, value in weights.items()
            if not self.unused or re.search(self.unused, key) is None
        }

    def _spelt(self, key: str) -> str:
        for pattern, replacement in self.renames:
            key = re.sub(pattern, replacement, key)
        return key


def shapes_of(weights: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of weights by key."""
    return {key: tuple(value.shape) for key, value in weights.items()}


@lru_cache(maxsize=32)
def expected_shapes(form: Form, size: Size, num_classes: int, in_channels: int = COLOURS) -> Shapes:
    """The ``state_dict`` shapes of a network; nothing is allocated."""
    network = empty_network(form, size, num_classes, in_channels)
    return MappingProxyType(shapes_of(network.state_dict()))


def empty_network(
    form: Form, size: Size, num_classes: int, in_channels: int = COLOURS
) -> nn.Module:
    """A network without values, on torch's ``meta`` device."""
    with torch.device("meta"):
        network = form.network(**dict(size.options), num_classes=num_classes)
    if in_channels != COLOURS:
        set_channels(network, in_channels)
    return network


@dataclass(frozen=True)
class Multiplier:
    """Widths, found by the channels of one layer.

    Attributes:
        widest: The key of a weight whose first axis grows with the width; the widest layer bounds
            the width most tightly.
        channels: Its channels at width 1.0.
        published_widths: Those of published weights.
        rounding: The multiple that channels are rounded to.
    """

    widest: str
    channels: int
    published_widths: tuple[float, ...]
    rounding: int = 4

    @property
    def published(self) -> tuple[str, ...]:
        """The published widths in hundredths, as timm writes them."""
        return tuple(_label(width) for width in self.published_widths)

    def named(self, label: str) -> Size | None:
        """The width that a label gives in hundredths, or as ``0_5x`` does."""
        spelt = re.fullmatch(r"(\d+)_(\d+)x", label)
        if spelt is not None:
            return (
                self.of_width(float(f"{spelt[1]}.{spelt[2]}"))
                if float(spelt[1] + spelt[2])
                else None
            )
        return self.of_width(int(label) / 100) if label.isdecimal() and int(label) else None

    def of_width(self, width: float) -> Size:
        """The size of a width; every width is one."""
        return Size(_label(width), f"width {width}", width, (("width", width),))

    def like(self, shapes: Shapes) -> Size:  # noqa: ARG002 - of the protocol; keys are the same
        """Width 1.0: every width has the same keys."""
        return self.of_width(1.0)

    def find(self, shapes: Shapes, fits: Callable[[Size], bool]) -> Size:
        """The width of fewest decimals that gives these shapes, or nearly does.

        Rounding lets a range of widths give the same shapes, and the widest layer bounds that
        range. Where no width gives all the shapes, the nearest is returned.
        """
        shape = shapes[self.widest]
        about = (shape[0] if shape else 0) / self.channels
        reach = self.rounding / self.channels
        for decimals in range(1, 5):
            width = round(about, decimals)
            if width > 0 and abs(width - about) <= reach and fits(self.of_width(width)):
                return self.of_width(width)
        return self.of_width(max(round(about, 2), 0.01))

    def stated_by(self, architecture: ArchitectureInfo, shapes: Shapes) -> Size:  # noqa: ARG002 - of the protocol; the width suffices
        """The size of the architecture's width."""
        return self.of_width(architecture.width)

    def evidence(self, size: Size, shapes: Shapes) -> str:
        """The widest layer's shape."""
        shape = " × ".join(map(str, shapes[self.widest]))
        return f"{size.description}: from the channels, e.g. {self.widest} is {shape}"


def _label(width: float) -> str:
    return f"{round(width * 100):03d}"


def set_channels(network: nn.Module, channels: int) -> None:
    """Let the convolutions that read the image take so many channels, in place.

    Args:
        network: As published, on torch's ``meta`` device.
        channels: At least 1.
    """
    for _, conv in _stems(network):
        outputs, _, *kernel = conv.weight.shape
        conv.in_channels = channels
        conv.weight = nn.Parameter(torch.empty(outputs, channels, *kernel, device="meta"))


def channels_in(shapes: Mapping[str, tuple[int, ...]], network: nn.Module) -> int:
    """How many channels an image has that these weights are for.

    Args:
        shapes: Of the weights by key; they may be of any rank.
        network: As published, of the same form; its size does not matter.
    """
    for name, _ in _stems(network):
        shape = shapes.get(f"{name}.weight", ())
        if len(shape) == 4 and shape[1]:
            return shape[1]
    return COLOURS


def image_channels(network: nn.Module) -> int:
    """How many channels a network of the family takes: those of its first convolution."""
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    return first.in_channels


def _stems(network: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    """The convolutions that read the image: nothing else in the family has three inputs."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and (module.in_channels, module.groups) == (COLOURS, 1):
            yield name, module
