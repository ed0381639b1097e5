"""Networks of the family whose first convolution reads another number of channels than three.

A network for grey images, or for images with a fourth channel, differs from the published one in
nothing but that convolution's weights; how many channels those have, the weights say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn

COLOURS = 3


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
    """How many channels the image has for which these weights are.

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
    first = next(each for each in network.modules() if isinstance(each, nn.Conv2d))
    return first.in_channels


def _stems(network: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    """The convolutions that read the image: nothing else in the family has three inputs."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and (module.in_channels, module.groups) == (COLOURS, 1):
            yield name, module
