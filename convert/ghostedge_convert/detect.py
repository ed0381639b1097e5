"""Which member of the family a checkpoint is, from the shapes of its weights alone.

The family is told by the keys, the width by the channels, the classes by the classifier. What the
user or a ``config.json`` says besides is checked against the shapes, never believed over them. A
``config.json`` that is wrong where the user has stated what is right is noted and passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import torch

from ghostedge_convert.checkpoint import Checkpoint
from ghostedge_convert.families import (
    GHOSTNET,
    Family,
    parse_architecture,
    refuse_relative,
)
from ghostedge_convert.mismatch import refuse_keys, refuse_shapes
from ghostedge_runtime.errors import CheckpointError, InputError
from ghostedge_runtime.metadata import ArchitectureInfo

Shapes = Mapping[str, tuple[int, ...]]

# The widest layer bounds the width most tightly; its channels at width 1.0.
_WIDEST = "blocks.9.0.conv.weight"
_WIDEST_CHANNELS = 960
_CLASSIFIER = "classifier.weight"


@dataclass(frozen=True)
class Detection:
    """What a checkpoint was found to be.

    Attributes:
        architecture: The member.
        evidence: How each part of it was found, a line each.
    """

    architecture: ArchitectureInfo
    evidence: tuple[str, ...]


def identify(
    checkpoint: Checkpoint,
    *,
    arch: str | None = None,
    width: float | None = None,
    num_classes: int | None = None,
) -> ArchitectureInfo:
    """The architecture of a checkpoint; see `detect_architecture`."""
    return detect_architecture(
        checkpoint, arch=arch, width=width, num_classes=num_classes
    ).architecture


def detect_architecture(
    checkpoint: Checkpoint,
    *,
    arch: str | None = None,
    width: float | None = None,
    num_classes: int | None = None,
) -> Detection:
    """Find family, width and number of classes, and check them against every shape.

    Args:
        checkpoint: The weights.
        arch: What the user says it is, e.g. ``ghostnet`` or ``ghostnet_100``.
        width: What the user says the channel multiplier is.
        num_classes: What the user says the number of classes is.

    Raises:
        CheckpointError: The weights are not a supported network's, or contradict what is said.
        InputError: ``arch`` is not a name of the family, or a number is not positive.
    """
    where = checkpoint.source.file
    shapes = {key: tuple(value.shape) for key, value in checkpoint.weights.items()}
    said_family, said_width = _said(arch, width, num_classes)
    refuse_relative(shapes, where)
    family = said_family or GHOSTNET
    refuse_keys(shapes, expected_shapes(family, 1.0, 1000), family.title, where)
    classes = _num_classes(shapes, said=num_classes, where=where)
    found = _width(shapes, family, classes, said=said_width, where=where)
    refuse_shapes(shapes, expected_shapes(family, found, classes), family.member(found), where)
    info = ArchitectureInfo(family.member(found), family.name, found, classes)
    notes = [
        *_check_config_classes(checkpoint, info, stated=num_classes is not None),
        *_check_config_name(checkpoint, info, stated=arch is not None or width is not None),
    ]
    evidence = (
        f"{family.title}: all its {len(shapes)} weights are there, and no others",
        _width_evidence(shapes, found, said=said_width),
        f"{classes} classes: {_CLASSIFIER} is {_times(shapes[_CLASSIFIER])}",
        *notes,
    )
    return Detection(info, evidence)


@lru_cache(maxsize=8)
def expected_shapes(family: Family, width: float, num_classes: int) -> Shapes:
    """The ``state_dict`` shapes of a member; nothing is allocated."""
    with torch.device("meta"):
        network = family.network(width=width, num_classes=num_classes)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    return MappingProxyType(shapes)


def _said(
    arch: str | None, width: float | None, num_classes: int | None
) -> tuple[Family | None, float | None]:
    """The family and width that the user's arguments amount to."""
    for value, name in ((width, "width"), (num_classes, "num_classes")):
        if value is not None and not 0 < value < 1e6:
            raise InputError(
                f"{value} is not a positive number", where=name, remedy="leave it out to infer it"
            )
    if arch is None:
        return None, width
    family, named = parse_architecture(arch)
    if named is not None and width is not None and round(width * 100) != round(named * 100):
        raise InputError(
            f"{arch} is of width {named}, but width {width} is given",
            where="width",
            remedy="leave one of the two out",
        )
    return family, named if width is None else width


