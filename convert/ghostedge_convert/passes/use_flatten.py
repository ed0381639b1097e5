"""A reshape that flattens all but the batch is written Flatten.

Reshape holds the batch size in a constant, Flatten does not; and a chain of them is one.
"""

from __future__ import annotations

import onnx_ir as ir

from ghostedge_convert.passes.graph import RESHAPES, bypass, insert_before, nodes_of, static_shape
from ghostedge_convert.passes.run import PassNote


def use_flatten(model: ir.Model) -> PassNote:
    """Replace each chain of reshapes from ``[N, …]`` to ``[N, C]`` by one Flatten, in place."""
    # Last ones first, so that a chain is taken from its end and its inner links are gone by then.
    reshapes = [node for node in reversed(nodes_of(model, *RESHAPES)) if node.op_type != "Flatten"]
    replaced = sum(_replace(model, node) for node in reshapes if node.graph is not None)
    note = f"{replaced} reshapes written as Flatten" if replaced else "no reshape that flattens"
    return PassNote("use_flatten", replaced, note)


def _replace(model: ir.Model, last: ir.Node) -> bool:
    chain = _chain(last)
    source = chain[-1].inputs[0]
    before, after = static_shape(source), static_shape(last.outputs[0])
    if source is None or before is None or after is None or len(before) < 2:
        return False
    if len(after) != 2 or before[0] != after[0] or before == after:
        return False
    name = str(last.name).replace(last.op_type, "Flatten")
    flatten = insert_before(model, last, "Flatten", [source], name)
    flatten.attributes.add(ir.AttrInt64("axis", 1))
    bypass(model, last, flatten.outputs[0])
    for node in chain[1:]:
        if not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
            model.graph.remove(node, safe=True)
    return True


def _chain(last: ir.Node) -> list[ir.Node]:
    """The reshapes that end in ``last``, last first."""
    chain = [last]
    while True:
        source = chain[-1].inputs[0]
        node = source.producer() if source is not None else None
        if node is None or node.op_type not in RESHAPES:
            return chain
        chain.append(node)
