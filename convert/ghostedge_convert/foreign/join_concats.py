"""Concats whose parts are quantized and which are not themselves: a rounding makes them integer.

Each part is exact on its own grid, the whole on none. Left alone the concat computes in float, and
with it what reads it. With leave it gets a pair that reaches all its parts; where some readers have
a pair already, the others share that.
"""

from __future__ import annotations

import onnx_ir as ir

from ghostedge_convert.foreign.repeat_pairs import append_pair
from ghostedge_convert.foreign.requantize_activations import covering
from ghostedge_convert.passes.graph import nodes_of
from ghostedge_convert.qdq_in.pairs import (
    DEQUANTIZE,
    QUANTIZE,
    decoder_of,
    scheme_of,
    uses_of,
)
from ghostedge_convert.qdq_in.requantize import Requantized

_NO_PAIR = "a concat of parts with unequal scales that is read without a pair"


def join_concats(model: ir.Model) -> tuple[Requantized, ...]:
    """Let every reader of such a concat read one pair, in place."""
    done: list[Requantized] = []
    for node in nodes_of(model, "Concat"):
        decoders = [decoder_of(value) for value in node.inputs]
        schemes = [scheme_of(d) for d in decoders if d is not None]
        value = node.outputs[0]
        real = [use for use in uses_of(value) if use[0].op_type != QUANTIZE]
        if len(schemes) < len(node.inputs) or not real or value.is_graph_output():
            continue
        decoder = _existing_pair(value)
        if decoder is None:
            after = covering(*schemes)
            append_pair(model, node, after)
        else:
            after = scheme_of(decoder)
            for reader, position in real:
                reader.replace_input_with(position, decoder.outputs[0])
        done.append(Requantized(str(value.name), str(node.name), _NO_PAIR, after=after))
    return tuple(done)


def _existing_pair(value: ir.Value) -> ir.Node | None:
    """The DequantizeLinear of the pair that some readers have."""
    for quantizer, _ in uses_of(value):
        if quantizer.op_type == QUANTIZE:
            for decoder, _ in uses_of(quantizer.outputs[0]):
                if decoder.op_type == DEQUANTIZE:
                    return decoder
    return None
