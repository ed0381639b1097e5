"""The table of families, and how a network's family is found: by its keys or by its name."""

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

# The more particular come first: the first family that a key is of is taken.
_TABLE: tuple[Family, ...] = (
    GGHOST_REGNET,
    GHOST_RESNET,
    *REPGHOSTS,
    GHOSTNETV3,
    GHOSTNETV2,
    GHOSTNET,
)
FAMILIES = {family.name: family for family in _TABLE}


def recognise_family(shapes: Shapes) -> tuple[Family, str] | None:
    """The family that weights of these shapes are of, and the key that shows it; or None."""
    for family in _TABLE:
        key = family.recognised_by(shapes)
        if key is not None:
            return family, key
    return None


def twins_of(family: Family, shapes: Shapes) -> tuple[Family, ...]:
    """The variants whose weights have these keys and shapes too, but compute something else."""
    kin = family.variant_of or family.name
    return tuple(
        other
        for other in _TABLE
        if other is not family
        and kin in (other.variant_of, other.name)
        and other.recognised_by(shapes)
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
    names = [name for family in _TABLE for name in (family.name, *family.published())]
    closest = difflib.get_close_matches(wanted, names, n=1, cutoff=0.4)
    raise InputError(
        f"there is no architecture {name!r}",
        where="arch",
        remedy=f"did you mean {closest[0]}?" if closest else f"one of {', '.join(names)}",
    )
