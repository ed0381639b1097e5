"""RepGhostNet (Chen et al., "RepGhost: A Hardware-Efficient Ghost Module via Re-parameterization").

GhostNet's concatenation costs a copy of every feature map on a device, so its ghost features are
added here instead: a batch-normed identity beside the cheap depthwise conv. Once trained, both are
linear in the same input and become one depthwise conv with a bias. The network has two forms, with
the keys that the authors' and timm's weights have in each: the training form, and the deployed one,
which `fuse` makes of the other's weights. The authors' ablations are the same network with a bare
identity in the place of the branch (`repid`), without it (`norep`), without identity shortcuts
around the blocks (`wo`) and without squeeze-and-excitation. Neither of the first two has weights in
its branch, nor has an identity shortcut, so that keys and shapes do not tell those variants apart.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal, cast

from torch import Tensor, nn

from ghostedge_convert.architectures.branches import affine, convolved, with_bias
from ghostedge_convert.architectures.ghostnet import BottleneckSpec, GhostBottleneck, GhostNet

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


def repghost_block(
    in_channels: int,
    mid_channels: int,
    out_channels: int,
    spec: BottleneckSpec,
    layer: int,  # noqa: ARG001 - of every block maker; the blocks are alike at any depth
    *,
    deployed: bool,
    branch: Branch,
    shortcuts: bool,
) -> nn.Module:
    """GhostNet's bottleneck of RepGhost modules."""
    ghost = partial(RepGhostModule, deployed=deployed, branch=branch)
    return GhostBottleneck(
        in_channels,
        mid_channels,
        out_channels,
        spec,
        expand=ghost(in_channels, mid_channels, relu=True),
        project=ghost(mid_channels, out_channels, relu=False),
        identity=shortcuts,
    )


class RepGhostNet(GhostNet):
    """RepGhostNet.

    Args:
        width: Channel multiplier; 0.5, 0.58, 0.8, 1.0, 1.11, 1.3, 1.5 and 2.0 are the paper's.
        num_classes: Size of the classifier.
        dropout: Probability before the classifier, in training only.
        deployed: The form for inference, without the branches that training has.
        branch: What the training form has beside its depthwise convs.
        shortcuts: Whether blocks add their input where the output has its shape; those around the
            others, with convolutions in them, are always there.
        squeeze: Whether the blocks that the table names have squeeze-and-excitation.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        num_classes: int = 1000,
        dropout: float = 0.2,
        deployed: bool = False,
        branch: Branch = "norm",
        shortcuts: bool = True,
        squeeze: bool = True,
    ) -> None:
        block = partial(repghost_block, deployed=deployed, branch=branch, shortcuts=shortcuts)
        plain = tuple(tuple(replace(spec, se=False) for spec in specs) for specs in STAGES)
        super().__init__(
            width=width,
            num_classes=num_classes,
            dropout=dropout,
            block=block,
            stages=STAGES if squeeze else plain,
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
