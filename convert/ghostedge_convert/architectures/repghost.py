"""RepGhostNet (Chen et al., "RepGhost: A Hardware-Efficient Ghost Module via Re-parameterization").

GhostNet's concatenation costs a copy of every feature map on a device, so its ghost features are
added here instead: a batch-normed identity beside the cheap depthwise conv. Once trained, both are
linear in the same input and become one depthwise conv with a bias. The network has two forms, with
the keys that the authors' and timm's weights have in each: the training form, and the deployed one,
which `fuse` makes of the other's weights. The authors' ablations (without the branch, with a bare
identity in its place, without shortcuts) leave weights that do not tell which of them they are,
and are not covered.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert.architectures.ghostnet import (
    HEAD_CHANNELS,
    LAST_EXPANSION,
    STEM_CHANNELS,
    BottleneckSpec,
    SqueezeExcite,
    make_divisible,
)

# The paper's table of stages at width 1.0; the expansion is half of GhostNet's, for adding does not
# double the channels as concatenating does.
STAGES: tuple[tuple[BottleneckSpec, ...], ...] = (
    (BottleneckSpec(3, 8, 16),),
    (BottleneckSpec(3, 24, 24, stride=2),),
    (BottleneckSpec(3, 36, 24),),
    (BottleneckSpec(5, 36, 40, stride=2, se=True),),
    (BottleneckSpec(5, 60, 40, se=True),),
    (BottleneckSpec(3, 120, 80, stride=2),),
    (
        BottleneckSpec(3, 100, 80),
        BottleneckSpec(3, 120, 80),
        BottleneckSpec(3, 120, 80),
        BottleneckSpec(3, 240, 112, se=True),
        BottleneckSpec(3, 336, 112, se=True),
    ),
    (BottleneckSpec(5, 336, 160, stride=2, se=True),),
    (
        BottleneckSpec(5, 480, 160),
        BottleneckSpec(5, 480, 160, se=True),
        BottleneckSpec(5, 480, 160),
        BottleneckSpec(5, 480, 160, se=True),
    ),
)


class RepGhostModule(nn.Module):
    """A pointwise conv, then a depthwise one of its result; in training an identity beside it."""

    def __init__(
        self, in_channels: int, out_channels: int, *, relu: bool, deployed: bool = False
    ) -> None:
        super().__init__()
        self.primary_conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU() if relu else nn.Identity(),
        )
        self.fusion_bn = nn.Sequential()
        self.cheap_operation: nn.Module = _cheap(out_channels, bias=deployed)
        if not deployed:
            self.fusion_bn = nn.Sequential(nn.BatchNorm2d(out_channels))
            self.cheap_operation = nn.Sequential(self.cheap_operation, nn.BatchNorm2d(out_channels))
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, H, W]``."""
        intrinsic = self.primary_conv(x)
        ghosts = self.cheap_operation(intrinsic)
        for norm in self.fusion_bn:
            ghosts = ghosts + norm(intrinsic)
        result: Tensor = self.relu(ghosts)
        return result

    def fuse(self) -> None:
        """Make the branches one depthwise conv, where that is not done yet.

        The conv takes its batch norm; the norm beside it adds its factor to the middle tap and its
        shift to the bias. In float64, so that the one rounding is the last.
        """
        if not isinstance(self.cheap_operation, nn.Sequential):
            return
        conv, norm = self.cheap_operation
        scale, shift = _affine(norm)
        beside_scale, beside_shift = _affine(self.fusion_bn[0])
        weight = conv.state_dict()["weight"]
        kernel = weight.double() * scale.reshape(-1, 1, 1, 1)
        kernel[:, 0, 1, 1] += beside_scale
        fused = _cheap(len(weight), bias=True)
        values = {
            "weight": kernel.to(weight.dtype),
            "bias": (shift + beside_shift).to(weight.dtype),
        }
        fused.load_state_dict(values, assign=True)
        self.cheap_operation, self.fusion_bn = fused, nn.Sequential()


