"""GhostNet V1 (Han et al., "GhostNet: More Features from Cheap Operations", CVPR 2020).

A module of our own whose ``state_dict`` keys are those of Huawei's and timm's published weights,
so that a trained file loads strictly. It exists to be exported: it covers inference and training
of V1 at any width and number of classes. V2's attention and V3's re-parameterisation are other
blocks between the same stem and head, in files of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert.architectures.family import Family, Form, Multiplier
from ghostedge_runtime.metadata import Preprocessing

STEM_CHANNELS = 16
LAST_EXPANSION = 960
HEAD_CHANNELS = 1280


@dataclass(frozen=True)
class BottleneckSpec:
    """One row of the paper's table 7, at width 1.0.

    Attributes:
        kernel: Side of the depthwise kernels (strided stage and shortcut).
        expansion: Channels between the two ghost modules.
        out: Output channels.
        stride: 1 or 2.
        se: Whether squeeze-and-excitation stands between the ghost modules.
    """

    kernel: int
    expansion: int
    out: int
    stride: int = 1
    se: bool = False


STAGES: tuple[tuple[BottleneckSpec, ...], ...] = (
    (BottleneckSpec(3, 16, 16),),
    (BottleneckSpec(3, 48, 24, stride=2),),
    (BottleneckSpec(3, 72, 24),),
    (BottleneckSpec(5, 72, 40, stride=2, se=True),),
    (BottleneckSpec(5, 120, 40, se=True),),
    (BottleneckSpec(3, 240, 80, stride=2),),
    (
        BottleneckSpec(3, 200, 80),
        BottleneckSpec(3, 184, 80),
        BottleneckSpec(3, 184, 80),
        BottleneckSpec(3, 480, 112, se=True),
        BottleneckSpec(3, 672, 112, se=True),
    ),
    (BottleneckSpec(5, 672, 160, stride=2, se=True),),
    (
        BottleneckSpec(5, 960, 160),
        BottleneckSpec(5, 960, 160, se=True),
        BottleneckSpec(5, 960, 160),
        BottleneckSpec(5, 960, 160, se=True),
    ),
)


def make_divisible(channels: float, divisor: int = 4) -> int:
    """Round to the nearest multiple of ``divisor``, never more than 10 % below ``channels``.

    The rule of the MobileNet family, which fixes the shapes of published weights.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class GhostModule(nn.Module):
    """Half of the features by a pointwise conv, the other half from those by a depthwise one."""

    def __init__(self, in_channels: int, out_channels: int, *, relu: bool) -> None:
        super().__init__()
        self.out_channels = out_channels
        primary = math.ceil(out_channels / 2)
        self.primary_conv = nn.Sequential(
            nn.Conv2d(in_channels, primary, 1, bias=False),
            nn.BatchNorm2d(primary),
            nn.ReLU() if relu else nn.Identity(),
        )
        self.cheap_operation = nn.Sequential(
            nn.Conv2d(primary, primary, 3, padding=1, groups=primary, bias=False),
            nn.BatchNorm2d(primary),
            nn.ReLU() if relu else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, H, W]``."""
        intrinsic = self.primary_conv(x)
        ghosts = self.cheap_operation(intrinsic)
        return torch.cat([intrinsic, ghosts], dim=1)[:, : self.out_channels]


class SqueezeExcite(nn.Module):
    """Channel gate: global pool, reduce, ReLU, expand, hard sigmoid ``relu6(x + 3) / 6``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = make_divisible(channels * 0.25)
        self.conv_reduce = nn.Conv2d(channels, reduced, 1)
        self.conv_expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel of ``[N, C, H, W]`` by a factor in [0, 1]."""
        squeezed = x.mean((2, 3), keepdim=True)
        gate = self.conv_expand(F.relu(self.conv_reduce(squeezed)))
        return x * F.hardsigmoid(gate)


class GhostBottleneck(nn.Module):
    """Ghost module, optional strided depthwise conv, optional gate, linear ghost module, skip.

    Args:
        in_channels: Of the input.
        mid_channels: Between the two ghost modules.
        out_channels: Of the output.
        spec: The paper's row.
        expand: The first ghost module, where it is not a plain one.
        project: The second, where it is not a plain one.
        identity: Whether the input is added where the output has its shape, too.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        spec: BottleneckSpec,
        *,
        expand: nn.Module | None = None,
        project: nn.Module | None = None,
        identity: bool = True,
    ) -> None:
        super().__init__()
        self.identity = identity
        self.ghost1 = expand or GhostModule(in_channels, mid_channels, relu=True)
        self.conv_dw: nn.Module = nn.Identity()
        self.bn_dw: nn.Module = nn.Identity()
        if spec.stride > 1:
            self.conv_dw = depthwise(mid_channels, spec)
            self.bn_dw = nn.BatchNorm2d(mid_channels)
        self.se = SqueezeExcite(mid_channels) if spec.se else nn.Identity()
        self.ghost2 = project or GhostModule(mid_channels, out_channels, relu=False)
        self.shortcut = nn.Sequential()
        if spec.stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                depthwise(in_channels, spec),
                nn.BatchNorm2d(in_channels),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, ceil(H / stride), ceil(W / stride)]``."""
        main: Tensor = self.ghost2(self.se(self.shrink(self.ghost1(x))))
        if not self.identity and not self.shortcut:
            return main
        skip: Tensor = self.shortcut(x)
        return main + skip

    def shrink(self, x: Tensor) -> Tensor:
        """The strided depthwise conv, where the block has one."""
        smaller: Tensor = self.bn_dw(self.conv_dw(x))
        return smaller


def depthwise(channels: int, spec: BottleneckSpec) -> nn.Conv2d:
    """A row's depthwise conv, strided, without bias."""
    return nn.Conv2d(
        channels,
        channels,
        spec.kernel,
        spec.stride,
        padding=spec.kernel // 2,
        groups=channels,
        bias=False,
    )


