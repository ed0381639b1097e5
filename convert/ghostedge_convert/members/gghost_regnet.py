"""G-Ghost RegNet, and its members told by the depths of their stages."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ghostedge_convert.architectures.family import Family, Form, Shapes, Size
from ghostedge_convert.architectures.gghost_regnet import MEMBERS, GGhostRegNet
from ghostedge_runtime.metadata import ArchitectureInfo

# The first block of a ghost stage is its base, the last its end, and those between its layers.
_PLAIN, _MIDDLE = r"layer{}\.\d+\.conv1\.weight", r"layer{}\.(base|layers\.\d+|end)\.conv1\.weight"


@dataclass(frozen=True)
class Members:
    """The members of Huawei's code; no two have the same depths.

    Attributes:
        published: Those whose weights Huawei has published.
    """

    published: tuple[str, ...]

    def named(self, label: str) -> Size | None:
        """The member of a number, 3 digits as Huawei writes it."""
        known = label.isdecimal() and len(label) == 3 and int(label) in MEMBERS
        return _size(int(label)) if known else None

    def of_width(self, width: float) -> Size | None:  # noqa: ARG002 - of the protocol
        """None: the members have no common multiplier."""
        return None

    def like(self, shapes: Shapes) -> Size:
        """The member whose stages are as deep as these, or nearly."""
        found = _depths(shapes)

        def distance(number: int) -> int:
            return sum(abs(a - b) for a, b in zip(MEMBERS[number].depths, found, strict=True))

        return _size(min(MEMBERS, key=distance))

    def find(self, shapes: Shapes, fits: Callable[[Size], bool]) -> Size:  # noqa: ARG002 - of the protocol; depths tell
        """The member of these depths."""
        return self.like(shapes)

    def stated_by(self, architecture: ArchitectureInfo, shapes: Shapes) -> Size:
        """The member that the architecture's name ends with, or that the shapes tell."""
        return self.named(architecture.name.rpartition("_")[2]) or self.like(shapes)

    def evidence(self, size: Size, shapes: Shapes) -> str:
        """The depths."""
        *first, last = map(str, _depths(shapes))
        return f"{size.words}: from its stages of {', '.join(first)} and {last} blocks"


def _size(number: int) -> Size:
    label = f"{number:03d}"
    return Size(label, f"member {label}", 1.0, (("member", number),))


def _depths(shapes: Shapes) -> list[int]:
    """How many blocks each of the four stages has."""
    patterns = [re.compile(f"{_PLAIN}|{_MIDDLE}".format(n, n)) for n in range(1, 5)]
    return [sum(pattern.fullmatch(key) is not None for key in shapes) for pattern in patterns]


GGHOST_REGNET = Family(
    title="G-Ghost RegNet",
    name="g_ghost_regnetx",
    sizes=Members(("032", "040", "080", "160")),
    forms=(Form(GGhostRegNet),),
    tells=r"^layer3\.(merge|cheap)\.",
    first="conv1.weight",
    classifier="fc.weight",
)