def _cheap(channels: int, *, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=bias)


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Factor and shift per channel that a batch norm amounts to, float64."""
    state = {name: value.double() for name, value in norm.state_dict().items()}
    scale = state["weight"] / torch.sqrt(state["running_var"] + cast("nn.BatchNorm2d", norm).eps)
    return scale, state["bias"] - state["running_mean"] * scale


class RepGhostBottleneck(nn.Module):
    """GhostNet's bottleneck of RepGhost modules."""

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        spec: BottleneckSpec,
        *,
        deployed: bool,
    ) -> None:
        super().__init__()
        self.ghost1 = RepGhostModule(in_channels, mid_channels, relu=True, deployed=deployed)
        self.conv_dw: nn.Module = nn.Identity()
        self.bn_dw: nn.Module = nn.Identity()
        if spec.stride > 1:
            self.conv_dw = _depthwise(mid_channels, spec)
            self.bn_dw = nn.BatchNorm2d(mid_channels)
        self.se = SqueezeExcite(mid_channels) if spec.se else nn.Identity()
        self.ghost2 = RepGhostModule(mid_channels, out_channels, relu=False, deployed=deployed)
        self.shortcut = nn.Sequential()
        if spec.stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                _depthwise(in_channels, spec),
                nn.BatchNorm2d(in_channels),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, ceil(H / stride), ceil(W / stride)]``."""
        main: Tensor = self.ghost2(self.se(self.bn_dw(self.conv_dw(self.ghost1(x)))))
        skip: Tensor = self.shortcut(x)
        return main + skip


def _depthwise(channels: int, spec: BottleneckSpec) -> nn.Conv2d:
    return nn.Conv2d(
        channels,
        channels,
        spec.kernel,
        spec.stride,
        padding=spec.kernel // 2,
        groups=channels,
        bias=False,
    )


class _ConvBnAct(nn.Module):
    """The last pointwise conv; a class because its published keys are ``conv`` and ``bn1``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv(x)))


class RepGhostNet(nn.Module):
    """RepGhostNet.

    Args:
        width: Channel multiplier; 0.5, 0.58, 0.8, 1.0, 1.11, 1.3, 1.5 and 2.0 are the paper's.
        num_classes: Size of the classifier.
        deployed: The form for inference, without the branches that training has.
        dropout: Probability before the classifier, in training only.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        num_classes: int = 1000,
        deployed: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        channels = make_divisible(STEM_CHANNELS * width)
        self.conv_stem = nn.Conv2d(3, channels, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        stages: list[nn.Module] = []
        for specs in STAGES:
            blocks: list[nn.Module] = []
            for spec in specs:
                mid, out = make_divisible(spec.expansion * width), make_divisible(spec.out * width)
                blocks.append(RepGhostBottleneck(channels, mid, out, spec, deployed=deployed))
                channels = out
            stages.append(nn.Sequential(*blocks))
        last = make_divisible(LAST_EXPANSION * width)
        stages.append(nn.Sequential(_ConvBnAct(channels, last)))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = nn.Conv2d(last, HEAD_CHANNELS, 1)
        self.classifier = nn.Linear(HEAD_CHANNELS, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images ``[N, 3, H, W]`` float32 to logits ``[N, num_classes]``."""
        x = self.blocks(F.relu(self.bn1(self.conv_stem(x))))
        x = F.relu(self.conv_head(x.mean((2, 3), keepdim=True)))
        x = F.dropout(torch.flatten(x, 1), self.dropout, self.training)
        logits: Tensor = self.classifier(x)
        return logits


def fuse(network: nn.Module) -> nn.Module:
    """Bring a RepGhostNet of either form into the deployed form, in place.

    Args:
        network: Its function in evaluation mode is kept.

    Returns:
        The network itself.
    """
    for module in network.modules():
        if isinstance(module, RepGhostModule):
            module.fuse()
    return network
