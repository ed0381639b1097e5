"""The table of families, and how a network's family is told: by keys or by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from pathlib import Path

from ghostedge_convert.family import Family, Size
from ghostedge_convert.members.gghost_regnet import GGHOST_REGNET
from ghostedge_convert.members.ghostnet import GHOSTNET
from ghostedge_convert.members.repghost import REPGHOST
from ghostedge_runtime.errors import CheckpointError, InputError

# The more particular first: the first of them that a key tells is taken.
_TABLE: tuple[Family, ...] = (GGHOST_REGNET, REPGHOST, GHOSTNET)
FAMILIES = {family.name: family for family in _TABLE}

# Relatives by a key part that only they have; the more particular first, since V3 has V2's too.
_RELATIVES: tuple[tuple[str, str], ...] = (
    (r"_rpr_(conv|skip|scale)", "GhostNetV3 (in its training form)"),
    (r"\.short_conv\.\d+\.bias$", "GhostNetV3 (in its deployed form)"),
    (r"\.short_conv\.", "GhostNetV2"),
)
_RELATIVE_NAMES = {
    "ghostnetv2": "GhostNetV2",
    "ghostnetv3": "GhostNetV3",
}


def refuse_relative(keys: Collection[str], where: Path | str) -> None:
    """Raise where the keys are those of a known relative that is not supported.

    Raises:
        CheckpointError: Names the relative and the key that gives it away.
    """
    for pattern, title in _RELATIVES:
        told = next((key for key in keys if re.search(pattern, key)), None)
        if told is not None:
            raise CheckpointError(
                f"these are weights of a {title} (it has {told}), not supported yet; "
                f"{GHOSTNET.title} is",
                where=where,
                remedy="pass a GhostNet V1 checkpoint (ghostnet_050, ghostnet_100, ghostnet_130)",
            )


def tell_family(keys: Collection[str]) -> tuple[Family, str] | None:
    """The family that keys are of, and the key that tells; None where none does."""
    for family in _TABLE:
        told = next((key for key in keys if re.search(family.tells, key)), None)
        if told is not None:
            return family, told
    return None


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
    base = wanted.partition("_")[0]
    if base in _RELATIVE_NAMES:
        raise InputError(
            f"{_RELATIVE_NAMES[base]} is not supported yet; {GHOSTNET.title} is",
            where=name,
            remedy="pass a GhostNet V1 checkpoint",
        )
    known = [known for family in _TABLE for known in (family.name, *family.published())]
    closest = difflib.get_close_matches(wanted, known, n=1, cutoff=0.4)
    raise InputError(
        f"there is no architecture {name!r}",
        where="arch",
        remedy=f"did you mean {closest[0]}?" if closest else f"one of {', '.join(known)}",
    )
