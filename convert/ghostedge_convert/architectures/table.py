"""The table of families, and how a network's family is told: by keys or by name."""

from __future__ import annotations

import difflib

from ghostedge_convert.architectures.family import Family, Shapes, Size
from ghostedge_convert.architectures.gghost_regnet import GGHOST_REGNET
from ghostedge_convert.architectures.ghost_resnet import GHOST_RESNET
from ghostedge_convert.architectures.ghostnet import GHOSTNET
from ghostedge_convert.architectures.ghostnetv2 import GHOSTNETV2
from ghostedge_convert.architectures.ghostnetv3 import GHOSTNETV3
from ghostedge_convert.architectures.repghost import REPGHOSTS
from ghostedge_runtime.errors import InputError

# The more particular first: the first of them that a key tells is taken.
_TABLE: tuple[Family, ...] = (
    GGHOST_REGNET,
    GHOST_RESNET,
    *REPGHOSTS,
    GHOSTNETV3,
    GHOSTNETV2,
    GHOSTNET,
)
FAMILIES = {family.name: family for family in _TABLE}


def tell_family(shapes: Shapes) -> tuple[Family, str] | None:
    """The family that weights are of, by their keys' shapes, and the key that tells; or None."""
    for family in _TABLE:
        told = family.told_by(shapes)
        if told is not None:
            return family, told
    return None


def twins_of(family: Family, shapes: Shapes) -> tuple[Family, ...]:
    """The variants whose weights have these keys and shapes too, and compute something else."""
    kin = family.variant_of or family.name
    return tuple(
        each
        for each in _TABLE
        if each is not family and kin in (each.variant_of, each.name) and each.told_by(shapes)
    )


def parse_architecture(name: str) -> tuple[Family, Size | None]:
    """Read an architecture's name: ``ghostnet``, or ``ghostnet_100`` with its size.

    Raises:
        InputError: The name is of no supported family; names the closest.
    """
    wanted = name.lower()
    for family in _TABLE:
        if wanted == family.name:
            return family, None
        label = wanted.removeprefix(f"{family.name}_")
        size = family.sizes.named(label) if label != wanted else None
        if size is not None:
            return family, size
    known = [known for family in _TABLE for known in (family.name, *family.published())]
    closest = difflib.get_close_matches(wanted, known, n=1, cutoff=0.4)
    raise InputError(
        f"there is no architecture {name!r}",
        where="arch",
        remedy=f"did you mean {closest[0]}?" if closest else f"one of {', '.join(known)}",
    )
