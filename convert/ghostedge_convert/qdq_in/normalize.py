"""Any quantizer's QDQ model → the QDQ graph that lowering reads.

The exact edits run first, so that only what no exact edit can express is refused or requantized.
`left_float` names the ops that compute on floats all the same: the source gave them no pair, or the
op table has them in float.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    NameFixPass,
    RemoveUnusedNodesPass,
)

from ghostedge_convert.lower.graph import DEQUANTIZE, QUANTIZE
from ghostedge_convert.lower.lower import prepare
from ghostedge_convert.lower.qdq import MOVERS
from ghostedge_convert.passes.run import Pass, PassNote, run_passes
from ghostedge_convert.qdq_in.constants import (
    decode_constants,
    fit_biases,
    recentre_weights,
    store_weights,
)
from ghostedge_convert.qdq_in.pairs import repeat_pairs, use_standard_pairs
from ghostedge_convert.qdq_in.requantize import (
    Requantized,
    join_concats,
    requantize_activations,
    requantize_weights,
)
from ghostedge_convert.qdq_in.share_channel_scales import share_channel_scales
from ghostedge_convert.sources.onnx_shapes import with_shapes

_FREE = MOVERS | {QUANTIZE, DEQUANTIZE}
_EXACT: tuple[Pass, ...] = (
    use_standard_pairs,
    store_weights,
    recentre_weights,
    decode_constants,
    share_channel_scales,
)


@dataclass(frozen=True)
class Normalized:
    """A QDQ graph that lowers.

    Attributes:
        model: The graph; without ``requantized`` it computes what the source does.
        applied: A note of each pass that changed something.
        requantized: What could not stay as it was, empty unless that was allowed.
    """

    model: onnx.ModelProto
    applied: tuple[PassNote, ...]
    requantized: tuple[Requantized, ...]


def normalize_qdq(model: onnx.ModelProto, *, requantize: bool = False) -> Normalized:
    """Bring a QDQ model of any quantizer to the form that :func:`lower_to_tflite` reads.

    Args:
        model: Static shapes, operator set 13 or later, as `pinned` gives them.
        requantize: Round what TFLite's int8 cannot hold instead of refusing it.

    Returns:
        A new model; the source is untouched.

    Raises:
        UnsupportedOpError: TFLite has no form for a node's quantization, and ``requantize`` is
            False or does not help.
        ModelFileError: Its shapes contradict each other.
    """
    graph = ir.from_proto(with_shapes(model))
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(graph)
    NameFixPass()(graph)
    notes = [*run_passes(graph, _EXACT)]
    weights = requantize_weights(graph, allowed=requantize)
    activations = requantize_activations(graph, allowed=requantize)
    notes += run_passes(graph, (repeat_pairs,))
    joined = join_concats(graph) if requantize else ()
    notes += run_passes(graph, (repeat_pairs, fit_biases))
    graph.graph.sort()
    RemoveUnusedNodesPass()(graph)
    applied = tuple(note for note in notes if note.edits)
    return Normalized(ir.to_proto(graph), applied, (*weights, *activations, *joined))


def left_float(model: onnx.ModelProto) -> tuple[str, ...]:
    """The names of the nodes that compute on floats, in order; moving is not computing.

    Args:
        model: What `normalize_qdq` returned.

    Raises:
        UnsupportedOpError: A node has no form in TFLite.
    """
    graph = prepare(model)
    return tuple(
        node.name
        for node in graph.nodes
        if node.op not in _FREE
        and not node.integer
        and graph.values[node.outputs[0]].dtype == np.float32
    )
