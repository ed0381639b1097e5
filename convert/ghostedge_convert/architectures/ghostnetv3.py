"""GhostNetV3 (Liu et al., "GhostNetV3: Exploring the Training Strategies for Compact Models").

V2's network, each of whose ghost and strided convolutions is trained as several parallel branches
that `fuse` makes one convolution of, and whose attention it frees of batch norms too. Weights come
in these forms, with Huawei's or timm's keys: the training form; what Huawei's re-parameterisation
left in its first version, which did not reach the strided convolutions; and what it and timm's
leave today. None of them reaches the attention. Huawei's training form has an identity beside the
pointwise convolutions where their channels agree, which is so at no width above 0.37: no weights
of that kind are published, and they are not covered.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert.architectures.branches import ConvNorm, convolved, summed, with_bias
from ghostedge_convert.architectures.family import Family, Form, Multiplier
from ghostedge_convert.architectures.ghostnet import (
    LAST_EXPANSION,
    BottleneckSpec,
    GhostBottleneck,
    GhostNet,
)
from ghostedge_convert.architectures.ghostnetv2 import (
    FIRST_ATTENTIVE_LAYER,
    attention,
    attention_branch,
)
from ghostedge_runtime.metadata import Preprocessing

Part = Literal["ghost", "strided", "attention"]
"""What can be stored fused, each for itself: ghost modules, strided convolutions, attention."""

_BRANCHES = 3


class TrainedGhostModule(nn.Module):
    """A ghost module of branches: three pointwise; three depthwise, a 1×1 and an identity."""

    def __init__(
        self, in_channels: int, out_channels: int, *, relu: bool, branch: nn.Sequential | None
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.relu = relu
        half = math.ceil(out_channels / 2)
        self.primary_rpr_conv = nn.ModuleList(
            ConvNorm(in_channels, half, 1) for _ in range(_BRANCHES)
        )
        self.cheap_rpr_skip = nn.BatchNorm2d(half)
        self.cheap_rpr_conv = nn.ModuleList(
            ConvNorm(half, half, 3, groups=half) for _ in range(_BRANCHES)
        )
        self.cheap_rpr_scale = ConvNorm(half, half, 1, groups=half)
        self.short_conv = branch

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, H, W]``."""
        intrinsic = self._activated(_total(self.primary_rpr_conv, x))
        beside = self.cheap_rpr_scale(intrinsic) + self.cheap_rpr_skip(intrinsic)
        ghosts = self._activated(_total(self.cheap_rpr_conv, intrinsic) + beside)
        return _joined(intrinsic, ghosts, self.out_channels, self.short_conv, x)

    def fused(self) -> FusedGhostModule:
        """The module of single convolutions that computes the same."""
        with torch.device("meta"):
            module = FusedGhostModule(
                self.in_channels, self.out_channels, relu=self.relu, branch=self.short_conv
            )
        module.primary_conv[0] = summed(_norms(self.primary_rpr_conv))
        cheap = [*_norms(self.cheap_rpr_conv), self.cheap_rpr_scale]
        module.cheap_operation[0] = summed(cheap, self.cheap_rpr_skip)
        return module

    def _activated(self, x: Tensor) -> Tensor:
        return F.relu(x) if self.relu else x


class FusedGhostModule(nn.Module):
    """V1's ghost module of convolutions with biases, without batch norms, perhaps attentive."""

    def __init__(
        self, in_channels: int, out_channels: int, *, relu: bool, branch: nn.Sequential | None
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        half = math.ceil(out_channels / 2)
        activation = nn.ReLU if relu else nn.Identity
        self.primary_conv = nn.Sequential(nn.Conv2d(in_channels, half, 1), activation())
        self.cheap_operation = nn.Sequential(
            nn.Conv2d(half, half, 3, padding=1, groups=half), activation()
        )
        self.short_conv = branch

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, H, W]``."""
        intrinsic = self.primary_conv(x)
        ghosts = self.cheap_operation(intrinsic)
        return _joined(intrinsic, ghosts, self.out_channels, self.short_conv, x)


class GhostBottleneckV3(GhostBottleneck):
    """V1's bottleneck of V3's ghost modules, its strided convolution of branches or fused."""

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        spec: BottleneckSpec,
        layer: int,
        *,
        fused: Collection[Part],
    ) -> None:
        ghost = FusedGhostModule if "ghost" in fused else TrainedGhostModule
        branch = None
        if layer >= FIRST_ATTENTIVE_LAYER:
            branch = attention_branch(in_channels, mid_channels)
            branch = _without_norms(branch) if "attention" in fused else branch
        super().__init__(
            in_channels,
            mid_channels,
            out_channels,
            spec,
            expand=ghost(in_channels, mid_channels, relu=True, branch=branch),
            project=ghost(mid_channels, out_channels, relu=False, branch=None),
        )
        self.branched = spec.stride > 1 and "strided" not in fused
        if spec.stride > 1:
            self.bn_dw = nn.Identity()
            self.conv_dw = nn.Identity() if self.branched else _with_bias(self.conv_dw)
        if self.branched:
            mid, stride = mid_channels, spec.stride
            self.dw_rpr_conv = nn.ModuleList(
                ConvNorm(mid, mid, spec.kernel, stride=stride, groups=mid) for _ in range(_BRANCHES)
            )
            self.dw_rpr_scale = ConvNorm(mid, mid, 1, stride=stride, groups=mid)

    def shrink(self, x: Tensor) -> Tensor:
        """The strided depthwise convolutions, where the block has some."""
        if self.branched:
            return _total(self.dw_rpr_conv, x) + cast("Tensor", self.dw_rpr_scale(x))
        return super().shrink(x)

    def fuse(self) -> None:
        """Make each part one convolution where it is not, in place."""
        if isinstance(self.ghost1, TrainedGhostModule):
            self.ghost1 = self.ghost1.fused()
        if isinstance(self.ghost2, TrainedGhostModule):
            self.ghost2 = self.ghost2.fused()
        if isinstance(self.ghost1, FusedGhostModule) and self.ghost1.short_conv is not None:
            self.ghost1.short_conv = _folded(self.ghost1.short_conv)
        if self.branched:
            self.conv_dw = summed([*_norms(self.dw_rpr_conv), self.dw_rpr_scale])
            self.branched = False
            del self.dw_rpr_conv, self.dw_rpr_scale


class GhostNetV3(GhostNet):
    """GhostNetV3.

    Args:
        width: Channel multiplier; weights are published at 1.0.
        num_classes: Size of the classifier.
        dropout: Probability before the classifier, in training only.
        fused: The parts that are single convolutions; none of them is in the training form.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        num_classes: int = 1000,
        dropout: float = 0.2,
        fused: Collection[Part] = (),
    ) -> None:
        block = partial(GhostBottleneckV3, fused=fused)
        super().__init__(width=width, num_classes=num_classes, dropout=dropout, block=block)


