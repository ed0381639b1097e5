"""GhostNet V1."""

from __future__ import annotations

from ghostedge_convert.architectures.ghostnet import LAST_EXPANSION, GhostNet
from ghostedge_convert.family import Family, Form
from ghostedge_convert.multiplier import Multiplier

GHOSTNET = Family(
    title="GhostNet V1",
    name="ghostnet",
    sizes=Multiplier("blocks.9.0.conv.weight", LAST_EXPANSION, (0.5, 1.0, 1.3)),
    forms=(Form(GhostNet),),
    tells=r"\.cheap_operation\.0\.",
)
