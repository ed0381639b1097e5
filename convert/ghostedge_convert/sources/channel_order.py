"""An exchange of a network's input channels: found at its start, put into its first weights.

Networks trained with OpenCV's images take blue first and, where their file holds it, begin
with the exchange: ``x[:, [2, 1, 0]]``, ``x[:, ::-1]``, a split and a concat.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with

from ghostedge_convert.passes.graph import (
    Array,
    add_constant,
    constant,
    input_at,
    int_attr,
    set_constant,
)
from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes

_CHANNELS = 1


def take_out_order(model: ir.Model, source: ir.Value, channels: int) -> Array | None:
    """Take an exchange of channels off the start of a graph, in place.

    Args:
        model: The graph.
        source: Its input, NCHW.
        channels: C.

    Returns:
        Which channel of ``source`` each channel was of what the graph now begins with; None, and
        nothing is changed, where it does not begin with an exchange or also reads the input itself.
    """
    channels_by_value: dict[ir.Value, Array] = {source: np.arange(channels)}
    last: ir.Value | None = None
    for node in model.graph:
        picked = [_channels(node, index, channels_by_value) for index in range(len(node.outputs))]
        for value, channels_of in zip(node.outputs, picked, strict=True):
            if channels_of is not None:
                channels_by_value[value] = channels_of
                if sorted(channels_of) == list(range(channels)):
                    last = value
    if last is None or last.is_graph_output():
        return None
    others = (use.node for value in channels_by_value if value is not last for use in value.uses())
    if any(output not in channels_by_value for node in others for output in node.outputs):
        return None
    replace_all_uses_with(last, source)
    remove_dead_nodes(model)
    return channels_by_value[last]


def _channels(node: ir.Node, index: int, channels_by_value: dict[ir.Value, Array]) -> Array | None:
    """Which channels of the input an output of a node consists of, if of nothing else."""
    axis = int_attr(node, "axis", 0)
    sources = [channels_by_value.get(value) for value in node.inputs if value is not None]
    first = sources[0] if sources else None
    if node.op_type == "Concat" and axis % 4 == _CHANNELS:
        whole = [source for source in sources if source is not None]
        return np.concatenate(whole) if len(whole) == len(node.inputs) else None
    if first is None:
        return None
    if node.op_type == "Gather" and axis % 4 == _CHANNELS:
        picks = constant(input_at(node, 1))
        return first[picks] if picks is not None and picks.ndim == 1 else None
    if node.op_type == "Split" and axis % 4 == _CHANNELS:
        sizes = constant(input_at(node, 1))
        count = len(node.outputs)
        ends = np.cumsum(sizes) if sizes is not None else _even(first.size, count)
        return np.split(first, ends[:-1])[index]
    return _sliced(node, first) if node.op_type == "Slice" else None


def _even(size: int, count: int) -> Array:
    step = -(-size // count)
    return np.minimum(np.arange(1, count + 1) * step, size)


def _sliced(node: ir.Node, channels: Array) -> Array | None:
    """A Slice along the channels alone."""
    starts, ends, axes, steps = (constant(input_at(node, i)) for i in (1, 2, 3, 4))
    if starts is None or ends is None or axes is None or [int(a) % 4 for a in axes] != [_CHANNELS]:
        return None
    step = 1 if steps is None else int(steps[0])
    start, end = int(starts[0]), int(ends[0])
    stop = None if step < 0 and end < -channels.size else end
    return channels[start if start < channels.size else None : stop : step]


def put_in_order(model: ir.Model, source: ir.Value, order: Array) -> None:
    """Let a graph take its channels in another order, in place.

    The weights of the convolutions that read them first are exchanged; where something else does,
    a Gather exchanges the channels.

    Args:
        model: The graph.
        source: Its input, NCHW.
        order: Which channel of the new input each channel of the old one is.
    """
    convs = _first_convs(source)
    if convs is not None:
        for conv in convs:
            weights = constant(conv.inputs[1])
            if weights is not None:
                set_constant(model, conv, 1, weights[:, np.argsort(order)])
        return
    readers = [(use.node, use.idx) for use in source.uses()]
    picks = add_constant(model, "channel_order", order.astype(np.int64))
    gather = ir.Node("", "Gather", [source, picks], [ir.AttrInt64("axis", _CHANNELS)])
    gather.name = gather.outputs[0].name = "channel_order/Gather"
    gather.outputs[0].type, gather.outputs[0].shape = source.type, source.shape
    model.graph.insert_before(next(iter(model.graph)), gather)
    for node, index in readers:
        node.replace_input_with(index, gather.outputs[0])


def _first_convs(value: ir.Value) -> list[ir.Node] | None:
    """The convolutions that read a value, be it padded; None where anything else does."""
    convs: list[ir.Node] = []
    if value.is_graph_output():
        return None
    for use in value.uses():
        node = use.node
        if node.op_type == "Pad" and use.idx == 0:
            pads, axes = constant(input_at(node, 1)), input_at(node, 3)
            behind = None if axes is not None else _first_convs(node.outputs[0])
            if pads is None or behind is None or pads[[1, 5]].any():
                return None
            convs += behind
        elif node.op_type == "Conv" and use.idx == 0 and int_attr(node, "group", 1) == 1:
            if constant(node.inputs[1]) is None:
                return None
            convs.append(node)
        else:
            return None
    return convs
