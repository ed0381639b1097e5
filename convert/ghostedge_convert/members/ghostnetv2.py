"""GhostNetV2."""

from __future__ import annotations

from ghostedge_convert.architectures.family import Family, Form
from ghostedge_convert.architectures.ghostnet import LAST_EXPANSION
from ghostedge_convert.architectures.ghostnetv2 import GhostNetV2
from ghostedge_convert.multiplier import Multiplier
from ghostedge_runtime.metadata import Preprocessing

GHOSTNETV2 = Family(
    title="GhostNetV2",
    name="ghostnetv2",
    sizes=Multiplier("blocks.9.0.conv.weight", LAST_EXPANSION, (1.0, 1.3, 1.6)),
    forms=(Form(GhostNetV2),),
    tells=r"\.short_conv\.\d+\.",
    # Huawei's training script evaluates with timm's defaults, which are bicubic; so does timm.
    preprocessing=Preprocessing(interpolation="bicubic"),
)
