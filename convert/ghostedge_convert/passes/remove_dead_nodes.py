"""Drop nodes, weights and identities that no output depends on, through onnx-ir's passes."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import IdentityEliminationPass, RemoveUnusedNodesPass

from ghostedge_convert.passes._infra import PassNote


def remove_dead_nodes(model: ir.Model) -> PassNote:
    """Remove identities, then nodes and initializers that nothing uses, in place."""
    before = model.graph.num_nodes() + len(model.graph.initializers)
    IdentityEliminationPass()(model)
    RemoveUnusedNodesPass()(model)
    removed = before - model.graph.num_nodes() - len(model.graph.initializers)
    note = f"{removed} unused nodes and weights removed" if removed else "nothing unused"
    return PassNote("remove_dead_nodes", removed, note)
