"""Parallel branches of convolutions and batch norms become one convolution: RepVGG's identity.

In evaluation mode a batch norm is a factor and a shift per channel, so that a convolution before
it, or none, is a convolution with a bias; a smaller kernel is a larger one with zeros around it,
and parallel convolutions of one stride are the convolution of their summed kernels (Ding et al.,
"RepVGG: Making VGG-style ConvNets Great Again", 2021). All sums are in float64, so that the one
rounding to float32 is the last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every torch user knows it by


class ConvNorm(nn.Module):
    """A convolution without bias and its batch norm, under the keys ``conv`` and ``bn``."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, ceil(H / stride), ceil(W / stride)]``."""
        out: Tensor = self.bn(self.conv(x))
        return out


def summed(branches: Sequence[ConvNorm], identity: nn.BatchNorm2d | None = None) -> nn.Conv2d:
    """The convolution that computes the sum of branches.

    Args:
        branches: Convolutions of odd kernels, one stride and as many groups; the first has the
            largest kernel.
        identity: A batch norm of the input itself beside them, where they are depthwise.

    Returns:
        A convolution with a bias and float32 weights.
    """
    first = branches[0].conv
    kernel, bias = convolved(first, branches[0].bn)
    for branch in branches[1:]:
        smaller, shift = convolved(branch.conv, branch.bn)
        border = (kernel.shape[-1] - smaller.shape[-1]) // 2
        kernel = kernel + F.pad(smaller, [border] * 4)
        bias = bias + shift
    if identity is not None:
        scale, shift = affine(identity)
        middle = torch.zeros_like(kernel)
        middle[..., kernel.shape[-2] // 2, kernel.shape[-1] // 2] = 1.0
        kernel = kernel + middle * scale.reshape(-1, 1, 1, 1)
        bias = bias + shift
    return with_bias(first, kernel, bias)


def convolved(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias, float64, of a convolution with its batch norm."""
    scale, shift = affine(norm)
    weight = conv.weight.detach().double()
    if conv.bias is not None:
        shift = shift + conv.bias.detach().double() * scale
    return weight * scale.reshape(-1, 1, 1, 1), shift


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Factor and shift per channel, float64, that a batch norm is in evaluation mode."""
    state = {name: value.double() for name, value in norm.state_dict().items()}
    scale = state["weight"] / torch.sqrt(state["running_var"] + norm.eps)
    return scale, state["bias"] - state["running_mean"] * scale


def with_bias(like: nn.Conv2d, kernel: Tensor, bias: Tensor) -> nn.Conv2d:
    """A convolution placed as another, with a kernel and a bias of its own."""
    with torch.device("meta"):
        conv = nn.Conv2d(
            like.in_channels,
            like.out_channels,
            (kernel.shape[-2], kernel.shape[-1]),
            (like.stride[0], like.stride[1]),
            (kernel.shape[-2] // 2, kernel.shape[-1] // 2),
            groups=like.groups,
        )
    dtype = like.weight.dtype
    conv.load_state_dict({"weight": kernel.to(dtype), "bias": bias.to(dtype)}, assign=True)
    return conv
