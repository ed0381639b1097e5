"""The articles' network in PyTorch: a softmax over channels weighs what a max pool kept.

As the article has it, but for the pool, whose ``padding='same'`` PyTorch does not know: one pixel
on each side keeps the size. The projection on the residual makes the channels add up.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentiveGhost(nn.Module):
    """Conv stream and weighted max-pool stream, concatenated, plus a projected residual.

    Args:
        in_channels: C; the pooled stream has as many.
        channels: Of the conv stream. The output has the sum.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        both = in_channels + channels
        self.conv = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU())
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.attention = nn.Sequential(
            nn.Conv2d(both, in_channels, 1, bias=False),
            nn.BatchNorm2d(in_channels),
            nn.Softmax(dim=1),
        )
        self.projection = nn.Conv2d(in_channels, both, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, C + channels, H, W]."""
        convolved, pooled = self.conv(x), self.pool(x)
        weights = self.attention(torch.cat([convolved, pooled], dim=1))
        both: Tensor = torch.cat([convolved, pooled * weights], dim=1) + self.projection(x)
        return both


class AttentiveNet(nn.Module):
    """Three such modules with pools between them, averaged and classified.

    Args:
        classes: Labels to tell apart.
        width: Channels behind the first module; they double with each.
    """

    def __init__(self, classes: int = 10, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            AttentiveGhost(3, width - 3),
            nn.MaxPool2d(2),
            AttentiveGhost(width, width),
            nn.MaxPool2d(2),
            AttentiveGhost(2 * width, 2 * width),
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, 3, 32, 32] → logits [N, classes]."""
        logits: Tensor = self.head(self.body(x))
        return logits


def attentive() -> AttentiveNet:
    """The network as ``train_torch.py`` trains it, for ``ghostedge convert --factory``."""
    return AttentiveNet()
