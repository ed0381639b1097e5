"""RepGhostNet."""

from __future__ import annotations

from functools import partial

from ghostedge_convert.architectures.ghostnet import LAST_EXPANSION
from ghostedge_convert.architectures.repghost import RepGhostNet, fuse
from ghostedge_convert.family import Family, Form
from ghostedge_convert.multiplier import Multiplier
from ghostedge_runtime.metadata import Preprocessing

_WIDTHS = (0.5, 0.58, 0.8, 1.0, 1.11, 1.3, 1.5, 2.0)
_BRANCH, _FUSED = r"\.fusion_bn\.", r"\.cheap_operation\.(weight|bias)$"

REPGHOST = Family(
    title="RepGhostNet",
    name="repghostnet",
    sizes=Multiplier("blocks.9.0.conv.weight", LAST_EXPANSION, _WIDTHS),
    forms=(
        Form(RepGhostNet, "training form", tells=_BRANCH),
        Form(partial(RepGhostNet, deployed=True), "deployed form", tells=_FUSED),
    ),
    tells=f"{_BRANCH}|{_FUSED}",
    fuse=fuse,
    # timm's defaults, with which the authors trained and evaluated.
    preprocessing=Preprocessing(interpolation="bicubic"),
)
