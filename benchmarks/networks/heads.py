"""An embedder in the manner of GhostFaceNet, and one network for several tasks."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by

from networks.blocks import Backbone


class GhostFaceNet(nn.Module):
    """A unit vector of a face (Alansari et al., 2023): PReLU, a depthwise head, L2 norm.

    Args:
        size: Height and width in pixels.
    """

    def __init__(self, size: tuple[int, int], length: int = 64) -> None:
        super().__init__()
        self.backbone = Backbone()
        _use_prelu(self.backbone)
        channels = Backbone.channels[-1]
        window = (size[0] // 16, size[1] // 16)
        self.expand = nn.Sequential(
            nn.Conv2d(channels, 128, 1, bias=False), nn.BatchNorm2d(128), nn.PReLU(128)
        )
        self.gdc = nn.Sequential(
            nn.Conv2d(128, 128, window, groups=128, bias=False), nn.BatchNorm2d(128)
        )
        self.project = nn.Conv2d(128, length, 1, bias=False)
        self.norm = nn.BatchNorm1d(length)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, 3, H, W]`` to ``[N, length]``, each row of length 1."""
        y = self.project(self.gdc(self.expand(self.backbone(x)[-1])))
        return F.normalize(self.norm(torch.flatten(y, 1)), p=2, dim=1)


def _use_prelu(network: nn.Module) -> None:
    """Put a PReLU of its own slopes in the place of every ReLU after a batch norm."""
    for parent in network.modules():
        names = list(parent._modules)
        for before, name in itertools.pairwise(names):
            norm, act = parent._modules[before], parent._modules[name]
            if isinstance(norm, nn.BatchNorm2d) and isinstance(act, nn.ReLU):
                parent._modules[name] = nn.PReLU(norm.num_features)


class MultiTask(nn.Module):
    """Class logits, one number (an age, standardised), and a mask of probabilities, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        channels = Backbone.channels[-1]
        self.classes = nn.Linear(channels, 10)
        self.age = nn.Sequential(nn.Linear(channels, 16), nn.ReLU(), nn.Linear(16, 1))
        self.mask = nn.Sequential(
            nn.ConvTranspose2d(channels, 16, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 1, 1),
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map ``[N, 3, H, W]`` to ``[N, 10]``, ``[N, 1]`` and ``[N, 1, H, W]``."""
        features = self.backbone(x)[-1]
        pooled = F.adaptive_avg_pool2d(features, 1).flatten(1)
        mask = F.interpolate(
            self.mask(features), size=x.shape[2:], mode="bilinear", align_corners=False
        )
        return {
            "classes": self.classes(pooled),
            "age": self.age(pooled),
            "mask": torch.sigmoid(mask),
        }
