"""Detectors of ghost convolutions, their heads decoded as YOLOv5 and YOLOv8 export them."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from networks.blocks import C3Ghost, Conv, GhostConv

CLASSES = 20
STRIDES = (8, 16, 32)
WIDTHS = (32, 48, 64)


class Neck(nn.Module):
    """Backbone and path aggregation: features of ``WIDTHS`` channels at ``STRIDES``."""

    def __init__(self) -> None:
        super().__init__()
        small, middle, large = WIDTHS
        self.stem = nn.Sequential(Conv(3, 8, 3, 2), GhostConv(8, 16, 3, 2), C3Ghost(16, 16))
        self.p3 = nn.Sequential(GhostConv(16, small, 3, 2), C3Ghost(small, small))
        self.p4 = nn.Sequential(GhostConv(small, middle, 3, 2), C3Ghost(middle, middle))
        self.p5 = nn.Sequential(GhostConv(middle, large, 3, 2), SPPF(large))
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.fine4, self.fine3 = C3Ghost(large + middle, middle), C3Ghost(middle + small, small)
        self.down3, self.down4 = GhostConv(small, small, 3, 2), GhostConv(middle, middle, 3, 2)
        self.coarse4, self.coarse5 = C3Ghost(small + middle, middle), C3Ghost(middle + large, large)

    def forward(self, x: Tensor) -> list[Tensor]:
        p3 = self.p3(self.stem(x))
        p4 = self.p4(p3)
        p5 = self.p5(p4)
        fine4 = self.fine4(torch.cat((self.up(p5), p4), 1))
        out3 = self.fine3(torch.cat((self.up(fine4), p3), 1))
        out4 = self.coarse4(torch.cat((self.down3(out3), fine4), 1))
        return [out3, out4, self.coarse5(torch.cat((self.down4(out4), p5), 1))]


class SPPF(nn.Module):
    """Spatial pyramid pooling, fast: three max pools in a row, joined."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(channels, channels // 2), Conv(2 * channels, channels)
        self.m = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        levels = [self.cv1(x)]
        for _ in range(3):
            levels.append(self.m(levels[-1]))
        joined: Tensor = self.cv2(torch.cat(levels, 1))
        return joined


class DFL(nn.Module):
    """Distribution focal loss's integral: the mean of a softmax over 16 distances."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.conv = nn.Conv2d(bins, 1, 1, bias=False).requires_grad_(False)
        self.conv.weight.data[:] = torch.arange(bins, dtype=torch.float).view(1, bins, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, anchors = x.shape
        shares = x.view(batch, 4, self.bins, anchors).transpose(2, 1).softmax(1)
        distances: Tensor = self.conv(shares).view(batch, 4, anchors)
        return distances


class YOLOv8(nn.Module):
    """Anchor-free: centre, size and class scores of every place, ``[N, 4 + classes, places]``.

    Args:
        size: Height and width in pixels.
    """

    def __init__(self, size: tuple[int, int], bins: int = 16) -> None:
        super().__init__()
        self.bins = bins
        self.neck = Neck()
        hidden = WIDTHS[0]
        self.cv2 = nn.ModuleList(
            nn.Sequential(GhostConv(w, hidden, 3), nn.Conv2d(hidden, 4 * bins, 1)) for w in WIDTHS
        )
        self.cv3 = nn.ModuleList(
            nn.Sequential(GhostConv(w, hidden, 3), nn.Conv2d(hidden, CLASSES, 1)) for w in WIDTHS
        )
        self.dfl = DFL(bins)
        self.anchors: Tensor
        self.strides: Tensor
        grids = [_centres(size, stride) for stride in STRIDES]
        self.register_buffer("anchors", torch.cat(grids, 1)[None])
        each = [torch.full((1, grid.shape[1]), s) for grid, s in zip(grids, STRIDES, strict=True)]
        self.register_buffer("strides", torch.cat(each, 1).float())

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, 3, H, W]`` to boxes (x, y, w, h in pixels) above scores (0 to 1)."""
        levels = [
            torch.cat((box(f), score(f)), 1).view(len(f), 4 * self.bins + CLASSES, -1)
            for box, score, f in zip(self.cv2, self.cv3, self.neck(x), strict=True)
        ]
        boxes, scores = torch.split(torch.cat(levels, 2), [4 * self.bins, CLASSES], 1)
        left_top, right_bottom = self.dfl(boxes).chunk(2, 1)
        first, last = self.anchors - left_top, self.anchors + right_bottom
        decoded = torch.cat(((first + last) / 2, last - first), 1) * self.strides
        return torch.cat((decoded, scores.sigmoid()), 1)


def _centres(size: tuple[int, int], stride: int) -> Tensor:
    """Places x and y of a level's cells, in cells: ``[2, cells]``."""
    height, width = size[0] // stride, size[1] // stride
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack((x, y)).view(2, -1)


class YOLOv5(nn.Module):
    """Anchor-based: 3 anchors a place, ``[N, anchors of all levels, 5 + classes]``.

    Args:
        size: Height and width in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.neck = Neck()
        self.outputs = 5 + CLASSES
        self.m = nn.ModuleList(nn.Conv2d(w, 3 * self.outputs, 1) for w in WIDTHS)
        for level, stride in enumerate(STRIDES):
            grid = (_centres(size, stride) - 1.0).T.view(1, 1, size[0] // stride, -1, 2)
            sides = torch.tensor([[1.3, 1.6], [2.0, 3.7], [4.1, 2.9]]) * stride
            self.register_buffer(f"grid{level}", grid)
            self.register_buffer(f"anchors{level}", sides.view(1, 3, 1, 1, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, 3, H, W]`` to rows of box (pixels), objectness and scores (0 to 1)."""
        rows = []
        for level, (head, f) in enumerate(zip(self.m, self.neck(x), strict=True)):
            n, _, height, width = f.shape
            y = head(f).view(n, 3, self.outputs, height, width).permute(0, 1, 3, 4, 2).contiguous()
            xy, wh, scores = y.sigmoid().split((2, 2, self.outputs - 4), 4)
            grid, sides = getattr(self, f"grid{level}"), getattr(self, f"anchors{level}")
            xy, wh = (xy * 2 + grid) * STRIDES[level], (wh * 2) ** 2 * sides
            rows.append(torch.cat((xy, wh, scores), 4).view(n, 3 * height * width, self.outputs))
        return torch.cat(rows, 1)


def spread_scores(network: YOLOv5 | YOLOv8) -> None:
    """Make the scores' logits as wide as a trained detector's, so that scores span 0 to 1.

    Boxes of YOLOv5, whose sizes are squared, get narrow ones.
    """
    five = isinstance(network, YOLOv5)
    lasts = network.m if isinstance(network, YOLOv5) else [[*s.children()][-1] for s in network.cv3]
    for head in cast("list[nn.Conv2d]", lasts):
        wide = torch.full((head.out_channels,), 2.0)
        if five:
            wide.view(3, -1)[:, :4] = 0.3
        head.weight.data *= wide.view(-1, 1, 1, 1)
        head.bias = nn.Parameter(torch.where(wide > 1, -1.0, 0.0))
