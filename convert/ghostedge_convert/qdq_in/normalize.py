"""Any quantizer's QDQ model → the QDQ graph that lowering reads.

Exact edits first, so that what is refused or requantized is only what nothing exact could save.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    NameFixPass,
    RemoveUnusedNodesPass,
)

from ghostedge_convert.foreign.decode_constants import decode_constants
from ghostedge_convert.foreign.fit_biases import fit_biases
from ghostedge_convert.foreign.join_concats import join_concats
from ghostedge_convert.foreign.recentre_weights import recentre_weights
from ghostedge_convert.foreign.repeat_pairs import repeat_pairs
from ghostedge_convert.foreign.requantize_activations import requantize_activations
from ghostedge_convert.foreign.requantize_weights import requantize_weights
from ghostedge_convert.foreign.shapes import with_shapes
from ghostedge_convert.foreign.use_standard_pairs import use_standard_pairs
from ghostedge_convert.passes import Pass, PassNote
from ghostedge_convert.qdq_in.constants import store_weights
from ghostedge_convert.qdq_in.requantize import Requantized
from ghostedge_convert.qdq_in.share_channel_scales import share_channel_scales

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
        model: Static shapes, operator set 13 or later (see :func:`.read.pinned`).
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
    notes: list[PassNote] = []
    _run(graph, _EXACT, notes)
    weights = requantize_weights(graph, allowed=requantize)
    activations = requantize_activations(graph, allowed=requantize)
    _run(graph, (repeat_pairs,), notes)
    joined = join_concats(graph) if requantize else ()
    _run(graph, (repeat_pairs, fit_biases), notes)
    graph.graph.sort()
    RemoveUnusedNodesPass()(graph)
    return Normalized(ir.to_proto(graph), tuple(notes), (*weights, *activations, *joined))


def _run(
    graph: ir.Model, passes: tuple[Callable[[ir.Model], PassNote], ...], notes: list[PassNote]
) -> None:
    """Run passes in order. A refusal is an answer to the user, so errors go through as they are."""
    notes += [note for note in (step(graph) for step in passes) if note.edits]