def _num_classes(shapes: Shapes, *, said: int | None, where: str) -> int:
    shape = shapes[_CLASSIFIER]
    if len(shape) != 2 or shape[0] < 1:
        raise CheckpointError(
            f"{_CLASSIFIER} is {_times(shape)}, not classes × features",
            where=where,
            remedy="pass the weights of a GhostNet V1 classifier",
        )
    if said is not None and said != shape[0]:
        raise CheckpointError(
            f"num_classes is given as {said}, but {_CLASSIFIER} is {_times(shape)}: "
            f"{shape[0]} classes",
            where=where,
            remedy="leave it out, or pass the checkpoint it belongs to",
        )
    return shape[0]


def _width(
    shapes: Shapes, family: Family, classes: int, *, said: float | None, where: str
) -> float:
    found = _roundest_width(shapes, family, classes)
    if said is None:
        return found
    expected = expected_shapes(family, said, classes)
    off = next((key for key in expected if key in shapes and expected[key] != shapes[key]), None)
    if off is not None:
        raise CheckpointError(
            f"width is given as {said}, at which {off} is {_times(expected[off])}, but in the "
            f"file it is {_times(shapes[off])}: width {found}",
            where=where,
            remedy="leave it out, or pass the checkpoint it belongs to",
        )
    return said


def _roundest_width(shapes: Shapes, family: Family, classes: int) -> float:
    """The width of fewest decimals that gives these shapes, or nearly does.

    Rounding to multiples of 4 lets a range of widths give the same shapes, and the widest layer
    bounds that range to about ±0.4 %. Where no width gives all the shapes, the nearest is returned
    and the check of shapes tells which differ.
    """
    shape = shapes[_WIDEST]
    about = (shape[0] if shape else 0) / _WIDEST_CHANNELS
    reach = 4 / _WIDEST_CHANNELS
    for decimals in range(1, 5):
        width = round(about, decimals)
        if abs(width - about) > reach or width <= 0:
            continue
        expected = expected_shapes(family, width, classes)
        if all(shapes.get(key, shape) == shape for key, shape in expected.items()):
            return width
    return max(round(about, 2), 0.01)


def _width_evidence(shapes: Shapes, width: float, *, said: float | None) -> str:
    if said is not None:
        return f"width {width}: as given, and all shapes agree"
    return f"width {width}: from the channels, e.g. {_WIDEST} is {_times(shapes[_WIDEST])}"


def _check_config_classes(
    checkpoint: Checkpoint, info: ArchitectureInfo, *, stated: bool
) -> list[str]:
    """Hold the classes and labels of the ``config.json`` against the shapes.

    Raises:
        CheckpointError: They are of another number, and the user has not stated the right one.
    """
    config = checkpoint.config
    if config is None:
        return []
    labels = None if config.labels is None else len(config.labels)
    wrong = [n for n in (config.num_classes, labels) if n not in (None, info.num_classes)]
    if not wrong:
        return []
    return _contradiction(
        f"config.json speaks of {wrong[0]} classes, but the weights are of {info.num_classes}",
        checkpoint,
        flag=f"--num-classes {info.num_classes}",
        stated=stated,
    )


def _check_config_name(
    checkpoint: Checkpoint, info: ArchitectureInfo, *, stated: bool
) -> list[str]:
    """Hold the architecture that the ``config.json`` names against the one that was found.

    Raises:
        CheckpointError: It names another member, and the user has not stated the right one.
    """
    config = checkpoint.config
    if config is None or config.architecture is None:
        return []
    try:
        family, width = parse_architecture(config.architecture)
    except InputError:
        return [f"config.json calls it {config.architecture!r}, a name that is not of the family"]
    if family.name == info.family and (width is None or family.member(width) == info.name):
        return [f"config.json agrees: {config.architecture}"]
    return _contradiction(
        f"config.json says {config.architecture}, but the weights are of {info.name}",
        checkpoint,
        flag=f"--arch {info.name}",
        stated=stated,
    )


def _contradiction(what: str, checkpoint: Checkpoint, *, flag: str, stated: bool) -> list[str]:
    if stated:
        return [f"{what}; passed over, since the flags say so too"]
    raise CheckpointError(
        what,
        where=checkpoint.source.file,
        remedy=f"correct config.json, or pass {flag} if it belongs to other weights",
    )


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a scalar"
