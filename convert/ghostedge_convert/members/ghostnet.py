"""GhostNet V1."""

from __future__ import annotations

from ghostedge_convert.architectures.family import Family, Form
from ghostedge_convert.architectures.ghostnet import LAST_EXPANSION, GhostNet
from ghostedge_convert.multiplier import Multiplier
from ghostedge_runtime.metadata import Preprocessing

GHOSTNET = Family(
    title="GhostNet V1",
    name="ghostnet",
    sizes=Multiplier("blocks.9.0.conv.weight", LAST_EXPANSION, (0.5, 1.0, 1.3)),
    forms=(Form(GhostNet),),
    tells=r"\.cheap_operation\.0\.",
    # What Huawei evaluates with: 256 bilinear, centre 224; the published 73.98 % is with bilinear.
    preprocessing=Preprocessing(interpolation="bilinear"),
)
