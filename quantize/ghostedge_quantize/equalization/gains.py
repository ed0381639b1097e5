"""What each channel's values are like, and how much of its noise reaches the graph's outputs.

One pass over the calibration images gives the channels' statistics, in memory that does not grow
with their number. Rounding errors are small and nearly independent, so their power adds up and
passes a layer through the squares of its weights: the gain of an input channel is the sum over what
it feeds of squared weight times the gain there. One walk from the outputs back gives every tensor's
gains. They order the channels of one tensor well; between distant tensors they are rough, and are
not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from ghostedge_quantize.equalization.channels import channel_count, taken_channels
from ghostedge_quantize.graph.canonical import constant, int_attribute
from ghostedge_quantize.graph.ops import Noise, Role, output_first, row_of, rule_of
from ghostedge_quantize.graph.plan import name_of
from ghostedge_quantize.ranges.calibrate import Activations, Observer, extremes
from ghostedge_runtime.errors import InputError

_HALF_ACTIVE = 0.5
"""Share of a ReLU's values that are taken to be above zero where they were not measured."""


@dataclass(frozen=True)
class ChannelStats:
    """One tensor's channels, each array float64 [C].

    Attributes:
        high: Largest value, at least 0.
        low: Smallest value's magnitude below 0, at least 0.
        power: Mean square.
        active: Share of the values above zero.
    """

    high: np.ndarray
    low: np.ndarray
    power: np.ndarray
    active: np.ndarray


Stats = Mapping[str, ChannelStats]
"""Of tensors, by name."""
Parts = list[tuple[ir.Value, np.ndarray]]
"""A node's inputs with the gains of their channels, by what this node does with them."""


def channel_stats(
    graph: ir.Model, tensors: Sequence[str], batches: Iterable[np.ndarray]
) -> dict[str, ChannelStats]:
    """Look at a float graph's tensors [N, C, …] over float32 NCHW batches.

    Raises:
        InputError: No images, or a NaN or infinite activation.
    """

    def look(first: int, count: int, activations: Activations) -> dict[str, ChannelStats]:
        measured = {}
        for name, values in activations:
            extremes(name, values, first)
            measured[name] = _stats(values[:count])
        return measured

    images = 0
    sums: dict[str, ChannelStats] = {}
    for count, stats in Observer(graph, tensors).look(batches, look):
        images += count
        for name, of_batch in stats.items():
            sums[name] = _added(sums[name], of_batch) if name in sums else of_batch
    if images == 0:
        raise InputError("no calibration images", remedy="pass at least one batch of images")
    return {
        name: replace(total, power=total.power / images, active=total.active / images)
        for name, total in sums.items()
    }


def _stats(values: np.ndarray) -> ChannelStats:
    """Of a batch [N, C, …]: power and active are sums over its images."""
    axes = (0, *range(2, values.ndim))
    return ChannelStats(
        high=np.maximum(0.0, values.max(axis=axes)).astype(np.float64),
        low=np.maximum(0.0, -values.min(axis=axes)).astype(np.float64),
        power=len(values) * np.square(values).mean(axis=axes, dtype=np.float64),
        active=len(values) * (values > 0).mean(axis=axes),
    )


def _added(one: ChannelStats, other: ChannelStats) -> ChannelStats:
    return ChannelStats(
        high=np.maximum(one.high, other.high),
        low=np.maximum(one.low, other.low),
        power=one.power + other.power,
        active=one.active + other.active,
    )


def power_of(value: ir.Value, stats: Stats) -> np.ndarray:
    """Mean square of a tensor's channels; where it was not measured, of those it is made from."""
    if str(value.name) in stats:
        return stats[str(value.name)].power
    producer = value.producer()
    channels = value.shape[1] if value.shape is not None and len(value.shape) > 1 else 0
    if producer is not None and producer.op_type == "Concat":
        parts = [power_of(part, stats) for part in producer.inputs if part is not None]
        if sum(map(len, parts)) == channels:
            return np.concatenate(parts)
    if producer is not None and producer.op_type == "Slice" and producer.inputs[0] is not None:
        taken = taken_channels(producer)
        if taken is not None and len(taken) == channels:
            return np.asarray(power_of(producer.inputs[0], stats)[taken])
    if producer is not None and producer.inputs and producer.inputs[0] is not None:
        power = power_of(producer.inputs[0], stats)
        if len(power) == channels:
            return power
    return np.ones(channels if isinstance(channels, int) else 0)


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
        for value, part in GAINS[row_of(node).noise](node, gain, stats):
            name = name_of(value)
            if not value.is_initializer() and channel_count(value) == len(part):
                gains[name] = gains[name] + part if name in gains else part
    return gains


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
    return [(first_input(node), np.einsum("goi,go->gi", squares, by_group).reshape(-1))]


def _rectify(node: ir.Node, gain: np.ndarray, stats: Stats) -> Parts:
    measured = stats.get(name_of(node.outputs[0]))
    return [(first_input(node), gain * (_HALF_ACTIVE if measured is None else measured.active))]


def _average(node: ir.Node, gain: np.ndarray, stats: Stats) -> Parts:
    del stats
    shape = first_input(node).shape
    sizes = [] if shape is None else [size for size in list(shape)[2:] if isinstance(size, int)]
    return [(first_input(node), gain / max(int(np.prod(sizes)), 1))]


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
    part = np.zeros(channel_count(first_input(node)))
    part[taken] = gain
    return [(first_input(node), part)]


def _flatten(node: ir.Node, gain: np.ndarray, stats: Stats) -> Parts:
    channels = channel_count(first_input(node))
    if channels and len(gain) % channels == 0:
        return [(first_input(node), gain.reshape(channels, -1).sum(axis=1))]
    return _evenly(node, gain, stats)


def _evenly(node: ir.Node, gain: np.ndarray, stats: Stats) -> Parts:
    """Every input hands its noise on unchanged, channel by channel where the counts agree."""
    del stats
    parts: Parts = []
    for value in node.inputs:
        if value is not None:
            count = channel_count(value)
            part = gain if count == len(gain) else np.full(count, gain.mean() if len(gain) else 1.0)
            parts.append((value, part))
    return parts


def first_input(node: ir.Node) -> ir.Value:
    """The tensor that a node computes on."""
    value = node.inputs[0]
    if value is None:
        raise ValueError(f"{node.name} lacks its first input")
    return value


GAINS: Mapping[Noise, Callable[[ir.Node, np.ndarray, Stats], Parts]] = {
    Noise.PASSES: _evenly,
    Noise.LAYER: _layer,
    Noise.RECTIFIES: _rectify,
    Noise.AVERAGES: _average,
    Noise.GATES: _gate,
    Noise.CONCATENATES: _concat,
    Noise.SLICES: _slice,
    Noise.FLATTENS: _flatten,
}
"""How the gains of each kind of op's inputs follow from its output's."""
