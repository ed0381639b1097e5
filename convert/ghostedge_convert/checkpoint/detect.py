"""Which network a checkpoint is of, from the shapes of its weights alone, and that network.

The keys decide the family, the shapes the size, the classifier the number of classes. Flags and a
``config.json`` are held against the shapes (see ``stated``), never believed over them.
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
    shapes_of,
)
from ghostedge_convert.architectures.keys import (
    listed,
    own_weights,
    refuse_keys,
    refuse_shapes,
    times,
)
from ghostedge_convert.architectures.table import (
    FAMILIES,
    parse_architecture,
    recognise_family,
    twins_of,
)
from ghostedge_convert.checkpoint.load import Checkpoint
from ghostedge_convert.checkpoint.stated import (
    check_stated_classes,
    check_stated_name,
    family_named_by,
    size_of_width,
    stated_network,
)
from ghostedge_runtime.errors import CheckpointError
from ghostedge_runtime.metadata import ArchitectureInfo

# A family is taken by its misfit where that is at most the one and the next best family's is more
# than so many times larger. Running means lag behind the weights, so the network that was trained
# fits them within some percent; another network hardly fits them at all.
_FITS, _APART = 0.25, 3.0


@dataclass(frozen=True)
class Detection:
    """Which network a checkpoint is of.

    Attributes:
        architecture: The member.
        evidence: What shows each part of it, a line each.
        twins: The names of other members whose weights have the same keys and shapes, where nobody
            stated which of them it is.
        measured: Whether the running means of its batch norms decided between it and the twins.
    """

    architecture: ArchitectureInfo
    evidence: tuple[str, ...]
    twins: tuple[str, ...] = ()
    measured: bool = False


@dataclass(frozen=True)
class _Choice:
    """The family that is taken, and those whose weights have the same keys and shapes.

    Attributes:
        family: The family that is taken.
        twins: The others, where nobody stated which of them it is.
        misfit: How far the family's running means are off, where they decided; else None.
        next_misfit: How far those of the next best are off.
    """

    family: Family
    twins: tuple[Family, ...] = ()
    misfit: float | None = None
    next_misfit: float = 0.0

    def evidence(self, size: Size) -> list[str]:
        """A line about the twins; none where there are none."""
        if not self.twins:
            return []
        title = self.family.title
        others = ", ".join(f"a {twin.title} (--arch {twin.member(size)})" for twin in self.twins)
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
    """The architecture of a checkpoint, without the evidence of `detect_architecture`.

    Raises:
        CheckpointError: The weights are not a supported network's, or contradict what is stated.
        InputError: ``arch`` is no name, or a number is not positive.
    """
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
        arch: What the user states that it is, e.g. ``ghostnet`` or ``ghostnet_100``.
        width: The channel multiplier that the user states.
        num_classes: The number of classes that the user states.

    Raises:
        CheckpointError: The weights are not a supported network's, or contradict what is stated.
        InputError: ``arch`` is no name, or a number is not positive.
    """
    where = checkpoint.source.file
    stated_family, stated_size = stated_network(arch, width, num_classes)
    choice = _choose_family(checkpoint, stated_family)
    family = choice.family
    own = own_weights(checkpoint.weights, family, where)
    shapes = shapes_of(own.weights)
    form = own.form
    title = family.titled(form)
    like = family.sizes.like(shapes)
    refuse_keys(shapes, expected_shapes(form, like, 1000), title, where)
    channels = channels_in(shapes, empty_network(form, like, 1000))
    classes = _num_classes(shapes, family, stated=num_classes, where=where)
    if stated_size is None and width is not None:
        stated_size = size_of_width(family, width)
    expected = partial(expected_shapes, form, num_classes=classes, in_channels=channels)
    size = _size(shapes, family, expected, stated=stated_size, where=where)
    name = family.member(size)
    refuse_shapes(shapes, expected(size), name, where, remedy=_unchanged(family))
    info = ArchitectureInfo(name, family.name, size.width, classes)
    size_line = family.sizes.evidence(size, shapes)
    if stated_size is not None:
        size_line = f"{size.description}: as given, and all shapes agree"
    evidence = (
        f"{title}: all its {len(shapes)} weights are there, and no others",
        *own.notes,
        *_fused_on_load(family, form),
        *choice.evidence(size),
        size_line,
        f"{classes} classes: {family.classifier} is {times(shapes[family.classifier])}",
        *([] if channels == COLOURS else [f"{channels} input channels: the first conv's weights"]),
        *check_stated_classes(checkpoint, info, stated=num_classes is not None),
        *check_stated_name(checkpoint, info, stated=arch is not None or width is not None),
    )
    twins = tuple(twin.member(size) for twin in choice.twins)
    return Detection(info, evidence, twins, choice.misfit is not None)


