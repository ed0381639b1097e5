"""RepGhostNet, and its authors' ablations as families of their own.

Keys tell squeeze-and-excitation and, in the training form, the batch norm of the branch. What they
do not tell is whether blocks add their input, and, without that batch norm, whether an identity
stands in its place or nothing.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import product

from ghostedge_convert.architectures.family import Family, Form, Shapes
from ghostedge_convert.architectures.ghostnet import LAST_EXPANSION
from ghostedge_convert.architectures.repghost import Branch, RepGhostNet, fuse
from ghostedge_convert.architectures.repghost_means import misfit
from ghostedge_convert.multiplier import Multiplier
from ghostedge_runtime.metadata import Preprocessing

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


def _adds_ghosts(shapes: Shapes) -> bool:
    """Whether the second ghost module reads as many channels as the first one's primary conv makes.

    GhostNet concatenates the ghosts, so that its second module reads twice as many.
    """
    first, second = shapes.get(_FIRST, ()), shapes.get(_SECOND, ())
    return len(first) == len(second) == 4 and first[0] == second[1]


def _variant(
    branch: tuple[Branch, str, str],
    shortcuts: tuple[bool, str, str],
    squeeze: tuple[bool, str, str],
) -> Family:
    kinds = (branch, shortcuts, squeeze)
    beside, adds, gates = branch[0], shortcuts[0], squeeze[0]
    network = partial(RepGhostNet, branch=beside, shortcuts=adds, squeeze=gates)
    words = ", ".join(words for *_, words in kinds if words)

    def also(shapes: Shapes) -> bool:
        gated = any(".se." in key for key in shapes)
        branched = any(re.search(_BRANCH, key) for key in shapes)
        return gated == gates and (beside == "norm" or (not branched and _adds_ghosts(shapes)))

    trained = Form(network, "training form", _BRANCH if beside == "norm" else "")
    deployed = Form(partial(network, deployed=True), "deployed form", _FUSED)
    return Family(
        title=f"RepGhostNet with {words}" if words else "RepGhostNet",
        name="".join(("repghostnet", *(suffix for _, suffix, _ in kinds))),
        sizes=Multiplier("blocks.9.0.conv.weight", LAST_EXPANSION, _ABLATED if words else _WIDTHS),
        forms=(trained, deployed) if beside == "norm" else (trained,),
        tells=f"{_BRANCH}|{_FUSED}" if beside == "norm" else _NORMED,
        also=also,
        variant_of="repghostnet" if words else "",
        misfit=partial(misfit, branch=beside, shortcuts=adds),
        assumed=beside == "norm" and adds,
        fuse=fuse,
        # timm's defaults, with which the authors trained and evaluated.
        preprocessing=Preprocessing(interpolation="bicubic"),
    )


REPGHOSTS = tuple(_variant(*kinds) for kinds in product(_OF_BRANCH, _OF_SHORTCUTS, _OF_SQUEEZE))
