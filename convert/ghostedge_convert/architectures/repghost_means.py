"""How well a RepGhostNet's weights fit one of its variants, by the means that batch norms kept.

A block ends without an activation, so that the mean of its output is the sum of its parts' means:
those of batch norms are their biases, that of an identity shortcut is the mean of the block before.
The next block begins with a pointwise convolution, which is linear, and the batch norm behind that
has kept the mean of what it saw in training. Only the network that was trained predicts it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ghostedge_convert.architectures.repghost import Branch

# Of the maps behind the stem, at the 224 pixels that the authors and timm train at. Only deployed
# forms ask: their depthwise convs have no batch norm whose bias is the mean, and what the zeros
# around a map take of it, the map's size says.
_SIDE = 112
_BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.ghost1\.primary_conv\.0\.weight")


def misfit(weights: Mapping[str, Tensor], *, branch: Branch, shortcuts: bool) -> float | None:
    """How far the kept means are from those that a variant predicts.

    Args:
        weights: Of a RepGhostNet of either form, by key.
        branch: The variant's.
        shortcuts: Whether its blocks add their input where the output has its shape.

    Returns:
        The root of the squared differences over that of the kept means: 0 where all agree, near 1
        where nothing does. None where none were kept, as in weights that were never trained, and
        where the weights are not all a RepGhostNet's.
    """
    try:
        return _misfit(weights, branch, shortcuts=shortcuts)
    except (KeyError, IndexError, RuntimeError):  # keys and shapes are not checked yet
        return None


def _misfit(weights: Mapping[str, Tensor], branch: Branch, *, shortcuts: bool) -> float | None:
    numbers = sorted(
        (int(match[1]), int(match[2])) for match in map(_BLOCK.fullmatch, weights) if match
    )
    error = total = 0.0
    mean: Tensor | None = None
    side = _SIDE
    for stage, index in numbers:
        block = f"blocks.{stage}.{index}."
        if mean is not None:
            kept = weights[f"{block}ghost1.primary_conv.1.running_mean"].double()
            kernel = weights[f"{block}ghost1.primary_conv.0.weight"].double().flatten(1)
            error += float((kernel @ mean - kept).square().sum())
            total += float(kept.square().sum())
        side = math.ceil(side / 2) if f"{block}conv_dw.weight" in weights else side
        ghosts = _ghost_mean(weights, f"{block}ghost2.", branch, side)
        mean = _output_mean(weights, block, mean, ghosts, shortcuts=shortcuts)
    return (error / total) ** 0.5 if total else None


def _output_mean(
    weights: Mapping[str, Tensor],
    block: str,
    before: Tensor | None,
    ghosts: Tensor,
    *,
    shortcuts: bool,
) -> Tensor | None:
    """The mean of a block's output, float64 per channel; None before the first that is known."""
    leads = weights.get(f"{block}shortcut.3.bias")
    if leads is not None:
        return ghosts + leads.double()
    if before is None:
        return None  # after the stem's activation, whose mean is no parameter
    return ghosts + before if shortcuts else ghosts


def _ghost_mean(weights: Mapping[str, Tensor], ghost: str, branch: Branch, side: int) -> Tensor:
    primary = weights[f"{ghost}primary_conv.1.bias"].double()
    fused = weights.get(f"{ghost}cheap_operation.bias")
    if fused is not None:
        inside = torch.tensor([1 - 1 / side, 1.0, 1 - 1 / side], dtype=torch.float64)
        kernel = weights[f"{ghost}cheap_operation.weight"].double()[:, 0]
        return fused.double() + (kernel * torch.outer(inside, inside)).sum((1, 2)) * primary
    mean = weights[f"{ghost}cheap_operation.1.bias"].double()
    if branch == "norm":
        return mean + weights[f"{ghost}fusion_bn.0.bias"].double()
    return mean + primary if branch == "identity" else mean
