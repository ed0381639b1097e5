"""RepGhostNet (Chen et al., "RepGhost: A Hardware-Efficient Ghost Module via Re-parameterization").

GhostNet's concatenation costs a copy of every feature map on a device, so its ghost features are
added here instead: a batch-normed identity beside the cheap depthwise conv. Once trained, both are
linear in the same input and become one depthwise conv with a bias. The network has two forms, with
the keys that the authors' and timm's weights have in each: the training form, and the deployed one,
which `fuse` makes of the other's weights.

The authors' ablations are families of their own: the same network with a bare identity in the place
of the branch (`repid`), without a branch (`norep`), without identity shortcuts around the blocks
(`wo`) and without squeeze-and-excitation (`nose`). Keys show squeeze-and-excitation and, in the
training form, the batch norm of the branch. An identity has no weights, so keys and shapes do not
show whether blocks add their input nor, without that batch norm, whether there is a branch.

`misfit` decides between those by the running means of the batch norms. A block ends without an
activation, so that the mean of its output is the sum of its parts' means: those of batch norms are
their biases, that of an identity shortcut is the mean of the block before. The next block begins
with a pointwise convolution, which is linear, and the batch norm behind it holds the mean of what
it saw in training. Only the network that was trained predicts that mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ghostedge_convert.architectures.branches import affine, convolved, with_bias
from ghostedge_convert.architectures.family import Family, Form, Multiplier, Shapes
from ghostedge_convert.architectures.ghostnet import (
    LAST_EXPANSION,
    BottleneckSpec,
    GhostBottleneck,
    GhostNet,
)
from ghostedge_runtime.metadata import Preprocessing

# The paper's table of stages at width 1.0; the expansion is half of GhostNet's, for adding does not
# double the channels as concatenating does.
STAGES: tuple[tuple[BottleneckSpec, ...], ...] = (
    (BottleneckSpec(3, 8, 16),),
    (BottleneckSpec(3, 24, 24, stride=2),),
    (BottleneckSpec(3, 36, 24),),
    (BottleneckSpec(5, 36, 40, stride=2, se=True),),
    (BottleneckSpec(5, 60, 40, se=True),),
    (BottleneckSpec(3, 120, 80, stride=2),),
    (
        BottleneckSpec(3, 100, 80),
        BottleneckSpec(3, 120, 80),
        BottleneckSpec(3, 120, 80),
        BottleneckSpec(3, 240, 112, se=True),
        BottleneckSpec(3, 336, 112, se=True),
    ),
    (BottleneckSpec(5, 336, 160, stride=2, se=True),),
    (
        BottleneckSpec(5, 480, 160),
        BottleneckSpec(5, 480, 160, se=True),
        BottleneckSpec(5, 480, 160),
        BottleneckSpec(5, 480, 160, se=True),
    ),
)

Branch = Literal["norm", "identity", "none"]
"""What is beside the depthwise conv in training: a batch norm of its input, that, or nothing."""

_WIDTHS = (0.5, 0.58, 0.8, 1.0, 1.11, 1.3, 1.5, 2.0)
# The ablations are published as code, at this width.
_ABLATED = (0.5,)
_BRANCH, _FUSED = r"\.fusion_bn\.", r"\.cheap_operation\.(weight|bias)$"
_NORMED = r"\.cheap_operation\.0\."
_FIRST, _SECOND = (f"blocks.0.0.ghost{n}.primary_conv.0.weight" for n in (1, 2))

_OF_BRANCH: tuple[tuple[Branch, str, str], ...] = (
    ("norm", "", ""),
    ("identity", "_repid", "an identity as its branch"),
    ("none", "_norep", "no branch"),
)
_OF_SHORTCUTS = ((True, "", ""), (False, "_wo", "no identity shortcuts"))
_OF_SQUEEZE = ((True, "", ""), (False, "_nose", "no squeeze-and-excitation"))

# Side of the maps behind the stem at the 224 pixels that the authors and timm train at. Deployed
# forms need it: their depthwise convs have no batch norm whose bias is the mean, and how much of
# the mean the zeros around a map take depends on the map's size.
_SIDE = 112
_BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.ghost1\.primary_conv\.0\.weight")


@dataclass(frozen=True)
class Variant:
    """The published network, or one of its authors' ablations.

    Attributes:
        branch: What the training form has beside its depthwise convs.
        shortcuts: Whether blocks add their input where the output has its shape; those around the
            others, with convolutions in them, are always there.
        squeeze: Whether the blocks that the table names have squeeze-and-excitation.
    """

    branch: Branch = "norm"
    shortcuts: bool = True
    squeeze: bool = True


PUBLISHED = Variant()


class RepGhostModule(nn.Module):
    """A pointwise conv, then a depthwise one of its result; in training a branch beside it."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        relu: bool,
        deployed: bool = False,
        branch: Branch = "norm",
    ) -> None:
        super().__init__()
        self.primary_conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU() if relu else nn.Identity(),
        )
        cheap = nn.Conv2d(
            out_channels, out_channels, 3, padding=1, groups=out_channels, bias=deployed
        )
        self.fusion_bn = nn.Sequential()
        self.cheap_operation: nn.Module = cheap
        if not deployed:
            if branch != "none":
                beside = nn.BatchNorm2d(out_channels) if branch == "norm" else nn.Identity()
                self.fusion_bn = nn.Sequential(beside)
            self.cheap_operation = nn.Sequential(cheap, nn.BatchNorm2d(out_channels))
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, H, W]``."""
        intrinsic = self.primary_conv(x)
        ghosts = self.cheap_operation(intrinsic)
        for norm in self.fusion_bn:
            ghosts = ghosts + norm(intrinsic)
        result: Tensor = self.relu(ghosts)
        return result

    def fuse(self) -> None:
        """Make the branches one depthwise conv, in place, where that is not done yet.

        The conv takes its batch norm; the norm beside it adds its factor to the middle tap and its
        shift to the bias, an identity adds 1.
        """
        if not isinstance(self.cheap_operation, nn.Sequential):
            return
        conv, norm = cast("tuple[nn.Conv2d, nn.BatchNorm2d]", tuple(self.cheap_operation))
        kernel, bias = convolved(conv, norm)
        for beside in self.fusion_bn:
            if isinstance(beside, nn.BatchNorm2d):
                scale, shift = affine(beside)
                kernel[:, 0, 1, 1] += scale
                bias = bias + shift
            else:
                kernel[:, 0, 1, 1] += 1.0
        self.cheap_operation = with_bias(conv, kernel, bias)
        self.fusion_bn = nn.Sequential()


@dataclass(frozen=True)
class RepGhostBlocks:
    """Makes GhostNet's bottlenecks of RepGhost modules; its fields are arguments of the network."""

    deployed: bool
    variant: Variant

    def __call__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        spec: BottleneckSpec,
        layer: int,  # noqa: ARG002 - of every block maker; the blocks are alike at any depth
    ) -> nn.Module:
        """One bottleneck."""
        ghost = partial(RepGhostModule, deployed=self.deployed, branch=self.variant.branch)
        return GhostBottleneck(
            in_channels,
            mid_channels,
            out_channels,
            spec,
            expand=ghost(in_channels, mid_channels, relu=True),
            project=ghost(mid_channels, out_channels, relu=False),
            identity=self.variant.shortcuts,
        )


