"""The sizes of families whose members differ by one channel multiplier, the width."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ghostedge_convert.architectures.family import Shapes, Size
from ghostedge_runtime.metadata import ArchitectureInfo


@dataclass(frozen=True)
class Multiplier:
    """Widths, told by the channels of one layer.

    Attributes:
        widest: The key of a weight whose first axis grows with the width; the widest layer bounds
            the width most tightly.
        channels: Its channels at width 1.0.
        published_widths: Those of published weights.
        rounding: The multiple that channels are rounded to.
    """

    widest: str
    channels: int
    published_widths: tuple[float, ...]
    rounding: int = 4

    @property
    def published(self) -> tuple[str, ...]:
        """The published widths in hundredths, as timm writes them."""
        return tuple(_label(width) for width in self.published_widths)

    def named(self, label: str) -> Size | None:
        """The width that a label gives in hundredths, or as ``0_5x`` does."""
        spelt = re.fullmatch(r"(\d+)_(\d+)x", label)
        if spelt is not None:
            return (
                self.of_width(float(f"{spelt[1]}.{spelt[2]}"))
                if float(spelt[1] + spelt[2])
                else None
            )
        return self.of_width(int(label) / 100) if label.isdecimal() and int(label) else None

    def of_width(self, width: float) -> Size:
        """The size of a width; every width is one."""
        return Size(_label(width), f"width {width}", width, (("width", width),))

    def like(self, shapes: Shapes) -> Size:  # noqa: ARG002 - of the protocol; keys are the same
        """Width 1.0: every width has the same keys."""
        return self.of_width(1.0)

    def find(self, shapes: Shapes, fits: Callable[[Size], bool]) -> Size:
        """The width of fewest decimals that gives these shapes, or nearly does.

        Rounding lets a range of widths give the same shapes, and the widest layer bounds that
        range. Where no width gives all the shapes, the nearest is returned.
        """
        shape = shapes[self.widest]
        about = (shape[0] if shape else 0) / self.channels
        reach = self.rounding / self.channels
        for decimals in range(1, 5):
            width = round(about, decimals)
            if width > 0 and abs(width - about) <= reach and fits(self.of_width(width)):
                return self.of_width(width)
        return self.of_width(max(round(about, 2), 0.01))

    def stated_by(self, architecture: ArchitectureInfo, shapes: Shapes) -> Size:  # noqa: ARG002 - of the protocol; a width tells
        """The size of the architecture's width."""
        return self.of_width(architecture.width)

    def evidence(self, size: Size, shapes: Shapes) -> str:
        """The widest layer's shape."""
        shape = " × ".join(map(str, shapes[self.widest]))
        return f"{size.words}: from the channels, e.g. {self.widest} is {shape}"


def _label(width: float) -> str:
    return f"{round(width * 100):03d}"
