"""A model's own rescaling of its input, taken out of the graph to join the preprocessing.

Keras networks often begin with ``Rescaling`` or ``Normalization``. As nodes of the graph they cost
two passes over the full image and, in int8, a rounding each. Preprocessing is ``(pixel / 255 -
mean) / std`` per channel anyway, and stays inside an int8 file, exact to a step; so what the model
did first becomes a part of it. An exchange of colours on the way (BGR) goes into the weights of the
first convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with
from onnx_ir.passes.common import ShapeInferencePass

from ghostedge_convert.passes.cancel_transposes import cancel_transposes
from ghostedge_convert.passes.fold_constants import fold_constants
from ghostedge_convert.passes.graph import Array, only_consumer, per_channel, static_shape
from ghostedge_convert.passes.join_constant_arithmetic import IDENTITY, operand
from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes
from ghostedge_convert.passes.run import run_passes
from ghostedge_convert.sources.channel_order import put_in_order, take_out_order

_BEFORE = (fold_constants, remove_dead_nodes, cancel_transposes)


@dataclass(frozen=True)
class InputRescaling:
    """What a model does to its input first, and the model without it.

    Attributes:
        model: Without the rescaling; takes ``factor * x + term`` where the original took ``x``.
        factor: Per channel, positive.
        term: Per channel.
        present: Whether there was any.
        reordered: Whether it exchanged channels, which ``model`` takes as the original did.
    """

    model: onnx.ModelProto
    factor: tuple[float, ...]
    term: tuple[float, ...]
    present: bool
    reordered: bool = False

    def undone(self, images: Array) -> Array:
        """What the original takes, from what ``model`` does: (N, C, H, W), float32."""
        shape = (1, -1, 1, 1)
        factor, term = np.reshape(self.factor, shape), np.reshape(self.term, shape)
        original: Array = ((images - term) / factor).astype(np.float32)
        return original

    def normalization(
        self, mean: Sequence[float], std: Sequence[float]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std that include the rescaling, from those that the original was used with.

        ``factor * (p - mean) / std + term = (p - (mean - term * std / factor)) / (std / factor)``.
        """
        spread = [s / f for s, f in zip(std, self.factor, strict=True)]
        centre = [m - t * s for m, t, s in zip(mean, self.term, spread, strict=True)]
        return tuple(centre), tuple(spread)


def without_rescaling(model: onnx.ModelProto) -> InputRescaling:
    """Take arithmetic with constants per channel off the start of a graph.

    Args:
        model: One input, float32 NCHW, static; untouched. Its layout and constants are cleaned.
    """
    graph = ir.from_proto(model)
    ShapeInferencePass()(graph)
    run_passes(graph, _BEFORE)
    (source,) = graph.graph.inputs
    channels = (static_shape(source) or (1, 1))[1]
    factor, term, present = np.ones(channels), np.zeros(channels), False
    order = np.arange(channels)  # channel i of what the graph now begins with is order[i]
    while True:
        if (step := _first(source, channels)) is not None:
            factor, term, present = factor * step.factor, term * step.factor + step.term, True
            replace_all_uses_with(step.node.outputs[0], source)
            graph.graph.remove(step.node, safe=True)
        elif (picked := take_out_order(graph, source, channels)) is not None:
            factor, term, order = factor[picked], term[picked], order[picked]
        else:
            break
    remove_dead_nodes(graph)
    reordered = not np.array_equal(order, np.arange(channels))
    if reordered:
        put_in_order(graph, source, order)
    back = np.argsort(order)
    return InputRescaling(
        ir.to_proto(graph),
        tuple(factor[back].tolist()),
        tuple(term[back].tolist()),
        present,
        reordered,
    )


@dataclass(frozen=True)
class _Step:
    node: ir.Node
    factor: Array
    term: Array


def _first(source: ir.Value, channels: int) -> _Step | None:
    """The one node that reads the input, where it is arithmetic with a constant per channel."""
    node = only_consumer(source)
    operands = None if node is None else operand(node)
    if node is None or operands is None or node.outputs[0].is_graph_output():
        return None
    affine = IDENTITY.then(node, operands[1], first=node.inputs[0] is source)
    if affine is None:
        return None
    factor, term = (per_channel(part, channels, 4) for part in (affine.factor, affine.term))
    if factor is None or term is None or np.any(factor <= 0):  # a std is positive
        return None
    return _Step(node, factor, term)
