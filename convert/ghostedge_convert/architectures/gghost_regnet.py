"""G-Ghost RegNet (Han et al., "GhostNets on Heterogeneous Devices via Cheap Operations", 2022).

The network of the family for servers. Ghost features span a stage here rather than a layer: a
RegNetX stage runs its middle blocks on a part of the channels only, and a pointwise conv of the
first block's output, shifted by what the blocks pooled, stands for the rest. The members are those
of Huawei's code, whose weights' keys the module has; they differ in depths, widths and group width,
not by one multiplier, and are found by the depths of their stages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert.architectures.family import Family, Form, Shapes, Size
from ghostedge_runtime.metadata import ArchitectureInfo

STEM_CHANNELS = 32

# The first block of a ghost stage is its base, the last its end, and those between its layers.
_PLAIN, _MIDDLE = r"layer{}\.\d+\.conv1\.weight", r"layer{}\.(base|layers\.\d+|end)\.conv1\.weight"


@dataclass(frozen=True)
class RegNetSpec:
    """A member: RegNetX's parameters, stage by stage.

    Attributes:
        depths: Blocks.
        widths: Channels.
        group_width: Channels of a group of the 3×3 convs, in all stages.
    """

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    group_width: int


# By the number in the name: the compute of the RegNetX that the member is made of, in 0.1 GMACs.
MEMBERS: dict[int, RegNetSpec] = {
    2: RegNetSpec((1, 1, 4, 7), (24, 56, 152, 368), 8),
    4: RegNetSpec((1, 2, 7, 12), (32, 64, 160, 384), 16),
    6: RegNetSpec((1, 3, 5, 7), (48, 96, 240, 528), 24),
    8: RegNetSpec((1, 3, 7, 5), (64, 128, 288, 672), 16),
    16: RegNetSpec((2, 4, 10, 2), (72, 168, 408, 912), 24),
    32: RegNetSpec((2, 6, 15, 2), (96, 192, 432, 1008), 48),
    40: RegNetSpec((2, 5, 14, 2), (80, 240, 560, 1360), 40),
    64: RegNetSpec((2, 4, 10, 1), (168, 392, 784, 1624), 56),
    80: RegNetSpec((2, 5, 15, 1), (80, 240, 720, 1920), 120),
    120: RegNetSpec((2, 5, 11, 1), (224, 448, 896, 2240), 112),
    160: RegNetSpec((2, 6, 13, 1), (256, 512, 896, 2048), 128),
    320: RegNetSpec((2, 7, 13, 1), (336, 672, 1344, 2520), 168),
}


class Bottleneck(nn.Module):
    """RegNetX's block: 1×1, grouped 3×3 and 1×1 convs, added to the input, ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, group_width: int, *, stride: int = 1
    ) -> None:
        super().__init__()
        groups = max(out_channels // group_width, 1)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(
            out_channels, out_channels, 3, stride, padding=1, groups=groups, bias=False
        )
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv3 = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Sequential()
        if stride > 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, ceil(H / stride), ceil(W / stride)]``."""
        main = F.relu(self.bn1(self.conv1(x)))
        main = F.relu(self.bn2(self.conv2(main)))
        skip: Tensor = self.downsample(x)
        return F.relu(self.bn3(self.conv3(main)) + skip)


class GhostStage(nn.Module):
    """A stage whose middle blocks compute a part of the channels, and cheap features the rest.

    Args:
        depth: Blocks that the stage stands for, at least 3: the first, the last and those between.
    """

    def __init__(self, in_channels: int, channels: int, depth: int, group_width: int) -> None:
        super().__init__()
        narrow = int(group_width * 0.75)
        self.intrinsic = channels // 2 // narrow * narrow
        cheap = channels - self.intrinsic
        self.base = Bottleneck(in_channels, channels, group_width, stride=2)
        self.end = Bottleneck(channels, channels, group_width)
        self.merge = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels + self.intrinsic * (depth - 2), cheap, 1, bias=False),
            nn.BatchNorm2d(cheap),
            nn.ReLU(),
            nn.Conv2d(cheap, cheap, 1, bias=False),
            nn.BatchNorm2d(cheap),
        )
        self.cheap = nn.Sequential(nn.Conv2d(cheap, cheap, 1, bias=False), nn.BatchNorm2d(cheap))
        self.layers = nn.Sequential(
            *(Bottleneck(self.intrinsic, self.intrinsic, narrow) for _ in range(depth - 2))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, channels, ceil(H / 2), ceil(W / 2)]``.

        The authors concatenate the blocks' outputs and pool that; the blocks' pooled outputs are
        concatenated here, the same numbers without a copy of every feature map.
        """
        first: Tensor = self.base(x)
        pool, *mix = self.merge
        pooled = [pool(first)]
        intrinsic = first[:, : self.intrinsic]
        for block in self.layers:
            intrinsic = block(intrinsic)
            pooled.append(pool(intrinsic))
        shift = torch.cat(pooled, dim=1)
        for layer in mix:
            shift = layer(shift)
        ghosts = F.relu(self.cheap(first[:, self.intrinsic :]) + shift)
        result: Tensor = self.end(torch.cat([intrinsic, ghosts], dim=1))
        return result