def _choose_family(checkpoint: Checkpoint, stated: Family | None) -> _Choice:
    """The family that the keys are of, which must be the stated one where one is stated."""
    where = checkpoint.source.file
    shapes = shapes_of(checkpoint.weights)
    recognised = recognise_family(shapes)
    if recognised is None and stated is not None:
        return _Choice(stated)
    if recognised is None:
        titles = [family.title for family in FAMILIES.values() if not family.variant_of]
        raise CheckpointError(
            "these are weights of no network of the family: no key is like any of "
            f"{', '.join(titles)}; the file has {listed(tuple(checkpoint.weights))}",
            where=where,
            remedy="pass the weights of such a network, with its original keys, or name what makes "
            "your own with --factory",
        )
    first, key = recognised
    alike = (first, *twins_of(first, shapes))
    if stated is not None and stated not in alike:
        raise CheckpointError(
            f"these are weights of a {first.title} (it has {key}), but arch says {stated.title}",
            where=where,
            remedy="leave it out, or pass the checkpoint it belongs to",
        )
    named = stated or family_named_by(checkpoint.config)
    if named in alike:
        return _Choice(named or first)
    return _choose_among(alike, checkpoint) if len(alike) > 1 else _Choice(first)


def _choose_among(alike: tuple[Family, ...], checkpoint: Checkpoint) -> _Choice:
    """One of families with the same keys: the one that fits as measured, else the assumed one."""
    measured = [family.misfit(checkpoint.weights) for family in alike if family.misfit is not None]
    misfits = [misfit for misfit in measured if misfit is not None]
    if len(misfits) == len(alike):
        best, following = sorted(misfits)[:2]
        if best < _FITS and following > _APART * best:
            family = alike[misfits.index(best)]
            return _Choice(family, _others(alike, family), best, following)
    first, *_ = alike
    if first.assumed:
        return _Choice(first, _others(alike, first))
    names = [family.name for family in alike]
    raise CheckpointError(
        f"its keys and shapes are those of {', '.join(names)} alike, which compute different "
        "functions",
        where=checkpoint.source.file,
        remedy=f"say which it is: --arch {' or --arch '.join(names)}",
    )


def _others(alike: tuple[Family, ...], family: Family) -> tuple[Family, ...]:
    return tuple(other for other in alike if other is not family)


def _fused_on_load(family: Family, form: Form) -> list[str]:
    if family.fuse is None or form is family.forms[-1]:
        return []
    return ["re-parameterised on loading: the deployed network computes the same without branches"]


def _num_classes(shapes: Shapes, family: Family, *, stated: int | None, where: str) -> int:
    shape = shapes[family.classifier]
    if len(shape) != 2 or shape[0] < 1:
        raise CheckpointError(
            f"{family.classifier} is {times(shape)}, not classes × features",
            where=where,
            remedy=f"pass the weights of a {family.title} classifier",
        )
    # A single score can tell two classes apart.
    if stated is not None and stated != shape[0] and (stated, shape[0]) != (2, 1):
        raise CheckpointError(
            f"num_classes is given as {stated}, but {family.classifier} is {times(shape)}: "
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
    stated: Size | None,
    where: str,
) -> Size:
    def mismatch(size: Size) -> str | None:
        needed = expected(size)
        return next((k for k in needed if k in shapes and needed[k] != shapes[k]), None)

    fitting = family.sizes.find(shapes, lambda size: mismatch(size) is None)
    if stated is None:
        return fitting
    key = mismatch(stated)
    if key is not None:
        needed = expected(stated)[key]
        raise CheckpointError(
            f"{stated.description} is given, at which {key} is {times(needed)}, but in the file "
            f"it is {times(shapes[key])}: {fitting.description}",
            where=where,
            remedy="leave it out, or pass the checkpoint it belongs to",
        )
    return stated


def _unchanged(family: Family) -> str:
    return f"pass a checkpoint of an unchanged {family.title}"


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
    shapes = shapes_of(weights)
    size = family.sizes.stated_by(architecture, shapes)
    classes = architecture.num_classes
    network = empty_network(form, size, classes)
    channels = channels_in(shapes, network)
    if channels != COLOURS:
        network = empty_network(form, size, classes, channels)
    expected = network.state_dict()
    needed = shapes_of(expected)
    refuse_keys(shapes, needed, family.titled(form), checkpoint.source.file)
    refuse_shapes(
        shapes, needed, architecture.name, checkpoint.source.file, remedy=_unchanged(family)
    )
    # Only counters of batches can be absent: training uses them, and some writers leave them out.
    absent = {
        key: torch.zeros(value.shape, dtype=value.dtype)
        for key, value in expected.items()
        if key not in shapes
    }
    network.load_state_dict({**weights, **absent}, assign=True)
    network.eval()
    return network if family.fuse is None else family.fuse(network).eval()