class RepGhostNet(GhostNet):
    """RepGhostNet.

    Args:
        width: Channel multiplier; 0.5, 0.58, 0.8, 1.0, 1.11, 1.3, 1.5 and 2.0 are the paper's.
        num_classes: Size of the classifier.
        dropout: Probability before the classifier, in training only.
        deployed: The form for inference, without the branches that training has.
        variant: The published network or an ablation.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        num_classes: int = 1000,
        dropout: float = 0.2,
        deployed: bool = False,
        variant: Variant = PUBLISHED,
    ) -> None:
        block = RepGhostBlocks(deployed, variant)
        plain = tuple(tuple(replace(spec, se=False) for spec in specs) for specs in STAGES)
        super().__init__(
            width=width,
            num_classes=num_classes,
            dropout=dropout,
            block=block,
            stages=STAGES if variant.squeeze else plain,
        )


def fuse(network: nn.Module) -> nn.Module:
    """Bring a RepGhostNet of either form into the deployed form, in place.

    Returns:
        The network itself, the same function in evaluation mode.
    """
    for module in network.modules():
        if isinstance(module, RepGhostModule):
            module.fuse()
    return network


def misfit(weights: Mapping[str, Tensor], *, variant: Variant) -> float | None:
    """How far the running means are from those that a variant predicts.

    Args:
        weights: Of a RepGhostNet of either form, by key.
        variant: Which branch and shortcuts the network has.

    Returns:
        The root of the squared differences over that of the running means: 0 where all agree, near
        1 where nothing does. None where there are none, as in weights that were never trained, and
        where the weights are not all a RepGhostNet's.
    """
    try:
        return _misfit(weights, variant)
    except (KeyError, IndexError, RuntimeError):  # keys and shapes are not checked yet
        return None


def _misfit(weights: Mapping[str, Tensor], variant: Variant) -> float | None:
    numbers = sorted(
        (int(match[1]), int(match[2])) for match in map(_BLOCK.fullmatch, weights) if match
    )
    error = total = 0.0
    mean: Tensor | None = None
    side = _SIDE
    for stage, index in numbers:
        block = f"blocks.{stage}.{index}."
        if mean is not None:
            running = weights[f"{block}ghost1.primary_conv.1.running_mean"].double()
            kernel = weights[f"{block}ghost1.primary_conv.0.weight"].double().flatten(1)
            error += float((kernel @ mean - running).square().sum())
            total += float(running.square().sum())
        side = math.ceil(side / 2) if f"{block}conv_dw.weight" in weights else side
        ghosts = _ghost_mean(weights, f"{block}ghost2.", variant.branch, side)
        mean = _output_mean(weights, block, mean, ghosts, shortcuts=variant.shortcuts)
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


def _adds_ghosts(shapes: Shapes) -> bool:
    """Whether the second ghost module reads as many channels as the first one's primary conv makes.

    GhostNet concatenates the ghosts, so that its second module reads twice as many.
    """
    first, second = shapes.get(_FIRST, ()), shapes.get(_SECOND, ())
    return len(first) == len(second) == 4 and first[0] == second[1]


def _family(
    branch: tuple[Branch, str, str],
    shortcuts: tuple[bool, str, str],
    squeeze: tuple[bool, str, str],
) -> Family:
    kinds = (branch, shortcuts, squeeze)
    beside, adds, gates = branch[0], shortcuts[0], squeeze[0]
    variant = Variant(beside, adds, gates)
    network = partial(RepGhostNet, variant=variant)
    changes = ", ".join(change for *_, change in kinds if change)

    def also(shapes: Shapes) -> bool:
        gated = any(".se." in key for key in shapes)
        branched = any(re.search(_BRANCH, key) for key in shapes)
        return gated == gates and (beside == "norm" or (not branched and _adds_ghosts(shapes)))

    widths = _ABLATED if changes else _WIDTHS
    trained = Form(network, "training form", _BRANCH if beside == "norm" else "")
    deployed = Form(partial(network, deployed=True), "deployed form", _FUSED)
    return Family(
        title=f"RepGhostNet with {changes}" if changes else "RepGhostNet",
        name="".join(("repghostnet", *(suffix for _, suffix, _ in kinds))),
        sizes=Multiplier("blocks.9.0.conv.weight", LAST_EXPANSION, widths),
        forms=(trained, deployed) if beside == "norm" else (trained,),
        key_pattern=f"{_BRANCH}|{_FUSED}" if beside == "norm" else _NORMED,
        also=also,
        variant_of="repghostnet" if changes else "",
        misfit=partial(misfit, variant=variant),
        assumed=beside == "norm" and adds,
        fuse=fuse,
        # timm's defaults, with which the authors trained and evaluated.
        preprocessing=Preprocessing(interpolation="bicubic"),
    )


REPGHOSTS = tuple(_family(*kinds) for kinds in product(_OF_BRANCH, _OF_SHORTCUTS, _OF_SQUEEZE))
