"""What the networks share: a small GhostNet as a backbone, YOLO's ghost blocks, sound weights.

Weights are random, seeded; every batch norm holds the statistics of images, so that activations
are of the size that they have in a trained network.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ghostedge_convert.architectures.ghostnet import BottleneckSpec, GhostBottleneck

Attention = Callable[[int], nn.Module]


def images(count: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Pictures with the spectrum of natural ones, amplitude falling as one over frequency.

    Args:
        count: N.
        size: Height and width in pixels.
        seed: Of the random phases.

    Returns:
        float32 ``[N, 3, H, W]``, each channel of mean 0 and deviation 1.
    """
    height, width = size
    vertical, horizontal = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    frequency = (vertical**2 + horizontal**2).sqrt().clamp_min(1 / max(size))
    noise = torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))
    # The colours of a photo are much alike.
    noise = 0.8 * noise.mean(1, keepdim=True) * 3**0.5 + 0.4 * noise
    pictures = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=size)
    spread, mean = torch.std_mean(pictures, dim=(2, 3), keepdim=True)
    normalized: Tensor = (pictures - mean) / spread
    return normalized


def with_sound_weights(network: nn.Module, size: tuple[int, int]) -> nn.Module:
    """Draw weights anew, let the batch norms see images, and end in evaluation mode."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.weight.requires_grad:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            module.weight.data = _smooth(module.weight.data)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            module.momentum = None  # the plain average over all batches
    with torch.no_grad():
        for seed in range(2):
            network.train()(images(32, size, 100 + seed))
    return network.eval()


def _smooth(kernels: Tensor) -> Tensor:
    """Kernels with most of their weight in one smooth bump, as trained ones have.

    Independent weights would pass the high frequencies alone, of which photos have least.
    """
    height, width = kernels.shape[2:]
    y = torch.exp(-0.5 * (torch.arange(height) - (height - 1) / 2) ** 2)
    x = torch.exp(-0.5 * (torch.arange(width) - (width - 1) / 2) ** 2)
    bumps = kernels.mean((2, 3), keepdim=True) * height * width * (y[:, None] * x) / y.sum()
    return bumps + 0.3 * kernels


class Backbone(nn.Module):
    """A GhostNet's first rows: 16, 24 and 32 channels at strides 4, 8 and 16.

    Args:
        attention: Makes what stands for squeeze-and-excitation between the ghost modules.
    """

    channels = (16, 24, 32)

    def __init__(self, attention: Attention | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.c2 = GhostBottleneck(8, 24, 16, BottleneckSpec(3, 0, 0, stride=2))
        self.c3 = GhostBottleneck(16, 48, 24, BottleneckSpec(5, 0, 0, stride=2, se=True))
        self.c4 = GhostBottleneck(24, 72, 32, BottleneckSpec(3, 0, 0, stride=2, se=True))
        for block, gated in ((self.c3, 48), (self.c4, 72)):
            if attention is not None:
                setattr(block, "se", attention(gated))  # noqa: B010 - declared as its own kinds

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images ``[N, 3, H, W]`` to features at strides 4, 8 and 16."""
        return self.stages(self.stem(x))

    def stages(self, stem: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map the stem's features, at stride 2, to those at strides 4, 8 and 16."""
        c2 = self.c2(stem)
        c3 = self.c3(c2)
        return c2, c3, self.c4(c3)


class Conv(nn.Module):
    """YOLO's convolution: batch norm and SiLU after it."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs)
        self.act = nn.SiLU() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.act(self.bn(self.conv(x)))
        return activated


class GhostConv(nn.Module):
    """YOLO's ghost module: a 5 × 5 depthwise convolution makes the second half."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, act: bool = True
    ) -> None:
        super().__init__()
        half = outputs // 2
        self.cv1 = Conv(inputs, half, kernel, stride, act=act)
        self.cv2 = Conv(half, half, 5, groups=half, act=act)

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv1(x)
        return torch.cat((y, self.cv2(y)), 1)


class C3Ghost(nn.Module):
    """A cross-stage-partial block of YOLO around ghost bottlenecks."""

    def __init__(self, inputs: int, outputs: int, repeats: int = 1) -> None:
        super().__init__()
        hidden = outputs // 2
        self.cv1, self.cv2 = Conv(inputs, hidden), Conv(inputs, hidden)
        self.cv3 = Conv(2 * hidden, outputs)
        self.m = nn.Sequential(*(_Residual(hidden) for _ in range(repeats)))

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))
        return joined


class _Residual(nn.Module):
    """YOLO's ghost bottleneck at stride 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            GhostConv(channels, channels // 2), GhostConv(channels // 2, channels, act=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.conv(x) + x
        return added