class ConvBnAct(nn.Module):
    """The last pointwise conv; a class because its published keys are ``conv`` and ``bn1``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, H, W]``."""
        return F.relu(self.bn1(self.conv(x)))


def plain_block(
    in_channels: int,
    mid_channels: int,
    out_channels: int,
    spec: BottleneckSpec,
    layer: int,  # noqa: ARG001 - of every block maker; V1's blocks are alike at any depth
) -> nn.Module:
    """V1's bottleneck."""
    return GhostBottleneck(in_channels, mid_channels, out_channels, spec)


class GhostNet(nn.Module):
    """GhostNet V1.

    Args:
        width: Channel multiplier; 0.5, 1.0 and 1.3 are the paper's.
        num_classes: Size of the classifier.
        dropout: Probability before the classifier, in training only.
        block: Makes the bottleneck of input, middle and output channels, a row and its number,
            counted from 0 through all stages.
        stages: The paper's rows, of another paper where they are not GhostNet's.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        num_classes: int = 1000,
        dropout: float = 0.2,
        block: Callable[[int, int, int, BottleneckSpec, int], nn.Module] = plain_block,
        stages: tuple[tuple[BottleneckSpec, ...], ...] = STAGES,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        channels = make_divisible(STEM_CHANNELS * width)
        self.conv_stem = nn.Conv2d(3, channels, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        modules: list[nn.Module] = []
        layer = 0
        for specs in stages:
            blocks: list[nn.Module] = []
            for spec in specs:
                mid, out = make_divisible(spec.expansion * width), make_divisible(spec.out * width)
                blocks.append(block(channels, mid, out, spec, layer))
                channels = out
                layer += 1
            modules.append(nn.Sequential(*blocks))
        last = make_divisible(LAST_EXPANSION * width)
        modules.append(nn.Sequential(ConvBnAct(channels, last)))
        self.blocks = nn.Sequential(*modules)
        self.conv_head = nn.Conv2d(last, HEAD_CHANNELS, 1)
        self.classifier = nn.Linear(HEAD_CHANNELS, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images ``[N, 3, H, W]`` float32 to logits ``[N, num_classes]``."""
        x = self.blocks(F.relu(self.bn1(self.conv_stem(x))))
        x = F.relu(self.conv_head(x.mean((2, 3), keepdim=True)))
        x = F.dropout(torch.flatten(x, 1), self.dropout, self.training)
        logits: Tensor = self.classifier(x)
        return logits


GHOSTNET = Family(
    title="GhostNet V1",
    name="ghostnet",
    sizes=Multiplier("blocks.9.0.conv.weight", LAST_EXPANSION, (0.5, 1.0, 1.3)),
    forms=(Form(GhostNet),),
    key_pattern=r"\.cheap_operation\.0\.",
    # What Huawei evaluates with: 256 bilinear, centre 224; the published 73.98 % is with bilinear.
    preprocessing=Preprocessing(interpolation="bilinear"),
)
