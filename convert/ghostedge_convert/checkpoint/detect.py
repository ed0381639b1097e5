"""Which network a checkpoint is of, from the shapes of its weights alone.

The family is told by the keys, the size by the shapes, the classes by the classifier. What the
user or a ``config.json`` says besides is checked against the shapes, never believed over them. A
``config.json`` that is wrong where the user has stated what is right is noted and passed over.

A checkpoint becomes a torch module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from ghostedge_convert.architectures.family import (
    COLOURS,
    Family,
    Form,
    Shapes,
    Size,
    channels_in,
    empty_network,
    expected_shapes,
)
from ghostedge_convert.architectures.keys import listed, own_weights, refuse_keys, refuse_shapes
from ghostedge_convert.architectures.table import (
    FAMILIES,
    parse_architecture,
    tell_family,
    twins_of,
)
from ghostedge_convert.checkpoint.config import CheckpointConfig
from ghostedge_convert.checkpoint.load import Checkpoint
from ghostedge_runtime.errors import CheckpointError, InputError
from ghostedge_runtime.metadata import ArchitectureInfo

# Kept means fit the network that was trained within some percent, for they lag behind its weights,
# and another one hardly at all.
_FITS, _APART = 0.25, 3.0


@dataclass(frozen=True)
class Detection:
    """What a checkpoint was found to be.

    Attributes:
        architecture: The member.
        evidence: How each part of it was found, a line each.
        twins: The names of other members whose weights have the same keys and shapes, where it was
            not said which of them it is.
        measured: Whether the means that batch norms kept told it from them.
    """

    architecture: ArchitectureInfo
    evidence: tuple[str, ...]
    twins: tuple[str, ...] = ()
    measured: bool = False


@dataclass(frozen=True)
class _Found:
    """A family, and those that the keys cannot tell it from and nothing said does.

    Attributes:
        family: The family that is taken.
        twins: The others.
        misfit: How far off the family's own means are, where they told; None where they did not.
        next_misfit: How far off those of the next best are.
    """

    family: Family
    twins: tuple[Family, ...] = ()
    misfit: float | None = None
    next_misfit: float = 0.0

    def words(self, size: Size) -> list[str]:
        """What a person is told of the twins."""
        if not self.twins:
            return []
        title = self.family.title
        others = ", ".join(f"a {each.title} (--arch {each.member(size)})" for each in self.twins)
        line = f"the weights' keys cannot tell a {title} from {others}"
        if self.misfit is not None:
            line += (
                f"; the means that its batch norms kept do: they are {self.misfit:.0%} off this "
                f"one's, {self.next_misfit:.0%} off the next"
            )
        return [line]


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
        InputError: ``arch`` is no name, or a number is not positive.
    """
    where = checkpoint.source.file
    said_family, said_size = _said(arch, width, num_classes)
    found = _family(checkpoint, said_family)
    family = found.family
    own = own_weights(checkpoint.weights, family, where)
    shapes = {key: tuple(value.shape) for key, value in own.weights.items()}
    form = own.form
    title = family.titled(form)
    like = family.sizes.like(shapes)
    refuse_keys(shapes, expected_shapes(form, like, 1000), title, where)
    channels = channels_in(shapes, empty_network(form, like, 1000))
    classes = _num_classes(shapes, family, said=num_classes, where=where)
    said_size = said_size or (None if width is None else _of_width(family, width))
    expected = partial(expected_shapes, form, num_classes=classes, in_channels=channels)
    size = _size(shapes, family, expected, said=said_size, where=where)
    name = family.member(size)
    refuse_shapes(shapes, expected(size), name, where, title=family.title)
    info = ArchitectureInfo(name, family.name, size.width, classes)
    told = family.sizes.evidence(size, shapes)
    evidence = (
        f"{title}: all its {len(shapes)} weights are there, and no others",
        *own.notes,
        *_fused_on_load(family, form),
        *found.words(size),
        told if said_size is None else f"{size.words}: as given, and all shapes agree",
        f"{classes} classes: {family.classifier} is {_times(shapes[family.classifier])}",
        *([] if channels == COLOURS else [f"{channels} input channels: the first conv's weights"]),
        *_check_config_classes(checkpoint, info, stated=num_classes is not None),
        *_check_config_name(checkpoint, info, stated=arch is not None or width is not None),
    )
    twins = tuple(each.member(size) for each in found.twins)
    return Detection(info, evidence, twins, found.misfit is not None)


def _said(
    arch: str | None, width: float | None, num_classes: int | None
) -> tuple[Family | None, Size | None]:
    """The family and size that the user's arguments amount to."""
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
    if _of_width(family, width).label != named.label:
        raise InputError(
            f"{arch} is of {named.words}, but width {width} is given",
            where="width",
            remedy="leave one of the two out",
        )
    return family, _of_width(family, width)


def _of_width(family: Family, width: float) -> Size:
    size = family.sizes.of_width(width)
    if size is None:
        raise InputError(
            f"a {family.title} has no width",
            where="width",
            remedy=f"leave it out, or name the member: --arch {family.published()[0]}",
        )
    return size


