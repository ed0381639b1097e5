"""How much of a tensor's noise reaches the graph's outputs, channel by channel.

Rounding errors are small and nearly independent, so their power adds up and passes a layer through
the squares of its weights: the gain of an input channel is the sum over what it feeds of squared
weight times the gain there. One walk from the outputs back gives every tensor's gains. They order
the channels of one tensor well; between distant tensors they are rough, and are not compared.

What each channel's values are like over the calibration images; one pass, fixed memory.

How much each tensor's quantization alone moves a float graph's outputs; measured by running it.

One session per sharing group, with that group's pairs in an otherwise float graph, on a few images,
as many at a time as there are cores.

The quantization noise that channel factors cause, and its gradient.

Each term is the noise-to-signal ratio of one quantized tensor, its channels weighted by how much
of their noise reaches the output. Largest values are taken as a norm of high order, so that every
large channel has a say. All terms are functions of the factors' logarithms, in which a step is a
relative change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import helper, numpy_helper

from ghostedge_quantize.equalization.channels import channel_count, taken_channels
from ghostedge_quantize.graph.canonical import constant, int_attribute
from ghostedge_quantize.graph.ops import Noise, Role, output_first, row_of, rule_of
from ghostedge_quantize.graph.plan import name_of
from ghostedge_quantize.ranges.calibrate import Observer, extremes
from ghostedge_quantize.ranges.methods import QuantParams
from ghostedge_runtime.errors import InputError


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


def channel_stats(
    graph: ir.Model, tensors: Sequence[str], batches: Iterable[np.ndarray]
) -> dict[str, ChannelStats]:
    """Look at a float graph's tensors [N, C, …] over float32 NCHW batches.

    Raises:
        InputError: No images, or a NaN or infinite activation.
    """
    sums: dict[str, _Sums] = {}
    images = 0
    for first, count, activations in Observer(graph, tensors).run(batches):
        for name, values in activations:
            extremes(name, values, first)
            sums.setdefault(name, _Sums(values.shape[1])).add(values[:count])
        images = first + count
    if images == 0:
        raise InputError("no calibration images", remedy="pass at least one batch of images")
    return {name: each.stats() for name, each in sums.items()}


class _Sums:
    def __init__(self, channels: int) -> None:
        self._high = np.zeros(channels)
        self._low = np.zeros(channels)
        self._power = np.zeros(channels)
        self._active = np.zeros(channels)
        self._images = 0

    def add(self, values: np.ndarray) -> None:
        axes = (0, *range(2, values.ndim))
        self._high = np.maximum(self._high, values.max(axis=axes))
        self._low = np.maximum(self._low, -values.min(axis=axes))
        self._power += len(values) * np.square(values).mean(axis=axes, dtype=np.float64)
        self._active += len(values) * (values > 0).mean(axis=axes)
        self._images += len(values)

    def stats(self) -> ChannelStats:
        total = self._images
        return ChannelStats(self._high, self._low, self._power / total, self._active / total)


def power_of(value: ir.Value, stats: Mapping[str, ChannelStats]) -> np.ndarray:
    """Mean square of a tensor's channels; those of what it was put together from, if need be."""
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
        found = power_of(producer.inputs[0], stats)
        if len(found) == channels:
            return found
    return np.ones(channels if isinstance(channels, int) else 0)


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
        for value, part in GAINS[row_of(node).noise](node, gain, stats):
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
    """Noise is handed on as it is."""
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


class OutputNoise:
    """A float graph's outputs on some images, to hold changed graphs against.

    Args:
        graph: One float32 input.
        images: Batches in the graph's own batch size.
    """

    def __init__(self, graph: ir.Model, images: Sequence[np.ndarray]) -> None:
        self._proto = ir.to_proto(graph)
        self._images = images
        self._reference = self._outputs(self._proto)

    def of_pairs(
        self, groups: Mapping[str, Sequence[str]], params: Mapping[str, QuantParams]
    ) -> dict[str, float]:
        """Group → noise of quantizing its tensors and nothing else, relative to the outputs.

        The noise of an image is the root of its mean square error; the mean over the images is
        squared. So an image whose outliers were clipped counts as one image, not as all. Of
        several outputs each counts alike, however large its values are.
        """

        def noise(group: str) -> float:
            return self.of(with_pairs(self._proto, groups[group], params[group]))

        # Variants are made in the workers: each is a copy of the whole model.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return dict(zip(groups, pool.map(noise, groups), strict=True))

    def of(self, variant: onnx.ModelProto) -> float:
        """Noise of any graph with the same input and outputs."""
        pairs = zip(self._outputs(variant), self._reference, strict=True)
        return float(np.mean([_relative(*pair) for pair in pairs]))

    def _outputs(self, model: onnx.ModelProto) -> list[list[np.ndarray]]:
        """Of each output the batches, flat float64 arrays."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        batches = [session.run(None, {name: each}) for each in self._images]
        return [
            [out.reshape(-1).astype(np.float64) for out in column]
            for column in zip(*batches, strict=True)
        ]


def _relative(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """One output's noise power over its signal power."""
    errors = [np.sqrt(np.mean(np.square(a - b))) for a, b in zip(found, wanted, strict=True)]
    power = np.mean([np.mean(np.square(each)) for each in wanted])
    return float(np.mean(errors) ** 2 / max(power, np.finfo(float).tiny))


