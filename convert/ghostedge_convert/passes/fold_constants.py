"""Compute at conversion time whatever does not depend on the input.

The work is onnxscript's constant folder and onnx-ir's passes: the ones that torch's exporter
itself is built with and tested against, so they are installed anyway and know every form it emits.
Only the folder is taken, not onnxscript's whole optimizer, whose rewrite rules would fold batch
norms under names of their own.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass
from onnxscript.optimizer import fold_constants_ir

from ghostedge_convert.passes.graph import constant
from ghostedge_convert.passes.run import PassNote


def fold_constants(model: ir.Model) -> PassNote:
    """Replace nodes with constant inputs by initializers, in place."""
    before = model.graph.num_nodes()
    fold_constants_ir(model, should_fold=_is_small_fill)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    folded = before - model.graph.num_nodes()
    note = f"{folded} constant nodes folded" if folded else "nothing constant to fold"
    return PassNote("fold_constants", folded, note)


_MOST_ELEMENTS = 2**18
"""Of a fill that is computed; as the folder has it for other ops."""


def _is_small_fill(node: ir.Node) -> bool | None:
    """Fold ConstantOfShape, too, which the folder leaves alone; None is its own judgement.

    torch's older exporter computes a padding's amounts with it.
    """
    if node.op_type != "ConstantOfShape":
        return None
    shape = constant(node.inputs[0])
    return shape is not None and float(np.prod(shape, dtype=float)) <= _MOST_ELEMENTS
