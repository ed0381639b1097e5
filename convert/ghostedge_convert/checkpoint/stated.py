"""What flags and a ``config.json`` state of a network, held against what its weights are.

The weights decide. A flag that contradicts them is refused; so is a ``config.json``, unless a flag
states what is right: then it is noted and passed over.
"""

from __future__ import annotations

from ghostedge_convert.architectures.family import Family, Size
from ghostedge_convert.architectures.table import parse_architecture
from ghostedge_convert.checkpoint.config import CheckpointConfig
from ghostedge_convert.checkpoint.load import Checkpoint
from ghostedge_runtime.errors import CheckpointError, InputError
from ghostedge_runtime.metadata import ArchitectureInfo


def stated_network(
    arch: str | None, width: float | None, num_classes: int | None
) -> tuple[Family | None, Size | None]:
    """The family and size that the user's arguments amount to.

    Raises:
        InputError: ``arch`` is no name, a number is not positive, or the two contradict each other.
    """
    for value, name in ((width, "width"), (num_classes, "num_classes")):
        if value is not None and not 0 < value < 1e6:
            raise InputError(
                f"{value} is not a positive number", where=name, remedy="leave it out to infer it"
            )
    if arch is None:
        return None, None
    family, named = parse_architecture(arch)
    if named is None or width is None:
        return family, named
    if size_of_width(family, width).label != named.label:
        raise InputError(
            f"{arch} is of {named.description}, but width {width} is given",
            where="width",
            remedy="leave one of the two out",
        )
    return family, size_of_width(family, width)


def size_of_width(family: Family, width: float) -> Size:
    """The size at a channel multiplier.

    Raises:
        InputError: The family has no multiplier.
    """
    size = family.sizes.of_width(width)
    if size is None:
        raise InputError(
            f"a {family.title} has no width",
            where="width",
            remedy=f"leave it out, or name the member: --arch {family.published()[0]}",
        )
    return size


def family_named_by(config: CheckpointConfig | None) -> Family | None:
    """The family of the architecture that a ``config.json`` names."""
    if config is None or config.architecture is None:
        return None
    try:
        return parse_architecture(config.architecture)[0]
    except InputError:
        return None


def check_stated_classes(
    checkpoint: Checkpoint, info: ArchitectureInfo, *, stated: bool
) -> list[str]:
    """Hold the classes and labels of the ``config.json`` against the shapes.

    Raises:
        CheckpointError: They are of another number, and the user has not stated the right one.
    """
    config = checkpoint.config
    if config is None:
        return []
    counts = [(config.num_classes, config.origin)]
    if config.labels is not None:
        counts.append((len(config.labels), config.labels_origin))
    # A single score can tell two classes apart.
    fitting = {None, info.num_classes, max(2, info.num_classes)}
    wrong = [(count, origin) for count, origin in counts if count not in fitting]
    if not wrong:
        return []
    number, origin = wrong[0]
    return _contradiction(
        f"{origin} speaks of {number} classes, but the weights are of {info.num_classes}",
        checkpoint,
        origin,
        flag=f"--num-classes {info.num_classes}",
        stated=stated,
    )


def check_stated_name(checkpoint: Checkpoint, info: ArchitectureInfo, *, stated: bool) -> list[str]:
    """Hold the architecture that the ``config.json`` names against the one that was found.

    Raises:
        CheckpointError: It names another member, and the user has not stated the right one.
    """
    config = checkpoint.config
    if config is None or config.architecture is None:
        return []
    try:
        family, size = parse_architecture(config.architecture)
    except InputError:
        name = repr(config.architecture)
        return [f"{config.origin} calls it {name}, a name that is not of the family"]
    if family.name == info.family and (size is None or family.member(size) == info.name):
        return [f"{config.origin} agrees: {config.architecture}"]
    return _contradiction(
        f"{config.origin} says {config.architecture}, but the weights are of {info.name}",
        checkpoint,
        config.origin,
        flag=f"--arch {info.name}",
        stated=stated,
    )


def _contradiction(
    what: str, checkpoint: Checkpoint, origin: str, *, flag: str, stated: bool
) -> list[str]:
    if stated:
        return [f"{what}; passed over, since the flags say so too"]
    correct = f"correct {origin}, or " if origin == "config.json" else ""
    raise CheckpointError(
        what,
        where=checkpoint.source.file,
        remedy=f"{correct}pass {flag} if it belongs to other weights",
    )