def with_pairs(
    model: onnx.ModelProto, tensors: Sequence[str], params: QuantParams
) -> onnx.ModelProto:
    """A copy in which every reader of ``tensors`` gets them through an int8 pair."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph, wanted = copy.graph, set(tensors)
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.asarray(params.scale, np.float32), "pair_scale"),
            numpy_helper.from_array(np.asarray(params.zero_point, np.int8), "pair_zero_point"),
        ]
    )
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in wanted:
                node.input[index] = f"{name}_paired"
    nodes = [pair for value in graph.input if value.name in wanted for pair in _pair(value.name)]
    for node in graph.node:
        nodes.append(node)
        nodes.extend(pair for name in node.output if name in wanted for pair in _pair(name))
    outputs = [f"{o.name}_paired" if o.name in wanted else o.name for o in graph.output]
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return copy


def _pair(name: str) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    codes, parameters = f"{name}_codes", ["pair_scale", "pair_zero_point"]
    return (
        helper.make_node("QuantizeLinear", [name, *parameters], [codes]),
        helper.make_node("DequantizeLinear", [codes, *parameters], [f"{name}_paired"]),
    )


ORDER = 12
"""Order of the norm that stands for the maximum; 8 and 24 found factors no better."""
_ROUNDING = 1 / 12
"""Variance of a rounding error, in squared steps."""
_CODES = 255
_WEIGHT_CODES = 127


class Term(Protocol):
    """One tensor's share of the noise."""

    def add(self, scales: np.ndarray, gradient: np.ndarray) -> float:
        """Its value at ``scales``; its derivative by their logarithms is added to ``gradient``.

        Both arrays are float64, one entry per channel class.
        """


@dataclass(frozen=True)
class ActivationNoise:
    """An activation's: its channels, divided by their factors, share one step.

    Attributes:
        classes: int [C].
        high: Largest value of each channel, float64 [C].
        low: Magnitude of the smallest, float64 [C].
        effect: What a channel's noise weighs, divided by the power of the tensor's signal.
    """

    classes: np.ndarray
    high: np.ndarray
    low: np.ndarray
    effect: np.ndarray

    def add(self, scales: np.ndarray, gradient: np.ndarray) -> float:
        """See ``Term``."""
        own = scales[self.classes]
        high, by_high = _norm(self.high / own)
        low, by_low = _norm(self.low / own)
        span = high + low
        each = self.effect * own**2
        weight = _ROUNDING / _CODES**2
        slope = 2 * span**2 * each - 2 * span * each.sum() * (by_high + by_low)
        np.add.at(gradient, self.classes, weight * slope)
        return float(weight * span**2 * each.sum())


@dataclass(frozen=True)
class ChannelWeightNoise:
    """A layer's with a weight scale for each output channel: only its inputs' factors count.

    Attributes:
        inputs: int [G, I]: classes of the input channels, by group.
        magnitude: Largest weight of an output and input channel, to the power ``ORDER``;
            float64 [G, O, I].
        power: Mean square of each input channel times the kernel's taps, float64 [G, I].
        effect: What an output's noise weighs, divided by the weighted power of the outputs;
            float64 [G, O].
    """

    inputs: np.ndarray
    magnitude: np.ndarray
    power: np.ndarray
    effect: np.ndarray

    def add(self, scales: np.ndarray, gradient: np.ndarray) -> float:
        """See ``Term``."""
        own = scales[self.inputs]
        raised = own**ORDER
        sums = np.maximum(np.einsum("goi,gi->go", self.magnitude, raised), _TINY)
        steps = self.effect * sums ** (2 / ORDER)
        heard = (self.power / own**2).sum(axis=1)
        weight = _ROUNDING / _WEIGHT_CODES**2
        by_steps = np.einsum("go,goi->gi", steps / sums, self.magnitude) * raised
        slope = 2 * by_steps * heard[:, None]
        slope -= 2 * steps.sum(axis=1)[:, None] * self.power / own**2
        np.add.at(gradient, self.inputs, weight * slope)
        return float(weight * (steps.sum(axis=1) * heard).sum())


@dataclass(frozen=True)
class TensorWeightNoise:
    """A layer's with one weight scale: outputs with small weights lose, unless scaled up.

    Attributes:
        inputs: int [G, I].
        outputs: int [G, O]: classes of the output channels.
        magnitude: As in ``ChannelWeightNoise``.
        power: Likewise.
        effect: Likewise.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    magnitude: np.ndarray
    power: np.ndarray
    effect: np.ndarray

    def add(self, scales: np.ndarray, gradient: np.ndarray) -> float:
        """See ``Term``."""
        own, made = scales[self.inputs], scales[self.outputs]
        parts = self.magnitude * (own**ORDER)[:, None, :] / (made**ORDER)[:, :, None]
        total = max(float(parts.sum()), _TINY)
        step = total ** (2 / ORDER)
        lost = self.effect * made**2
        heard = self.power / own**2
        by_group = heard.sum(axis=1)
        noise = float((lost.sum(axis=1) * by_group).sum())
        weight = _ROUNDING / _WEIGHT_CODES**2
        share = parts * (2 * step / total * noise)
        np.add.at(
            gradient,
            self.inputs,
            weight * (share.sum(axis=1) - 2 * step * lost.sum(axis=1)[:, None] * heard),
        )
        np.add.at(
            gradient,
            self.outputs,
            weight * (2 * step * lost * by_group[:, None] - share.sum(axis=2)),
        )
        return float(weight * step * noise)


_TINY = 1e-300


def _norm(values: np.ndarray) -> tuple[float, np.ndarray]:
    """A smooth maximum of values ≥ 0, and its derivative by each value's logarithm."""
    largest = float(values.max(initial=0.0))
    if largest == 0:
        return 0.0, np.zeros_like(values)
    raised = (values / largest) ** ORDER
    norm = largest * float(raised.sum()) ** (1 / ORDER)
    return norm, norm * raised / raised.sum()
