"""The ways in which networks want their images: what is in use, to be held against the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

from ghostedge_runtime.metadata import IMAGENET_MEAN, IMAGENET_STD, ColorOrder, Preprocessing

ALIKE = 0.02
"""Stds by which two normalisations may differ and no image tells them apart: (x - 127) / 128 and
0.5/0.5 differ by 0.004."""
_CLOSE = 0.2
"""Stds by which two may differ and hardly change what a network answers: ImageNet's and CIFAR-10's
differ by 0.18, which cost GhostNetV2 and V3 0.4 and 0.7 points of top-1 on CIFAR-10; 0.201, the
next nearest, cost 1.4."""

_CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
_BYTE = 1 / 255
_CAFFE = "Caffe's means of bytes"


@dataclass(frozen=True)
class Candidate:
    """One way to make a network's input of an image: ``(pixel / 255 - mean) / std``.

    Attributes:
        name: As people call it.
        mean: For each channel of the network's input, on the [0, 1] scale.
        std: The same.
        color_order: Of these channels; a fourth is transparency in both.
        rarity: How many of its traits few networks have: an order of colours that is unusual with
            its mean and std, CIFAR-10's mean and std.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color_order: ColorOrder
    rarity: int = 0

    def is_like(self, other: Candidate) -> bool:
        """Whether both make the same of an image, but for less than `ALIKE` of the lesser std."""
        return self._differs_by(other) < ALIKE

    def is_close(self, other: Candidate) -> bool:
        """Whether a network answers much the same under both: less than 0.2 of the lesser std."""
        return self._differs_by(other) < _CLOSE

    def _differs_by(self, other: Candidate) -> float:
        """The most that a mean or a std differs by, in lesser stds; infinite in another order."""
        if self.color_order != other.color_order:
            return math.inf
        return max(
            max(abs(mean - its_mean), abs(std - its_std)) / min(std, its_std)
            for mean, std, its_mean, its_std in zip(
                self.mean, self.std, other.mean, other.std, strict=True
            )
        )


_Values = tuple[float, ...]

_ANY: tuple[tuple[str, float, float], ...] = (
    ("(x - 127) / 128", 127 / 255, 128 / 255),
    ("mean and std of 0.5", 0.5, 0.5),
    ("0 to 1", 0.0, 1.0),
    ("0 to 255", 0.0, _BYTE),
)
"""The same for each channel: EfficientNet-Lite's, Inception's and MobileNet's, plain pixels."""

_COLORS: tuple[tuple[str, _Values, _Values], ...] = (
    ("ImageNet's mean and std", IMAGENET_MEAN, IMAGENET_STD),
    ("CIFAR-10's mean and std", _CIFAR_MEAN, (0.2470, 0.2435, 0.2616)),
    ("CIFAR-10's mean, std of each image", _CIFAR_MEAN, (0.2023, 0.1994, 0.2010)),
    (_CAFFE, (123.68 / 255, 116.78 / 255, 103.94 / 255), (_BYTE,) * 3),
)
"""Mean and std of R, G and B. CIFAR-10's std is that of all pixels, or the mean of each image's,
which many recipes state; Caffe's networks take B, G and R less their means, unscaled."""

_GREY: tuple[tuple[str, _Values, _Values], ...] = (
    ("MNIST's mean and std", (0.1307,), (0.3081,)),
    ("ImageNet's mean and std in grey", (0.449,), (0.226,)),
)


def candidate_of(preprocessing: Preprocessing) -> Candidate:
    """The one that a preprocessing is, by its name where it is in use, else as ``its own``."""
    given = Candidate("its own", preprocessing.mean, preprocessing.std, preprocessing.color_order)
    known = [c for c in candidates(given) if c.name != given.name]
    named = min(
        (c for c in known if c.is_like(given)),
        key=lambda c: max(abs(a - b) for a, b in zip(c.std, given.std, strict=True)),
        default=given,
    )
    return replace(given, name=named.name)


def candidates(in_use: Candidate) -> tuple[Candidate, ...]:
    """Every way to be tried: those in use for images of as many channels, in both orders.

    Args:
        in_use: Tried too, in both orders. Of its transparency, where it has that, the others take
            mean and std.
    """
    channels = len(in_use.mean)
    uniform = [(name, (mean,) * channels, (std,) * channels) for name, mean, std in _ANY]
    if channels == 1:
        rows = [*_GREY, *uniform]
    else:
        rows = [
            (name, (*mean, *in_use.mean[3:]), (*std, *in_use.std[3:]))
            for name, mean, std in _COLORS
        ] + uniform
    orders: tuple[ColorOrder, ...] = ("RGB",) if channels == 1 else ("RGB", "BGR")
    tried = [
        Candidate(
            name,
            _ordered(mean, order),
            _ordered(std, order),
            order,
            rarity=((order == "BGR") != (name == _CAFFE)) + name.startswith("CIFAR"),
        )
        for (name, mean, std), order in product(rows, orders)
    ]
    own = [in_use] + [reversed_colors(in_use)] * (channels > 1)
    return (*tried, *(c for c in own if not any(c.is_like(t) for t in tried)))


def reversed_colors(candidate: Candidate) -> Candidate:
    """The same mean and std for each colour, in the other order."""
    order: ColorOrder = "BGR" if candidate.color_order == "RGB" else "RGB"
    return replace(
        candidate,
        mean=_ordered(candidate.mean, "BGR"),
        std=_ordered(candidate.std, "BGR"),
        color_order=order,
    )


def _ordered(values: _Values, order: ColorOrder) -> _Values:
    return values if order == "RGB" or len(values) < 3 else (*values[2::-1], *values[3:])