def _family(checkpoint: Checkpoint, said: Family | None) -> _Found:
    """The family that the keys tell, which is the one that is said, if any is."""
    where = checkpoint.source.file
    shapes = {key: tuple(value.shape) for key, value in checkpoint.weights.items()}
    recognised = tell_family(shapes)
    if recognised is None and said is not None:
        return _Found(said)
    if recognised is None:
        titles = [family.title for family in FAMILIES.values() if not family.variant_of]
        raise CheckpointError(
            "these are weights of no network of the family: no key is like any of "
            f"{', '.join(titles)}; the file has {listed(tuple(checkpoint.weights))}",
            where=where,
            remedy="pass the weights of such a network, with its original keys, or name what makes "
            "your own with --factory",
        )
    told, key = recognised
    alike = (told, *twins_of(told, shapes))
    if said is not None and said not in alike:
        raise CheckpointError(
            f"these are weights of a {told.title} (it has {key}), but arch says {said.title}",
            where=where,
            remedy="leave it out, or pass the checkpoint it belongs to",
        )
    named = said or _named_by(checkpoint.config)
    if named in alike:
        return _Found(named or told)
    return _undecided(alike, checkpoint) if len(alike) > 1 else _Found(told)


def _undecided(alike: tuple[Family, ...], checkpoint: Checkpoint) -> _Found:
    """One of families that keys do not tell apart: as measured, else the one that is assumed."""
    misfits = [each.misfit(checkpoint.weights) for each in alike if each.misfit is not None]
    known = [misfit for misfit in misfits if misfit is not None]
    if len(known) == len(alike):
        best, following = sorted(known)[:2]
        if best < _FITS and following > _APART * best:
            family = alike[known.index(best)]
            return _Found(family, _others(alike, family), best, following)
    told, *_ = alike
    if told.assumed:
        return _Found(told, _others(alike, told))
    names = [each.name for each in alike]
    raise CheckpointError(
        f"its keys and shapes are those of {', '.join(names)} alike, which compute different "
        "functions",
        where=checkpoint.source.file,
        remedy=f"say which it is: --arch {' or --arch '.join(names)}",
    )


def _others(alike: tuple[Family, ...], family: Family) -> tuple[Family, ...]:
    return tuple(each for each in alike if each is not family)


def _named_by(config: CheckpointConfig | None) -> Family | None:
    """The family of the architecture that a ``config.json`` names."""
    if config is None or config.architecture is None:
        return None
    try:
        return parse_architecture(config.architecture)[0]
    except InputError:
        return None


def _fused_on_load(family: Family, form: Form) -> list[str]:
    if family.fuse is None or form is family.forms[-1]:
        return []
    return ["re-parameterised on loading: the deployed network computes the same without branches"]


def _num_classes(shapes: Shapes, family: Family, *, said: int | None, where: str) -> int:
    shape = shapes[family.classifier]
    if len(shape) != 2 or shape[0] < 1:
        raise CheckpointError(
            f"{family.classifier} is {_times(shape)}, not classes × features",
            where=where,
            remedy=f"pass the weights of a {family.title} classifier",
        )
    # A single number may part two classes.
    if said is not None and said != shape[0] and (said, shape[0]) != (2, 1):
        raise CheckpointError(
            f"num_classes is given as {said}, but {family.classifier} is {_times(shape)}: "
            f"{shape[0]} classes",
            where=where,
            remedy="leave it out, or pass the checkpoint it belongs to",
        )
    return shape[0]


def _size(
    shapes: Shapes,
    family: Family,
    expected: Callable[[Size], Shapes],
    *,
    said: Size | None,
    where: str,
) -> Size:
    def off(size: Size) -> str | None:
        needed = expected(size)
        return next((k for k in needed if k in shapes and needed[k] != shapes[k]), None)

    found = family.sizes.find(shapes, lambda size: off(size) is None)
    if said is None:
        return found
    key = off(said)
    if key is not None:
        needed = expected(said)[key]
        raise CheckpointError(
            f"{said.words} is given, at which {key} is {_times(needed)}, but in the file it is "
            f"{_times(shapes[key])}: {found.words}",
            where=where,
            remedy="leave it out, or pass the checkpoint it belongs to",
        )
    return said


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
    said = [(config.num_classes, config.origin)]
    if config.labels is not None:
        said.append((len(config.labels), config.labels_origin))
    fitting = {None, info.num_classes, max(2, info.num_classes)}  # one number may part two
    wrong = [(n, origin) for n, origin in said if n not in fitting]
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


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a scalar"


def build(checkpoint: Checkpoint, architecture: ArchitectureInfo) -> torch.nn.Module:
    """Make the network of an architecture with a checkpoint's weights, in eval mode.

    The first convolution may read any number of channels, as many as its weights have.
    Weights in a training form are fused into the deployed network, which is the same function.

    Raises:
        CheckpointError: The weights do not fit the architecture.
        InputError: The architecture is not of a supported family.
    """
    family, _ = parse_architecture(architecture.family)
    own = own_weights(checkpoint.weights, family, checkpoint.source.file)
    weights, form = own.weights, own.form
    found = {key: tuple(value.shape) for key, value in weights.items()}
    size = family.sizes.stated_by(architecture, found)
    classes = architecture.num_classes
    network = empty_network(form, size, classes)
    channels = channels_in(found, network)
    if channels != COLOURS:
        network = empty_network(form, size, classes, channels)
    expected = network.state_dict()
    needed = {key: tuple(value.shape) for key, value in expected.items()}
    refuse_keys(found, needed, family.titled(form), checkpoint.source.file)
    refuse_shapes(found, needed, architecture.name, checkpoint.source.file, title=family.title)
    # Counters of batches, which training uses and some writers leave out, are the only gap.
    absent = {k: torch.zeros(v.shape, dtype=v.dtype) for k, v in expected.items() if k not in found}
    network.load_state_dict({**weights, **absent}, assign=True)
    network.eval()
    return network if family.fuse is None else family.fuse(network).eval()
