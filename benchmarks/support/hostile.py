"""Rescale the primary channels of first ghost modules, undone in all their consumers.

Long training leaves real checkpoints with channels of very different size, which costs int8 the
small ones. This makes such a checkpoint out of a kind one: the network computes the same function,
because ReLU passes a positive factor on and every layer behind divides by it. In GhostNet's keys
(Huawei's and timm's), for a bottleneck whose ghost module puts out ``[primary, cheap]``:

- ``ghost1.primary_conv.1``: the batch norm's weight and bias times the factors;
- ``ghost1.cheap_operation.0``: each channel's own depthwise kernel divided;
- ``conv_dw`` where the bottleneck is strided: likewise, the first channels of it; else
  ``se.conv_reduce`` where there is a gate (the gate then is as before and passes the factor on),
  and ``ghost2.primary_conv.0``: their input columns divided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

_PRIMARY = re.compile(r"^(blocks\.\d+\.\d+)\.ghost1\.primary_conv\.1\.weight$")


def rescaled(
    weights: Mapping[str, Tensor], spread: float, rng: np.random.Generator
) -> dict[str, Tensor]:
    """The same network with the primary channels of every first ghost module rescaled.

    Args:
        weights: A GhostNet V1 state_dict, left as it is. Products are formed in float64 and
            rounded once, to the tensor's own type.
        spread: Each factor is drawn log-uniformly from [1/spread, spread].
        rng: Draws them.
    """
    changed = {key: tensor.clone() for key, tensor in weights.items()}
    for match in filter(None, map(_PRIMARY.match, weights)):
        channels = len(weights[match[0]])
        factors = torch.from_numpy(np.exp(rng.uniform(-1, 1, channels) * np.log(spread)))
        _rescale(changed, match[1], factors)
    return changed


def _rescale(weights: dict[str, Tensor], block: str, factors: Tensor) -> None:
    """Rescale one bottleneck's first ghost module in place; ``factors`` float64 [primary]."""
    primary = f"{block}.ghost1.primary_conv.1"
    for key in (f"{primary}.weight", f"{primary}.bias"):
        weights[key] = (weights[key].double() * factors).to(weights[key].dtype)
    _divide(weights, f"{block}.ghost1.cheap_operation.0.weight", 0, factors)
    if f"{block}.conv_dw.weight" in weights:
        _divide(weights, f"{block}.conv_dw.weight", 0, factors)
        return
    if f"{block}.se.conv_reduce.weight" in weights:
        _divide(weights, f"{block}.se.conv_reduce.weight", 1, factors)
    _divide(weights, f"{block}.ghost2.primary_conv.0.weight", 1, factors)


def _divide(weights: dict[str, Tensor], key: str, axis: int, factors: Tensor) -> None:
    """Divide the first channels of a [out, in, k, k] weight along an axis."""
    weight = weights[key].double()
    divisors = torch.ones(weight.shape[axis], dtype=torch.float64)
    divisors[: len(factors)] = factors
    shape = [1] * weight.ndim
    shape[axis] = -1
    weights[key] = (weight / divisors.reshape(shape)).to(weights[key].dtype)
