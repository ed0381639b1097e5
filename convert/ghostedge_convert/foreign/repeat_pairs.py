"""A quantized value that is only moved is still quantized: its pair is repeated behind the move.

NNCF puts a pair in front of a Reshape, a pooling or a Concat and none behind. Such values lie on
the pair's grid, so that a second equal pair changes nothing, and what follows can run on integers.
"""

from __future__ import annotations

import onnx_ir as ir

from ghostedge_convert.passes import PassNote
from ghostedge_convert.qdq_in.pairs import (
    DEQUANTIZE,
    QUANTIZE,
    Scheme,
    decoder_of,
    scheme_of,
    set_scheme,
)

_MOVERS = frozenset(
    {"Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)


def repeat_pairs(model: ir.Model) -> PassNote:
    """Repeat pairs behind ops that only move values, in place."""
    edits = 0
    for node in list(model.graph):
        if node.op_type not in _MOVERS and node.op_type != "Concat":
            continue
        if not _is_read_as_real(node.outputs[0]):
            continue
        read = node.inputs if node.op_type == "Concat" else node.inputs[:1]
        decoders = [decoder_of(value) for value in read]
        schemes = [scheme_of(d) for d in decoders if d is not None]
        if len(schemes) < len(read):
            continue
        if all(s.per_tensor and s.same_as(schemes[0]) for s in schemes):
            append_pair(model, node, schemes[0])
            edits += 1
    note = f"{edits} pairs repeated behind moved values" if edits else "no pair to repeat"
    return PassNote("repeat_pairs", edits, note)


def _is_read_as_real(value: ir.Value) -> bool:
    readers = [use.node for use in value.uses()]
    return (
        not value.is_graph_output()
        and bool(readers)
        and not all(reader.op_type == QUANTIZE for reader in readers)
    )


def append_pair(model: ir.Model, node: ir.Node, scheme: Scheme) -> None:
    """Quantize and decode a node's output for all that read it."""
    value = node.outputs[0]
    readers = [(use.node, use.idx) for use in value.uses()]
    name = node.name or str(value.name)
    quantizer = ir.Node("", QUANTIZE, [value], name=f"{name}/quantize")
    decoder = ir.Node("", DEQUANTIZE, [quantizer.outputs[0]], name=f"{name}/decode")
    for made, suffix, dtype in (
        (quantizer, "stored", scheme.dtype),
        (decoder, "real", ir.DataType.FLOAT),
    ):
        made.outputs[0].name = f"{name}/{suffix}"
        made.outputs[0].shape, made.outputs[0].type = value.shape, ir.TensorType(dtype)
    model.graph.insert_after(node, [quantizer, decoder])
    for made in (quantizer, decoder):
        set_scheme(model, made, scheme)
    for reader, position in readers:
        reader.replace_input_with(position, decoder.outputs[0])
