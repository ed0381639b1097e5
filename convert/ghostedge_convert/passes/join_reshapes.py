"""Join a reshape of a reshape, and remove one that ends in the shape it began with."""

from __future__ import annotations

import onnx_ir as ir

from ghostedge_convert.passes.graph import RESHAPES, bypass, nodes_of, static_shape, write_reshape
from ghostedge_convert.passes.run import PassNote


def join_reshapes(model: ir.Model) -> PassNote:
    """Take each reshape of a reshape from the first one's source, in place."""
    reshapes = nodes_of(model, *RESHAPES)
    joined = sum(_join(model, node) for node in reshapes if node.graph is not None)
    note = f"{joined} reshapes joined or dropped" if joined else "no reshape of a reshape"
    return PassNote("join_reshapes", joined, note)


def _join(model: ir.Model, node: ir.Node) -> bool:
    source = node.inputs[0]
    before, after = static_shape(source), static_shape(node.outputs[0])
    if source is None or before is None or after is None:
        return False
    origin = _origin(source)
    if static_shape(origin) == after and not _would_name_twice(node, origin):
        bypass(model, node, origin)
    elif origin is source:
        return False
    else:
        write_reshape(model, node, origin, after)
    _remove_unread(model, source)
    return True


def _origin(value: ir.Value) -> ir.Value:
    """What a row of reshapes started from."""
    node = value.producer()
    if node is None or node.op_type not in RESHAPES or node.inputs[0] is None:
        return value
    return _origin(node.inputs[0])


def _would_name_twice(node: ir.Node, origin: ir.Value) -> bool:
    """A graph output cannot be a graph's input, or another output, as well."""
    return node.outputs[0].is_graph_output() and (
        origin.is_graph_input() or origin.is_graph_output()
    )


def _remove_unread(model: ir.Model, value: ir.Value) -> None:
    """Drop the row of reshapes that ended in a value, as far as nothing reads it any more."""
    node = value.producer()
    while node is not None and node.op_type in RESHAPES and node.graph is not None:
        if node.outputs[0].uses() or node.outputs[0].is_graph_output():
            return
        source = node.inputs[0]
        model.graph.remove(node, safe=True)
        node = source.producer() if source is not None else None
