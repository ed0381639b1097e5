"""How many channels a network's input has, and what that means for its images."""

from __future__ import annotations

from dataclasses import replace

from ghostedge.records.manifest import Inferred
from ghostedge_convert import ResolvedPreprocessing
from ghostedge_convert.checkpoint.config import for_channels as averaged
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
    """A mean and std as a network of so many channels can use them.

    ImageNet's statistics are those of colours: for other channels the default is pixels / 255.
    What a configuration states for another number of channels is averaged, as timm does.
    """
    preprocessing = resolved.preprocessing
    if len(preprocessing.mean) == channels:
        return resolved
    if resolved.origin == "family default" or {"mean", "std"} <= set(resolved.defaulted):
        mean, std = (0.0,) * channels, (1.0,) * channels
    else:
        mean, std = (
            averaged(values, channels) for values in (preprocessing.mean, preprocessing.std)
        )
    return replace(resolved, preprocessing=replace(preprocessing, mean=mean, std=std))


def check_channels(preprocessing: Preprocessing, channels: int) -> None:
    """Refuse a stated mean of another number of channels than the network takes.

    Raises:
        InputError: Says of how many.
    """
    if len(preprocessing.mean) != channels:
        raise InputError(
            f"it has {len(preprocessing.mean)} channels, but the network takes {channels}",
            where="--mean",
            remedy=f"pass --mean and --std with {channels} values each",
        )


def is_for_colours(preprocessing: Preprocessing) -> bool:
    """Whether it has as many channels as ImageNet's statistics."""
    return len(preprocessing.mean) == len(Preprocessing().mean)
