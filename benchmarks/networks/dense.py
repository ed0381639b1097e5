"""Networks that answer for every pixel: segmentation, super-resolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from ghostedge_convert.architectures.ghostnet import GhostModule
from networks.blocks import Backbone

CLASSES = 5


class LRASPP(nn.Module):
    """Lite reduced ASPP (Howard et al., 2019), as torchvision has it: logits of every pixel."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.backbone = Backbone()
        low, _, high = Backbone.channels
        self.cbr = nn.Sequential(
            nn.Conv2d(high, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU()
        )
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(high, hidden, 1, bias=False), nn.Sigmoid()
        )
        self.low_classifier = nn.Conv2d(low, CLASSES, 1)
        self.high_classifier = nn.Conv2d(hidden, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, 3, H, W]`` to ``[N, classes, H, W]``."""
        low, _, high = self.backbone(x)
        y = self.cbr(high) * self.scale(high)
        y = F.interpolate(y, size=low.shape[-2:], mode="bilinear", align_corners=False)
        y = self.low_classifier(low) + self.high_classifier(y)
        return F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


class Up(nn.Module):
    """A U-Net's step up: twice the size, joined with the finer features, a ghost module.

    Args:
        inputs: Channels from below; half of them are left after the step.
        beside: Channels of the finer features.
        transposed: Whether a transposed convolution enlarges, else bilinear interpolation.
    """

    def __init__(self, inputs: int, beside: int, outputs: int, *, transposed: bool) -> None:
        super().__init__()
        half = inputs // 2
        self.up: nn.Module = nn.ConvTranspose2d(inputs, half, 2, stride=2)
        if not transposed:
            self.up = nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
                nn.Conv2d(inputs, half, 1),
            )
        self.conv = GhostModule(half + beside, outputs, relu=True)

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        x = self.up(x)
        rows, columns = finer.shape[2] - x.shape[2], finer.shape[3] - x.shape[3]
        x = F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        joined: Tensor = self.conv(torch.cat([finer, x], dim=1))
        return joined


class UNet(nn.Module):
    """A U-Net (Ronneberger et al., 2015) whose encoder is a GhostNet: logits of every pixel."""

    def __init__(self, *, transposed: bool) -> None:
        super().__init__()
        self.backbone = Backbone()
        first, second, third = Backbone.channels
        self.up1 = Up(third, second, 24, transposed=transposed)
        self.up2 = Up(24, first, 16, transposed=transposed)
        self.up3 = Up(16, 8, 16, transposed=transposed)
        self.out = nn.Sequential(
            nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
            if transposed
            else nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
                nn.Conv2d(16, 8, 3, padding=1),
            ),
            nn.ReLU(),
            nn.Conv2d(8, CLASSES, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, 3, H, W]`` to ``[N, classes, H, W]``."""
        stem = self.backbone.stem(x)
        c2, c3, c4 = self.backbone.stages(stem)
        y = self.up2(self.up1(c4, c3), c2)
        logits: Tensor = self.out(self.up3(y, stem))
        return logits


class SuperResolution(nn.Module):
    """Twice the size by a pixel shuffle, on top of the repeated input (Du et al., 2021)."""

    def __init__(self, channels: int = 24) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*(GhostModule(channels, channels, relu=True) for _ in range(3)))
        self.tail = nn.Conv2d(channels, 12, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, 3, H, W]`` to ``[N, 3, 2H, 2W]``."""
        detail = self.tail(self.body(F.relu(self.head(x))))
        larger: Tensor = self.shuffle(0.2 * detail + x.repeat_interleave(4, dim=1))
        return larger
