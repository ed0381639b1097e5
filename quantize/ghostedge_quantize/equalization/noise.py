"""How much of a tensor's noise reaches the graph's outputs, channel by channel.

Rounding errors are small and nearly independent, so their power adds up and passes a layer through
the squares of its weights: the gain of an input channel is the sum over what it feeds of squared
weight times the gain there. One walk from the outputs back gives every tensor's gains. They order
the channels of one tensor well; between distant tensors they are rough, and are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from ghostedge_quantize.channel_stats import ChannelStats, power_of
from ghostedge_quantize.equalization.channels import channel_count, taken_channels
from ghostedge_quantize.graph.canonical import constant, int_attribute
from ghostedge_quantize.graph.ops import Role, output_first, rule_of
from ghostedge_quantize.graph.plan import name_of

Stats = Mapping[str, ChannelStats]
_HALF_ACTIVE = 0.5


def noise_gains(graph: ir.Graph, stats: Stats) -> dict[str, np.ndarray]:
    """Tensor → float64 [C]: noise power at the outputs for unit noise on all of a channel.

    Args:
        graph: A canonical float graph.
        stats: Of its measured activations.
    """
    gains = {name_of(output): np.ones(channel_count(output)) for output in graph.outputs}
    for node in reversed(list(graph)):
        gain = gains.get(name_of(node.outputs[0]))
        if gain is None:
            continue
        for value, part in _RULES.get(node.op_type, _evenly)(node, gain, stats):
            name = name_of(value)
            if not value.is_initializer() and channel_count(value) == len(part):
                gains[name] = gains[name] + part if name in gains else part
    return gains


Parts = list[tuple[ir.Value, np.ndarray]]


def squared_weights(node: ir.Node) -> np.ndarray:
    """float64 [G, O/G, I/G]: squares of a layer's weights, summed over the kernel's taps."""
    return np.asarray(np.square(grouped_weights(node)).sum(axis=3))


def grouped_weights(node: ir.Node) -> np.ndarray:
    """float64 [G, O/G, I/G, taps]: weights of a convolution or dense layer, by group."""
    array = constant(node.inputs[1])
    if array is None:
        raise ValueError(f"{node.name} has computed weights")
    groups, array = int_attribute(node, "group", 1), output_first(node.op_type, array)
    outputs, inputs = array.shape[:2]
    return array.reshape(groups, outputs // groups, inputs, -1).astype(np.float64)


def _layer(node: ir.Node, gain: np.ndarray, stats: Stats) -> Parts:
    if rule_of(node).role is not Role.WEIGHTED:
        return _evenly(node, gain, stats)
    squares = squared_weights(node)
    by_group = gain.reshape(len(squares), -1)
    return [(_first(node), np.einsum("goi,go->gi", squares, by_group).reshape(-1))]


def _rectify(node: ir.Node, gain: np.ndarray, stats: Stats) -> Parts:
    found = stats.get(name_of(node.outputs[0]))
    return [(_first(node), gain * (_HALF_ACTIVE if found is None else found.active))]


def _average(node: ir.Node, gain: np.ndarray, stats: Stats) -> Parts:
    del stats
    shape = _first(node).shape
    sizes = [] if shape is None else [size for size in list(shape)[2:] if isinstance(size, int)]
    return [(_first(node), gain / max(int(np.prod(sizes)), 1))]


def _gate(node: ir.Node, gain: np.ndarray, stats: Stats) -> Parts:
    one, other = node.inputs[0], node.inputs[1]
    if one is None or other is None:
        return []
    powers = [_power(value, stats) for value in (other, one)]
    return [(value, gain * power) for value, power in zip((one, other), powers, strict=True)]


def _power(value: ir.Value, stats: Stats) -> np.ndarray | float:
    array = constant(value)
    return power_of(value, stats) if array is None else float(np.square(array).mean())


def _concat(node: ir.Node, gain: np.ndarray, stats: Stats) -> Parts:
    if int_attribute(node, "axis", 0) not in (1, 1 - len(node.outputs[0].shape or ())):
        return _evenly(node, gain, stats)
    inputs = [value for value in node.inputs if value is not None]
    ends = np.cumsum([channel_count(value) for value in inputs])
    return list(zip(inputs, np.split(gain, ends[:-1]), strict=True))


def _slice(node: ir.Node, gain: np.ndarray, stats: Stats) -> Parts:
    taken = taken_channels(node)
    if taken is None or len(taken) != len(gain):
        return _evenly(node, gain, stats)
    part = np.zeros(channel_count(_first(node)))
    part[taken] = gain
    return [(_first(node), part)]


def _flatten(node: ir.Node, gain: np.ndarray, stats: Stats) -> Parts:
    channels = channel_count(_first(node))
    if channels and len(gain) % channels == 0:
        return [(_first(node), gain.reshape(channels, -1).sum(axis=1))]
    return _evenly(node, gain, stats)


def _evenly(node: ir.Node, gain: np.ndarray, stats: Stats) -> Parts:
    """An op without a rule hands noise on as it is."""
    del stats
    parts: Parts = []
    for value in node.inputs:
        if value is not None:
            count = channel_count(value)
            part = gain if count == len(gain) else np.full(count, gain.mean() if len(gain) else 1.0)
            parts.append((value, part))
    return parts


def _first(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    if value is None:
        raise ValueError(f"{node.name} lacks its first input")
    return value


_RULES: dict[str, Callable[[ir.Node, np.ndarray, Stats], Parts]] = {
    "Conv": _layer,
    "ConvTranspose": _layer,
    "Gemm": _layer,
    "Relu": _rectify,
    "Clip": _rectify,
    "GlobalAveragePool": _average,
    "Mul": _gate,
    "Concat": _concat,
    "Slice": _slice,
    "Flatten": _flatten,
    "Reshape": _flatten,
}
