"""How many channels a network's input has, and what that means for its images."""

from __future__ import annotations

from dataclasses import replace

from ghostedge.conversion.options import ConvertOptions
from ghostedge.manifest import Inferred
from ghostedge_convert import CheckpointConfig, ResolvedPreprocessing
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.images import MODES
from ghostedge_runtime.metadata import Preprocessing

NOTHING_SAYS = "pixels / 255: nothing says otherwise"
"""Where the mean and std of a network are from that is not for colour images."""


def channel_fact(channels: int, origin: str) -> Inferred:
    """The number, and what images become for it, for a report."""
    words = f"{channels}: {MODES[channels]}" if channels in MODES else str(channels)
    return Inferred("input channels", words, origin)


def for_channels(resolved: ResolvedPreprocessing, channels: int) -> ResolvedPreprocessing:
    """A default mean and std as a network of so many channels can use it.

    ImageNet's statistics are those of colours: for other channels the default is pixels / 255.
    """
    defaulted = resolved.origin == "family default" or {"mean", "std"} <= set(resolved.defaulted)
    if not defaulted or len(resolved.preprocessing.mean) == channels:
        return resolved
    plain = replace(resolved.preprocessing, mean=(0.0,) * channels, std=(1.0,) * channels)
    return replace(resolved, preprocessing=plain)


def check_channels(
    preprocessing: Preprocessing,
    channels: int,
    options: ConvertOptions,
    config: CheckpointConfig | None,
) -> None:
    """Refuse a mean of another number of channels than the network takes.

    Raises:
        InputError: Says where the mean is from.
    """
    if len(preprocessing.mean) != channels:
        stated = "mean" in options.preprocessing.stated()
        origin = "config.json" if config is None else config.origin
        raise InputError(
            f"it has {len(preprocessing.mean)} channels, but the network takes {channels}",
            where="--mean" if stated else f"the mean of {origin}",
            remedy=f"pass --mean and --std with {channels} values each",
        )


def is_for_colours(preprocessing: Preprocessing) -> bool:
    """Whether it has as many channels as ImageNet's statistics."""
    return len(preprocessing.mean) == len(Preprocessing().mean)
