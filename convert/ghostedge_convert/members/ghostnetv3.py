"""GhostNetV3."""

from __future__ import annotations

from functools import partial

from ghostedge_convert.architectures.family import Family, Form
from ghostedge_convert.architectures.ghostnet import LAST_EXPANSION
from ghostedge_convert.architectures.ghostnetv3 import GhostNetV3, Part, fuse
from ghostedge_convert.multiplier import Multiplier
from ghostedge_runtime.metadata import Preprocessing

_GHOSTS: tuple[Part, ...] = ("ghost",)
_CONVOLUTIONS: tuple[Part, ...] = ("ghost", "strided")
_ALL: tuple[Part, ...] = ("ghost", "strided", "attention")

GHOSTNETV3 = Family(
    title="GhostNetV3",
    name="ghostnetv3",
    sizes=Multiplier("blocks.9.0.conv.weight", LAST_EXPANSION, (1.0,)),
    forms=(
        Form(GhostNetV3, "training form", r"\.(primary|cheap)_rpr_"),
        Form(
            partial(GhostNetV3, fused=_GHOSTS),
            "deployed form but for the strided convolutions",
            r"\.dw_rpr_",
        ),
        Form(
            partial(GhostNetV3, fused=_CONVOLUTIONS),
            "deployed form",
            r"\.short_conv\.\d\.running_mean$",
        ),
        Form(
            partial(GhostNetV3, fused=_ALL),
            "deployed form without batch norm in its attention",
        ),
    ),
    tells=r"_rpr_(conv|skip|scale)\.|\.primary_conv\.0\.bias$",
    # timm's name for the batch norm of a branch.
    renames=((r"(_rpr_\w+(?:\.\d+)?)\.bn1\.", r"\1.bn."),),
    fuse=fuse,
    # Huawei's training script evaluates with timm's defaults, which are bicubic; so does timm.
    preprocessing=Preprocessing(interpolation="bicubic"),
)