def fuse(network: nn.Module) -> nn.Module:
    """Re-parameterise a GhostNetV3 of any form, its attention too, in place.

    Returns:
        The network itself, the same function in evaluation mode.
    """
    for module in network.modules():
        if isinstance(module, GhostBottleneckV3):
            module.fuse()
    return network


def _joined(
    intrinsic: Tensor, ghosts: Tensor, channels: int, branch: nn.Module | None, x: Tensor
) -> Tensor:
    out = torch.cat([intrinsic, ghosts], dim=1)[:, :channels]
    return out if branch is None else out * attention(branch, x)


def _total(branches: nn.ModuleList, x: Tensor) -> Tensor:
    results: list[Tensor] = [branch(x) for branch in branches]
    return torch.stack(results).sum(dim=0)


def _norms(branches: nn.ModuleList) -> list[ConvNorm]:
    return [branch for branch in branches if isinstance(branch, ConvNorm)]


def _without_norms(branch: nn.Sequential) -> nn.Sequential:
    """An attention branch of convolutions with biases, under the same keys."""
    return nn.Sequential(
        *(_with_bias(layer) if isinstance(layer, nn.Conv2d) else nn.Identity() for layer in branch)
    )


def _with_bias(layer: nn.Module) -> nn.Module:
    """An unset convolution placed as another, with a bias."""
    conv = cast("nn.Conv2d", layer)
    return with_bias(conv, conv.weight, torch.zeros(conv.out_channels, device=conv.weight.device))


def _folded(branch: nn.Sequential) -> nn.Sequential:
    """An attention branch with its batch norms folded into the convolutions before them."""
    layers: list[nn.Module] = []
    for layer in branch:
        if isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.Conv2d):
            layers[-1] = with_bias(layers[-1], *convolved(layers[-1], layer))
            layers.append(nn.Identity())
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


_GHOSTS: tuple[Part, ...] = ("ghost",)
_CONVOLUTIONS: tuple[Part, ...] = ("ghost", "strided")
_ALL: tuple[Part, ...] = ("ghost", "strided", "attention")

GHOSTNETV3 = Family(
    title="GhostNetV3",
    name="ghostnetv3",
    sizes=Multiplier("blocks.9.0.conv.weight", LAST_EXPANSION, (1.0,)),
    forms=(
        Form(GhostNetV3, "training form", r"\.(primary|cheap)_rpr_"),
        Form(
            partial(GhostNetV3, fused=_GHOSTS),
            "deployed form but for the strided convolutions",
            r"\.dw_rpr_",
        ),
        Form(
            partial(GhostNetV3, fused=_CONVOLUTIONS),
            "deployed form",
            r"\.short_conv\.\d\.running_mean$",
        ),
        Form(
            partial(GhostNetV3, fused=_ALL),
            "deployed form without batch norm in its attention",
        ),
    ),
    key_pattern=r"_rpr_(conv|skip|scale)\.|\.primary_conv\.0\.bias$",
    # timm's name for the batch norm of a branch.
    renames=((r"(_rpr_\w+(?:\.\d+)?)\.bn1\.", r"\1.bn."),),
    fuse=fuse,
    # Huawei's training script evaluates with timm's defaults, which are bicubic; so does timm.
    preprocessing=Preprocessing(interpolation="bicubic"),
)
