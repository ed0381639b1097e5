"""Drop nodes, weights and identities that no output depends on.

Identities are dropped here rather than by onnx-ir's pass, which merges two outputs that are the
same tensor and so loses the name of one.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ghostedge_convert.passes.graph import bypass, is_interface, nodes_of
from ghostedge_convert.passes.run import PassNote


def remove_dead_nodes(model: ir.Model) -> PassNote:
    """Remove identities, then nodes and initializers that nothing uses, in place."""
    before = model.graph.num_nodes() + len(model.graph.initializers)
    for node in nodes_of(model, "Identity"):
        _drop(model, node)
    RemoveUnusedNodesPass()(model)
    removed = before - model.graph.num_nodes() - len(model.graph.initializers)
    note = f"{removed} unused nodes and weights removed" if removed else "nothing unused"
    return PassNote("remove_dead_nodes", removed, note)


def _drop(model: ir.Model, node: ir.Node) -> None:
    source, output = node.inputs[0], node.outputs[0]
    if source is None or (output.is_graph_output() and is_interface(source)):
        return
    if source.shape is None:  # exporters infer the shape of an output further than what it copies
        source.shape = output.shape
    if source.type is None:
        source.type = output.type
    bypass(model, node, source)
