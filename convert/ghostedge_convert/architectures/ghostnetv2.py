"""GhostNetV2 (Tang et al., "GhostNetV2: Enhance Cheap Operation with Long-Range Attention", 2022).

V1's stem, stages and head; from the third block on, the first ghost module is gated by an
attention over rows and columns (decoupled fully connected, DFC), computed at half the resolution.
Keys are those of Huawei's and timm's published weights. Nothing of V3 is here but the attention
branch, which is the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert.architectures.family import Family, Form, Multiplier
from ghostedge_convert.architectures.ghostnet import (
    LAST_EXPANSION,
    BottleneckSpec,
    GhostBottleneck,
    GhostModule,
    GhostNet,
)
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Preprocessing

FIRST_ATTENTIVE_LAYER = 2


def attention_branch(in_channels: int, out_channels: int) -> nn.Sequential:
    """The branch behind the attention: pointwise, then along rows (1×5), then columns (5×1)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.Conv2d(
            out_channels, out_channels, (1, 5), padding=(0, 2), groups=out_channels, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.Conv2d(
            out_channels, out_channels, (5, 1), padding=(2, 0), groups=out_channels, bias=False
        ),
        nn.BatchNorm2d(out_channels),
    )


def attention(branch: nn.Module, x: Tensor) -> Tensor:
    """Gates in (0, 1) for every channel and position of a ghost module's output.

    Args:
        branch: An `attention_branch`.
        x: The ghost module's input, ``[N, in, H, W]``.

    Returns:
        ``[N, out, H, W]``, each gate standing for 2×2 positions.

    Raises:
        InputError: H or W is 1, which has no half.
    """
    height, width = x.shape[-2:]
    if min(height, width) < 2:
        raise InputError(
            f"the attention halves a map of {height} × {width}, which is too small",
            where="input size",
            remedy="give images of at least 33 × 33 pixels",
        )
    gates = torch.sigmoid(branch(F.avg_pool2d(x, 2, 2)))
    return F.interpolate(gates, size=(height, width), mode="nearest")


class AttentiveGhostModule(GhostModule):
    """A ghost module with activations, gated by the attention over its input."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, relu=True)
        self.short_conv = attention_branch(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, H, W]``."""
        return super().forward(x) * attention(self.short_conv, x)


def attentive_block(
    in_channels: int, mid_channels: int, out_channels: int, spec: BottleneckSpec, layer: int
) -> nn.Module:
    """V1's bottleneck in the first two layers, an attentive one after."""
    if layer < FIRST_ATTENTIVE_LAYER:
        return GhostBottleneck(in_channels, mid_channels, out_channels, spec)
    expand = AttentiveGhostModule(in_channels, mid_channels)
    return GhostBottleneck(in_channels, mid_channels, out_channels, spec, expand=expand)


class GhostNetV2(GhostNet):
    """GhostNetV2.

    Args:
        width: Channel multiplier; 1.0, 1.3 and 1.6 are the paper's.
        num_classes: Size of the classifier.
        dropout: Probability before the classifier, in training only.
    """

    def __init__(
        self, *, width: float = 1.0, num_classes: int = 1000, dropout: float = 0.2
    ) -> None:
        super().__init__(
            width=width, num_classes=num_classes, dropout=dropout, block=attentive_block
        )


GHOSTNETV2 = Family(
    title="GhostNetV2",
    name="ghostnetv2",
    sizes=Multiplier("blocks.9.0.conv.weight", LAST_EXPANSION, (1.0, 1.3, 1.6)),
    forms=(Form(GhostNetV2),),
    key_pattern=r"\.short_conv\.\d+\.",
    # Huawei's training script evaluates with timm's defaults, which are bicubic; so does timm.
    preprocessing=Preprocessing(interpolation="bicubic"),
)