def _stage(in_channels: int, channels: int, depth: int, group_width: int) -> nn.Module:
    """A plain stage: the first block halves the image."""
    first = Bottleneck(in_channels, channels, group_width, stride=2)
    rest = (Bottleneck(channels, channels, group_width) for _ in range(depth - 1))
    return nn.Sequential(first, *rest)


class GGhostRegNet(nn.Module):
    """G-Ghost RegNet.

    Args:
        member: The number in the name: 32 is ``g_ghost_regnetx_032``.
        num_classes: Size of the classifier.
        dropout: Probability before the classifier, in training only.
    """

    def __init__(self, *, member: int = 32, num_classes: int = 1000, dropout: float = 0.2) -> None:
        super().__init__()
        spec = MEMBERS[member]
        self.dropout = dropout
        self.conv1 = nn.Conv2d(3, STEM_CHANNELS, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        first, second, third, last = spec.widths
        depths, group_width = spec.depths, spec.group_width
        self.layer1 = _stage(STEM_CHANNELS, first, depths[0], group_width)
        self.layer2 = _later_stage(first, second, depths[1], group_width)
        self.layer3 = _later_stage(second, third, depths[2], group_width)
        self.layer4 = _later_stage(third, last, depths[3], group_width)
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images ``[N, 3, H, W]`` float32 to logits ``[N, num_classes]``."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = F.dropout(x.mean((2, 3)), self.dropout, self.training)
        logits: Tensor = self.fc(x)
        return logits


def _later_stage(in_channels: int, channels: int, depth: int, group_width: int) -> nn.Module:
    """A stage after the first: of ghost features where it is deep enough to have middle blocks."""
    kind = GhostStage if depth > 2 else _stage
    return kind(in_channels, channels, depth, group_width)


@dataclass(frozen=True)
class Members:
    """The members of Huawei's code; no two have the same depths.

    Attributes:
        published: Those whose weights Huawei has published.
    """

    published: tuple[str, ...]

    def named(self, label: str) -> Size | None:
        """The member of a number, 3 digits as Huawei writes it."""
        if label.isdecimal() and len(label) == 3 and int(label) in MEMBERS:
            return _size(int(label))
        return None

    def of_width(self, width: float) -> Size | None:  # noqa: ARG002 - of the protocol
        """None: the members have no common multiplier."""
        return None

    def like(self, shapes: Shapes) -> Size:
        """The member whose stages are as deep as these, or nearly."""
        depths = _depths(shapes)

        def distance(number: int) -> int:
            return sum(abs(a - b) for a, b in zip(MEMBERS[number].depths, depths, strict=True))

        return _size(min(MEMBERS, key=distance))

    def find(self, shapes: Shapes, fits: Callable[[Size], bool]) -> Size:  # noqa: ARG002 - of the protocol; the depths suffice
        """The member of these depths."""
        return self.like(shapes)

    def stated_by(self, architecture: ArchitectureInfo, shapes: Shapes) -> Size:
        """The member that the architecture's name ends with, else the one of these depths."""
        return self.named(architecture.name.rpartition("_")[2]) or self.like(shapes)

    def evidence(self, size: Size, shapes: Shapes) -> str:
        """The depths."""
        *first, last = map(str, _depths(shapes))
        return f"{size.description}: from its stages of {', '.join(first)} and {last} blocks"


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
    key_pattern=r"^layer3\.(merge|cheap)\.",
    first="conv1.weight",
    classifier="fc.weight",
)
