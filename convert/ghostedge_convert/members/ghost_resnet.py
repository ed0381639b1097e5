"""Ghost-ResNet, its depth counted and its ratio and kernels measured in the shapes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ghostedge_convert.architectures.family import Family, Form, Shapes, Size
from ghostedge_convert.architectures.ghost_resnet import UNUSED, GhostResNet
from ghostedge_runtime.metadata import ArchitectureInfo

_DEPTHS: dict[str, tuple[int, ...]] = {
    "50": (3, 4, 6, 3),
    "101": (3, 4, 23, 3),
    "152": (3, 8, 36, 3),
}
_LABEL = re.compile(r"(50|101|152)(?:_s(\d))?(?:_d(\d))?")
_RATIO, _KERNEL = 4, 3
_CHEAP = "layer1.0.conv1.conv2.weight"
_FIRST = r"layer{}\.(\d+)\.conv1\.conv1\.weight"


@dataclass(frozen=True)
class Depths:
    """ResNet's depths at any ratio and depthwise kernel.

    Attributes:
        published: The members of the paper.
    """

    published: tuple[str, ...]

    def named(self, label: str) -> Size | None:
        """The size of a label: ``50``, ``50_s2`` or ``50_s2_d5``; s is 4 and d 3 otherwise."""
        match = _LABEL.fullmatch(label)
        if match is None:
            return None
        ratio, kernel = int(match[2] or _RATIO), int(match[3] or _KERNEL)
        return _size(_DEPTHS[match[1]], ratio, kernel) if ratio > 1 and kernel % 2 else None

    def of_width(self, width: float) -> Size | None:  # noqa: ARG002 - of the protocol
        """None: ResNets have no width here."""
        return None

    def like(self, shapes: Shapes) -> Size:
        """The size whose blocks these are, or Ghost-ResNet-50's where there are none."""
        patterns = [re.compile(_FIRST.format(n)) for n in range(1, 5)]
        depths = tuple(sum(p.fullmatch(key) is not None for key in shapes) for p in patterns)
        cheap = shapes.get(_CHEAP, ())
        primary = shapes.get(_CHEAP.replace("conv2.weight", "conv1.weight"), ())
        if not all(depths) or len(cheap) != 4 or not primary or not primary[0] or not cheap[0]:
            return _size(_DEPTHS["50"], _RATIO, _KERNEL)
        return _size(depths, cheap[0] // primary[0] + 1, cheap[-1])

    def find(self, shapes: Shapes, fits: Callable[[Size], bool]) -> Size:  # noqa: ARG002 - of the protocol; depths tell
        """The size of these depths, ratio and kernels."""
        return self.like(shapes)

    def stated_by(self, architecture: ArchitectureInfo, shapes: Shapes) -> Size:  # noqa: ARG002 - of the protocol; depths tell
        """What the shapes tell; a member has no other size."""
        return self.like(shapes)

    def evidence(self, size: Size, shapes: Shapes) -> str:
        """The blocks, and the convolution that makes the ghosts."""
        shown = " × ".join(map(str, shapes[_CHEAP]))
        return f"{size.words}: from the number of blocks, and {_CHEAP} is {shown}"


def _size(depths: tuple[int, ...], ratio: int, kernel: int) -> Size:
    known = {value: key for key, value in _DEPTHS.items()}
    label = known.get(depths, "x".join(map(str, depths)))
    label += f"_s{ratio}" if ratio != _RATIO else ""
    label += f"_d{kernel}" if kernel != _KERNEL else ""
    blocks = ", ".join(map(str, depths))
    words = f"stages of {blocks} blocks, ratio {ratio}, depthwise {kernel}×{kernel}"
    options = (("depths", depths), ("ratio", ratio), ("cheap_kernel", kernel))
    return Size(label, words, 1.0, options)


GHOST_RESNET = Family(
    title="Ghost-ResNet",
    name="ghost_resnet",
    sizes=Depths(("50", "50_s2")),
    forms=(Form(GhostResNet),),
    tells=r"^layer\d\.0\.conv1\.conv2\.weight$",
    first="conv1.weight",
    classifier="fc.weight",
    unused=UNUSED,
)
