"""Parallel branches become the one convolution that computes their sum."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ghostedge_convert.architectures.branches import ConvNorm, summed


def lively(network: nn.Module, seed: int) -> nn.Module:
    """In eval mode, weights as spread as a trained network's, every batch norm different."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.reset_parameters()  # they were drawn before the seed was set
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.2, 0.8)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network.eval()


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((one - other).abs().max() / one.abs().max())


@settings(max_examples=15, deadline=None)
@given(
    channels=st.integers(1, 5),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
)
def test_summed_branches_compute_the_branches_sum(channels, kernel, stride, size, seed):
    large = [ConvNorm(channels, channels, kernel, stride=stride, groups=channels) for _ in "123"]
    small = ConvNorm(channels, channels, 1, stride=stride, groups=channels)
    identity = nn.BatchNorm2d(channels) if stride == 1 else None
    for branch in [*large, small, *([identity] if identity else [])]:
        lively(branch, seed)
    x = torch.randn(2, channels, *size)
    with torch.no_grad():
        wanted = sum(branch(x) for branch in [*large, small])
        wanted = wanted + identity(x) if identity else wanted
        torch.testing.assert_close(summed([*large, small], identity)(x), wanted)
