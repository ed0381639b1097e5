"""Ghost-ResNet (Han et al., "GhostNet: More Features from Cheap Operations", CVPR 2020, table 5).

ResNet's bottlenecks with a ghost module in the place of every convolution but the first: a part of
the channels by the convolution, the rest from those by depthwise ones, without batch norm or
activation between. The members are those of Huawei's code (``ghost_resnet.py``), whose weights'
keys the module has. That code also keeps weights and batch norms that it never computes with
(`UNUSED`); they are no part of this module. A member is found by the number of its blocks and by
the shapes of one of its convolutions, which show its ratio and kernels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert.architectures.family import Family, Form, Shapes, Size
from ghostedge_runtime.metadata import ArchitectureInfo

STEM_CHANNELS = 64
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4
UNUSED = r"\.(conv\d|downsample\.0)\.(weight[12]|bn[12]\.\w+)$"

_DEPTHS: dict[str, tuple[int, ...]] = {
    "50": (3, 4, 6, 3),
    "101": (3, 4, 23, 3),
    "152": (3, 8, 36, 3),
}
_LABEL = re.compile(r"(50|101|152)(?:_s(\d))?(?:_d(\d))?")
_RATIO, _KERNEL = 4, 3
_CHEAP = "layer1.0.conv1.conv2.weight"
_FIRST = r"layer{}\.(\d+)\.conv1\.conv1\.weight"


class GhostConv(nn.Module):
    """A convolution of a part of the channels, and depthwise ones of these for the rest.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        kernel: Side of the convolution's kernel.
        stride: Of the convolution.
        ratio: Channels of the output for each that the convolution makes; 2 at least.
        cheap_kernel: Side of the depthwise kernels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        ratio: int,
        cheap_kernel: int,
    ) -> None:
        super().__init__()
        primary = math.ceil(out_channels / ratio)
        self.ghosts = out_channels - primary
        self.conv1 = nn.Conv2d(in_channels, primary, kernel, stride, padding=kernel // 2)
        self.conv2 = nn.Conv2d(
            primary,
            primary * (ratio - 1),
            cheap_kernel,
            padding=cheap_kernel // 2,
            groups=primary,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, ceil(H / stride), ceil(W / stride)]``."""
        intrinsic = self.conv1(x)
        ghosts = self.conv2(intrinsic)
        return torch.cat([intrinsic, ghosts[:, : self.ghosts]], dim=1)


class Bottleneck(nn.Module):
    """ResNet's block of ghost convolutions: 1×1, 3×3 and 1×1, added to the input, ReLU."""

    def __init__(
        self, in_channels: int, channels: int, *, stride: int, ratio: int, cheap_kernel: int
    ) -> None:
        super().__init__()
        out = channels * EXPANSION
        ghosts = {"ratio": ratio, "cheap_kernel": cheap_kernel}
        self.conv1 = GhostConv(in_channels, channels, 1, **ghosts)
        self.conv2 = GhostConv(channels, channels, 3, stride=stride, **ghosts)
        self.conv3 = GhostConv(channels, out, 1, **ghosts)
        self.downsample = nn.Sequential()
        if stride > 1 or in_channels != out:
            self.downsample = nn.Sequential(GhostConv(in_channels, out, 1, stride=stride, **ghosts))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, 4 × channels, ceil(H / stride), ceil(W / stride)]``."""
        main = F.relu(self.conv2(F.relu(self.conv1(x))))
        skip: Tensor = self.downsample(x)
        return F.relu(self.conv3(main) + skip)


class GhostResNet(nn.Module):
    """Ghost-ResNet.

    Args:
        depths: Blocks of the four stages.
        ratio: Channels for each that a convolution makes: the paper's s.
        cheap_kernel: Side of the depthwise kernels: the paper's d.
        num_classes: Size of the classifier.
    """

    def __init__(
        self,
        *,
        depths: tuple[int, ...] = (3, 4, 6, 3),
        ratio: int = 4,
        cheap_kernel: int = 3,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM_CHANNELS, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels = STEM_CHANNELS
        stages = []
        for number, (width, depth) in enumerate(zip(WIDTHS, depths, strict=True)):
            blocks = []
            for index in range(depth):
                stride = 2 if number and not index else 1
                blocks.append(
                    Bottleneck(
                        channels, width, stride=stride, ratio=ratio, cheap_kernel=cheap_kernel
                    )
                )
                channels = width * EXPANSION
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images ``[N, 3, H, W]`` float32 to logits ``[N, num_classes]``.

        The authors' pool is 7 × 7, all of the last maps at the 224 pixels that their code takes.
        """
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


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

    def find(self, shapes: Shapes, fits: Callable[[Size], bool]) -> Size:  # noqa: ARG002 - of the protocol; the depths suffice
        """The size of these depths, ratio and kernels."""
        return self.like(shapes)

    def stated_by(self, architecture: ArchitectureInfo, shapes: Shapes) -> Size:  # noqa: ARG002 - of the protocol; the depths suffice
        """The size that the shapes show; a member has no other."""
        return self.like(shapes)

    def evidence(self, size: Size, shapes: Shapes) -> str:
        """The blocks, and the convolution that makes the ghosts."""
        shown = " × ".join(map(str, shapes[_CHEAP]))
        return f"{size.description}: from the number of blocks, and {_CHEAP} is {shown}"


def _size(depths: tuple[int, ...], ratio: int, kernel: int) -> Size:
    labels = {value: key for key, value in _DEPTHS.items()}
    label = labels.get(depths, "x".join(map(str, depths)))
    label += f"_s{ratio}" if ratio != _RATIO else ""
    label += f"_d{kernel}" if kernel != _KERNEL else ""
    blocks = ", ".join(map(str, depths))
    description = f"stages of {blocks} blocks, ratio {ratio}, depthwise {kernel}×{kernel}"
    options = (("depths", depths), ("ratio", ratio), ("cheap_kernel", kernel))
    return Size(label, description, 1.0, options)


GHOST_RESNET = Family(
    title="Ghost-ResNet",
    name="ghost_resnet",
    sizes=Depths(("50", "50_s2")),
    forms=(Form(GhostResNet),),
    key_pattern=r"^layer\d\.0\.conv1\.conv2\.weight$",
    first="conv1.weight",
    classifier="fc.weight",
    unused=UNUSED,
)
