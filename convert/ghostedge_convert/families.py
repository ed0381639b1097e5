"""The members of the family: which are supported, and how the others are known by their keys."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_runtime.errors import CheckpointError, InputError


@dataclass(frozen=True)
class Family:
    """A supported family: its title, its name as in ``ghostnet_100``, and its network."""

    title: str
    name: str
    network: Callable[..., nn.Module]

    def member(self, width: float) -> str:
        """The name of the member at a width, in timm's way: ``ghostnet_130`` at 1.3."""
        return f"{self.name}_{round(width * 100):03d}"


GHOSTNET = Family("GhostNet V1", "ghostnet", GhostNet)
FAMILIES = {family.name: family for family in (GHOSTNET,)}

# Relatives by a key part that only they have; the more particular first, since V3 has V2's too.
_RELATIVES: tuple[tuple[str, str], ...] = (
    (r"_rpr_(conv|skip|scale)", "GhostNetV3 (in its training form)"),
    (r"\.fusion_(bn|conv)\b|\.cheap_operation\.(weight|bias)$", "RepGhostNet"),
    (r"\.short_conv\.\d+\.bias$", "GhostNetV3 (in its deployed form)"),
    (r"\.short_conv\.", "GhostNetV2"),
)
_RELATIVE_NAMES = {
    "ghostnetv2": "GhostNetV2",
    "ghostnetv3": "GhostNetV3",
    "repghostnet": "RepGhostNet",
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


def parse_architecture(name: str) -> tuple[Family, float | None]:
    """Read an architecture's name: ``ghostnet``, or ``ghostnet_100`` with its width.

    Raises:
        InputError: The name is of no supported family; names the closest.
    """
    base, _, hundredths = name.lower().partition("_")
    family = FAMILIES.get(base)
    if family is not None and (not hundredths or hundredths.isdecimal()):
        return family, int(hundredths) / 100 if hundredths else None
    if base in _RELATIVE_NAMES:
        raise InputError(
            f"{_RELATIVE_NAMES[base]} is not supported yet; {GHOSTNET.title} is",
            where=name,
            remedy="pass a GhostNet V1 checkpoint",
        )
    known = ["ghostnet", *(GHOSTNET.member(width) for width in (0.5, 1.0, 1.3))]
    closest = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    raise InputError(
        f"there is no architecture {name!r}",
        where="arch",
        remedy=f"did you mean {closest[0]}?" if closest else f"one of {', '.join(known)}",
    )
