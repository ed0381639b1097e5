"""Classifiers: a small GhostNet with another attention in place of squeeze-and-excitation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from networks.blocks import Attention, Backbone


class CBAM(nn.Module):
    """Convolutional block attention (Woo et al., 2018): first channels, then places."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels // reduction, channels, 1, bias=False),
        )
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1))
        x = x * torch.sigmoid(pooled)
        places = torch.cat((x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]), 1)
        return x * torch.sigmoid(self.spatial(places))


class ECA(nn.Module):
    """Efficient channel attention (Wang et al., 2020): a 1-D convolution over the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = int(abs((math.log2(channels) + 1) / 2)) | 1
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.avg_pool(x)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * torch.sigmoid(y).expand_as(x)


class CoordinateAttention(nn.Module):
    """Coordinate attention (Hou et al., 2021): a gate for rows, another for columns."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        middle = max(8, channels // reduction)
        self.pool_h = nn.AdaptiveAvgPool2d((None, 1))
        self.pool_w = nn.AdaptiveAvgPool2d((1, None))
        self.conv1 = nn.Conv2d(channels, middle, 1)
        self.bn1 = nn.BatchNorm2d(middle)
        self.act = nn.Hardswish()
        self.conv_h, self.conv_w = nn.Conv2d(middle, channels, 1), nn.Conv2d(middle, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        y = torch.cat([self.pool_h(x), self.pool_w(x).permute(0, 1, 3, 2)], dim=2)
        rows, columns = torch.split(self.act(self.bn1(self.conv1(y))), [height, width], dim=2)
        across = self.conv_w(columns.permute(0, 1, 3, 2)).sigmoid()
        gated: Tensor = x * across * self.conv_h(rows).sigmoid()
        return gated


class SimAM(nn.Module):
    """Parameter-free attention (Yang et al., 2021): how far each number is from its mean."""

    def __init__(self, channels: int, least_variance: float = 1e-4) -> None:  # noqa: ARG002 - an `Attention`
        super().__init__()
        self.least_variance = least_variance

    def forward(self, x: Tensor) -> Tensor:
        others = x.shape[2] * x.shape[3] - 1
        squares = (x - x.mean(dim=[2, 3], keepdim=True)).pow(2)
        variance = squares.sum(dim=[2, 3], keepdim=True) / others
        return x * torch.sigmoid(squares / (4 * (variance + self.least_variance)) + 0.5)


class Classifier(nn.Module):
    """Logits of 10 classes."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.backbone = Backbone(attention)
        self.head = nn.Linear(Backbone.channels[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, 3, H, W]`` to ``[N, 10]``."""
        logits: Tensor = self.head(self.backbone(x)[-1].mean((2, 3)))
        return logits
