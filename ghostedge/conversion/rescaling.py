"""How pixels become the input of an ONNX model that rescales them itself.

What its first nodes did is in :class:`ghostedge_convert.sources.rescaling.InputRescaling`; what
they took is asked for here, for the two together are the preprocessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import FloatSource
from ghostedge_convert.sources.onnx import LoadedOnnx
from ghostedge_convert.sources.rescaling import InputRescaling
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Preprocessing

_PIXEL = 1 / 255
# A rescaling that brings 255 to no more than this expects bytes, and so does one that subtracts
# means which only bytes have, as Caffe's networks do; statistics are those of images where the mean
# lies well inside 0 to 1 and no channel spreads wider.
_LARGEST_INPUT = 25.0
_MEANS_OF_BYTES = (10.0, 245.0)
_MEANS, _STDS = (0.05, 0.95), (0.05, 1.0)


@dataclass(frozen=True)
class Normalization:
    """Mean and std that include the model's own rescaling.

    Attributes:
        preprocessing: The one they were put into.
        origin: Where they are from, for a report.
    """

    preprocessing: Preprocessing
    origin: str


def joint_normalization(
    model: LoadedOnnx, preprocessing: Preprocessing, options: ConvertOptions, *, says_itself: bool
) -> Normalization | None:
    """The preprocessing with what the model's first nodes do; None where they do nothing.

    Args:
        model: The model.
        preprocessing: What flags, a config.json or the default say of its input, for its channels.
        options: With the flags.
        says_itself: Whether the file carries the preprocessing of its input.

    Raises:
        InputError: A flag states how pixels become floats, and the model takes the pixels.
    """
    rescaling, channels = model.rescaling, len(model.rescaling.factor)
    flags = [
        f"--{name}" for name in ("mean", "std") if name in options.source.preprocessing.stated()
    ]
    if not model.takes_pixels and not rescaling.present:
        return None
    if model.takes_pixels and flags:
        raise InputError(
            "the model takes uint8 pixels and normalises them itself",
            where=" and ".join(flags),
            remedy="leave it out",
        )
    mean, std, takes = preprocessing.mean, preprocessing.std, "what the preprocessing makes"
    unit = _PIXEL if model.takes_pixels else None if flags or says_itself else _range(rescaling)
    if unit is not None:
        mean, std = (0.0,) * channels, (unit,) * channels
        takes = "0 to 255" if unit == _PIXEL else "0 to 1"
    elif flags:
        takes = f"what {' and '.join(flags)} make"
    mean, std = rescaling.normalization(mean, std)
    return Normalization(
        replace(preprocessing, mean=mean, std=std),
        f"from the model's own first nodes, which take {takes}",
    )


def takes_bytes(rescaling: InputRescaling) -> bool:
    """Whether a rescaling is one of pixels of 0 to 255."""
    return max(rescaling.factor) * 255 <= _LARGEST_INPUT or _within(
        _own(rescaling)[0], _MEANS_OF_BYTES
    )


def _range(rescaling: InputRescaling) -> float | None:
    """What 1 in the images that a rescaling was made for is of its input; None if that is unclear.

    It may as well be a layer, or change one normalisation to another.
    """
    if takes_bytes(rescaling):
        return _PIXEL
    mean, std = _own(rescaling)
    return 1.0 if _within(mean, _MEANS) and _within(std, _STDS) else None


def _own(rescaling: InputRescaling) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean that a rescaling subtracts, and what it divides by."""
    return rescaling.normalization([0.0] * len(rescaling.factor), [1.0] * len(rescaling.factor))


def _within(values: Sequence[float], bounds: tuple[float, float]) -> bool:
    return bounds[0] <= min(values) and max(values) <= bounds[1]


def without_normalization(options: ConvertOptions) -> ConvertOptions:
    """The options, their mean and std being in the preprocessing already."""
    preprocessing = replace(options.source.preprocessing, mean=None, std=None)
    return replace(options, source=replace(options.source, preprocessing=preprocessing))


def with_origin(source: FloatSource, origin: str) -> FloatSource:
    """Say where the mean and std are from."""
    facts = tuple(
        replace(fact, origin=origin) if fact.name in ("mean", "std") else fact
        for fact in source.inferred
    )
    return replace(source, inferred=facts)
