"""Rescales channels so that int8 serves them all: ghost-aware cross-layer equalization.

A tensor's channels share one int8 step, so a channel of small values keeps few of the 256 codes:
in a concat of a ghost module's halves, one half can take them all. Every class of channels (see
``channels``) is divided by a factor of its own, made good in the weights around it, so that the
float function stays what it was. The factors are those of the least predicted noise, over
activations and weights together (``equalization_noise``), found by gradient descent: once with
each tensor's noise predicted, then with what each was measured to do to the output there. They
start where every channel's range is the same, and the prediction knows nothing else of how channels
were scaled before: a network whose channels were rescaled arbitrarily gets the same result.

Follows the idea of Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction" (2019), there for pairs of layers and weights alone.

The least-noise problem of one graph: what is known of its channels, as terms of their factors.

Not here: what a term is (``equalization_noise``), and how the factors are found and applied
(``equalization``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ghostedge_quantize.equalization.channels import FIXED, ChannelClasses, per_channel_constant
from ghostedge_quantize.equalization.noise import (
    ORDER,
    ActivationNoise,
    ChannelStats,
    ChannelWeightNoise,
    OutputNoise,
    TensorWeightNoise,
    Term,
    channel_stats,
    grouped_weights,
    noise_gains,
    power_of,
)
from ghostedge_quantize.equalization.part_scales import insert_part_scales
from ghostedge_quantize.graph.canonical import add_initializer, canonical_ir, constant
from ghostedge_quantize.graph.ops import Role, output_first, rule_of
from ghostedge_quantize.graph.plan import Plan, fused_output, make_plan, name_of
from ghostedge_quantize.ranges.calibrate import Observer, spread
from ghostedge_quantize.ranges.methods import Range, affine, hull
from ghostedge_quantize.tuning.weights import channel_scales

FITTING_TURNS = 20
"""Turns of fitting channels' and whole tensors' factors to the ranges, each given the other."""
SMALLEST = 1e-6
"""Channels whose range is below this part of their tensor's largest count as that large: what
they hold is rounding noise, or too rare on the calibration images to be scaled up by it."""


@dataclass(frozen=True)
class Measured:
    """Noise at the outputs, relative to them: of each sharing group alone, of all weights."""

    activations: Mapping[str, float]
    weights: float


class Problem:
    """The noise of one graph as a function of its classes' factors.

    Everything is stored in the units in which each channel's range is about 1 (``even``), so that
    high powers neither overflow nor vanish, and so that the way a network's channels were scaled
    before makes no difference.
    """

    def __init__(
        self,
        graph: ir.Graph,
        plan: Plan,
        classes: ChannelClasses,
        stats: dict[str, ChannelStats],
        per_channel: bool,
    ) -> None:
        self._plan, self._stats = plan, stats
        self.classes, self.per_channel = classes, per_channel
        self._values = {name_of(value): value for value in graph.inputs}
        self._values.update({name_of(v): v for node in graph for v in node.outputs})
        self.even, self.free = self._even_ranges()
        self._gains = noise_gains(graph, stats)
        weighted = [node for node in graph if plan.nodes.get(str(node.name)) is not None]
        self._even_silent(weighted)
        self.groups: dict[str, list[str]] = {}
        for name in plan.measured:
            self.groups.setdefault(plan.groups[name], []).append(name)
        self._activations = dict(self._activation_terms())
        self._layers = list(self._layer_terms(weighted))

    def noise(self, scales: np.ndarray) -> float:
        """The predicted noise-to-signal ratios, summed."""
        ignored = np.zeros_like(scales)
        return sum(term.add(scales / self.even, ignored) for term in self.terms)

    @property
    def terms(self) -> list[Term]:
        """The noise of every tensor that factors can change."""
        return [*self._activations.values(), *self._layers]

    def weigh(self, measured: Measured, scales: np.ndarray) -> None:
        """Let each term weigh what was measured at ``scales``, in place of its prediction."""
        ignored, units = np.zeros_like(scales), scales / self.even
        for group, term in self._activations.items():
            predicted = max(term.add(units, ignored), np.finfo(float).tiny)
            factor = measured.activations[group] / predicted
            self._activations[group] = replace(term, effect=term.effect * factor)
        total = sum(term.add(units, ignored) for term in self._layers)
        factor = measured.weights / max(total, np.finfo(float).tiny)
        self._layers = [replace(term, effect=term.effect * factor) for term in self._layers]

    def ends(self, scales: np.ndarray) -> dict[str, Range]:
        """Range of every sharing group, its channels divided by ``scales``."""
        found = {}
        for group, names in self.groups.items():
            parts = [(self._stats[n], scales[self._ids(n)]) for n in names]
            low = max(float((stats.low / own).max()) for stats, own in parts)
            high = max(float((stats.high / own).max()) for stats, own in parts)
            found[group] = hull([Range(-low, high)])
        return found

    def _even_ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """Per class: the factor that evens the channels' ranges, and whether there are values.

        By least squares: the logarithm of a range is that of its class's factor plus one number
        for the whole tensor, fitted in turn. Whatever multiplies a class moves its factor alone.
        """
        count = self.classes.count
        members: list[tuple[np.ndarray, np.ndarray]] = []
        for name, stats in self._stats.items():
            ends = np.maximum(stats.high, stats.low)
            alive = (ends > 0) & (self._ids(name) != FIXED)
            if alive.any():
                ranges = np.maximum(ends[alive], SMALLEST * ends.max())
                members.append((self._ids(name)[alive], np.log(ranges)))
        logs = np.zeros(count)
        ids = np.concatenate([np.zeros(0, np.intp), *(each for each, _ in members)])
        sizes = np.bincount(ids, minlength=count)
        for turn in range(FITTING_TURNS):
            rest = [known - (known - logs[each]).mean() * (turn > 0) for each, known in members]
            sums = np.bincount(ids, np.concatenate([np.zeros(0), *rest]), minlength=count)
            logs = sums / np.maximum(sizes, 1)
        return np.exp(logs), sizes > 0

    def _even_silent(self, nodes: Iterable[ir.Node]) -> None:
        """Bring the weights that read channels without values to their neighbours' size.

        They share a scale with the others' weights, so large ones would cost those their codes.
        """
        factors = np.full(self.classes.count, np.inf)
        for node in nodes:
            if rule_of(node).role is not Role.WEIGHTED:
                continue
            weights = grouped_weights(node)
            groups, _, inputs, _ = weights.shape
            ids = self.classes.of(_first(node), groups * inputs)
            largest = np.abs(weights).max(axis=(1, 3)).reshape(-1) * self.even[ids]
            silent = (ids != FIXED) & ~self.free[ids] & (largest > 0)
            heard = largest[(ids == FIXED) | self.free[ids]]
            if inputs > 1 and silent.any() and heard.any():
                np.minimum.at(factors, ids[silent], np.median(heard) / largest[silent])
        self.even *= np.where(np.isfinite(factors) & (factors > 0), factors, 1.0)

    def _activation_terms(self) -> Iterator[tuple[str, ActivationNoise]]:
        for group, names in self.groups.items():
            ids = np.concatenate([self._ids(name) for name in names])
            if not np.any(ids != FIXED):
                continue
            stats = [self._stats[name] for name in names]
            unit = self.even[ids]
            gains = (
                np.concatenate(
                    [self._gain(self._values[name], len(self._ids(name))) for name in names]
                )
                * unit**2
            )
            signal = float((np.concatenate([each.power for each in stats]) / unit**2).mean())
            if signal > 0 and gains.sum() > 0:
                yield (
                    group,
                    ActivationNoise(
                        classes=ids,
                        high=np.concatenate([each.high for each in stats]) / unit,
                        low=np.concatenate([each.low for each in stats]) / unit,
                        effect=gains / gains.sum() / signal,
                    ),
                )

    def _layer_terms(
        self, nodes: Iterable[ir.Node]
    ) -> Iterator[ChannelWeightNoise | TensorWeightNoise]:
        for node in nodes:
            rule = self._plan.nodes[str(node.name)]
            if rule.role is not Role.WEIGHTED:
                continue
            weights = grouped_weights(node)
            groups, outputs, inputs, taps = weights.shape
            read = self.classes.of(_first(node), groups * inputs).reshape(groups, inputs)
            made = self.classes.of(node.outputs[0]).reshape(groups, outputs)
            gains = self._gain(node.outputs[0], groups * outputs).reshape(groups, outputs)
            target = power_of(fused_output(node, rule), self._stats).reshape(groups, outputs)
            signal = float((gains * target).sum())
            depthwise_alone = self.per_channel and inputs == 1
            if depthwise_alone or signal <= 0 or not (read.any() or made.any()):
                continue
            even_in, even_out = self.even[read], self.even[made]
            largest = np.abs(weights).max(axis=3) * even_in[:, None, :] / even_out[:, :, None]
            effect = gains * even_out**2 / signal
            power = power_of(_first(node), self._stats).reshape(groups, inputs) * taps / even_in**2
            top = max(float(largest.max()), SMALLEST)
            magnitude, effect = (largest / top) ** ORDER, effect * top**2
            if self.per_channel:
                yield ChannelWeightNoise(read, magnitude, power, effect)
            else:
                yield TensorWeightNoise(read, made, magnitude, power, effect)

    def _ids(self, name: str) -> np.ndarray:
        """Classes of a measured tensor's channels."""
        return self.classes.of(self._values[name], len(self._stats[name].high))

    def _gain(self, value: ir.Value, channels: int) -> np.ndarray:
        gain = self._gains.get(name_of(value), np.ones(channels))
        return gain if len(gain) == channels else np.ones(channels)


def _first(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    if value is None:
        raise ValueError(f"{node.name} lacks its first input")
    return value


STEPS = 160
LEARNING_RATE = 0.16
"""Of the factors' logarithms. Twice the steps or the rate changes the noise by less than 2 %."""
STATS_PIXELS, STATS_IMAGES = 2**21, 64
"""Channels are looked at on images of so many pixels, and on no fewer images than that."""
NOISE_PIXELS, NOISE_IMAGES = 2**18, 8
"""Likewise what each tensor's own noise is measured on, which takes a run for every tensor."""


@dataclass(frozen=True)
class Equalized:
    """A rescaled graph.

    Attributes:
        model: The same function, up to float32 rounding.
        channels: How many classes of channels were rescaled.
        noise_db: Predicted change of the quantization noise, in dB; negative is less.
    """

    model: onnx.ModelProto
    channels: int
    noise_db: float


def equalize(
    model: onnx.ModelProto, batches: Iterable[np.ndarray], *, per_channel: bool = True
) -> Equalized:
    """Rescale a float graph's channels for int8.

    Args:
        model: The float deploy graph, one input, float32 NCHW. It is not changed.
        batches: Calibration images, float32 [N, C, H, W], normalised.
        per_channel: Whether weights will have a scale for every output channel, or one per tensor.

    Returns:
        The graph unchanged where the prediction finds no gain.

    Raises:
        InputError: As ``calibrate``.
    """
    graph = canonical_ir(model)
    plan = make_plan(graph.graph)
    looked_at = spread(batches, pixels=STATS_PIXELS, at_least=STATS_IMAGES)
    stats = channel_stats(graph, plan.measured, looked_at)
    scaled, part_scales = model, insert_part_scales(graph.graph, plan, stats)
    if part_scales:
        scaled = ir.to_proto(graph)
        plan = make_plan(graph.graph)
        stats = channel_stats(graph, plan.measured, looked_at)
    classes = ChannelClasses(graph.graph, part_scales)
    problem = Problem(graph.graph, plan, classes, stats, per_channel)
    predicted = _descend(problem, np.zeros(classes.count))
    problem.weigh(_measured(scaled, problem, predicted, looked_at), predicted)
    scales = _descend(problem, np.log(predicted / problem.even))
    before, after = problem.noise(np.ones(classes.count)), problem.noise(scales)
    if not 0 < after < before:
        return Equalized(model, 0, 0.0)
    proto = _rescaled(scaled, classes, scales)
    onnx.checker.check_model(proto, full_check=True)
    return Equalized(proto, classes.count - 1, 10 * float(np.log10(after / before)))


def _rescaled(
    model: onnx.ModelProto, classes: ChannelClasses, scales: np.ndarray
) -> onnx.ModelProto:
    graph = canonical_ir(model)
    rescale(graph.graph, classes, scales)
    RemoveUnusedNodesPass()(graph)
    return ir.to_proto(graph)


def _measured(
    model: onnx.ModelProto, problem: Problem, scales: np.ndarray, batches: Iterable[np.ndarray]
) -> Measured:
    """Each sharing group's noise at the outputs, and all weights' together, on a few images."""
    graph = canonical_ir(_rescaled(model, problem.classes, scales))
    fitting = (images for _, images in Observer(graph, ()).sized(batches))
    noise = OutputNoise(graph, spread(fitting, pixels=NOISE_PIXELS, at_least=NOISE_IMAGES))
    params = {group: affine(ends) for group, ends in problem.ends(scales).items()}
    activations = noise.of_pairs(problem.groups, params)
    return Measured(activations, noise.of(_rounded(graph, problem.per_channel)))


def _rounded(graph: ir.Model, per_channel: bool) -> onnx.ModelProto:
    """The graph with its weights as int8 has them, still float."""
    for node in list(graph.graph):
        weight = constant(node.inputs[1]) if rule_of(node).role is Role.WEIGHTED else None
        if weight is not None:
            weight = output_first(node.op_type, weight)
            scale = channel_scales(weight) if per_channel else channel_scales(weight).max()
            scale = np.maximum(scale, np.finfo(np.float32).tiny)
            scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
            name = f"{node.name}_weight_rounded"
            rounded = _float32(output_first(node.op_type, np.rint(weight / scale) * scale))
            node.replace_input_with(1, add_initializer(graph.graph, name, rounded))
    RemoveUnusedNodesPass()(graph)
    return ir.to_proto(graph)


def rescale(graph: ir.Graph, classes: ChannelClasses, scales: np.ndarray) -> None:
    """Divide every channel by its class's factor, and make it good where it is read; in place.

    Args:
        graph: A canonical graph.
        classes: Its own.
        scales: float64, one per class, positive; that of the fixed class is 1.
    """
    for node in graph:
        made = classes.of(node.outputs[0])
        if rule_of(node).role is Role.WEIGHTED:
            groups, _, inputs, _ = grouped_weights(node).shape
            read = classes.of(_first(node), groups * inputs)
            if read.any() or made.any():
                _rescale_layer(graph, node, scales[read], scales[made])
        elif node.name in classes.part_scales:
            factor = np.asarray(1 / scales[made[0]])
            name = f"{node.name}_factor"
            node.replace_input_with(1, add_initializer(graph, name, _float32(factor)))
        elif node.op_type in ("Add", "Sub") and made.any():
            _rescale_constant(graph, node, scales[made])


def _rescale_constant(graph: ir.Graph, node: ir.Node, made: np.ndarray) -> None:
    found = per_channel_constant(node)
    if found is not None:
        index, array = found
        rank = len(node.outputs[0].shape or ())
        full = (array / made).reshape(1, -1, *[1] * (rank - 2))
        name = f"{node.name}_equalized_{index}"
        node.replace_input_with(index, add_initializer(graph, name, _float32(full)))


def _rescale_layer(graph: ir.Graph, node: ir.Node, read: np.ndarray, made: np.ndarray) -> None:
    weight, bias = constant(node.inputs[1]), None
    if weight is None:
        raise ValueError(f"{node.name} has computed weights")
    if len(node.inputs) > 2:
        bias = constant(node.inputs[2])
    grouped = grouped_weights(node)
    groups = len(grouped)
    scaled = grouped * read.reshape(groups, 1, -1, 1) / made.reshape(groups, -1, 1, 1)
    scaled = output_first(node.op_type, scaled.reshape(output_first(node.op_type, weight).shape))
    name = f"{node.name}_weight_equalized"
    node.replace_input_with(1, add_initializer(graph, name, _float32(scaled)))
    if bias is not None:
        name = f"{node.name}_bias_equalized"
        node.replace_input_with(2, add_initializer(graph, name, _float32(bias / made)))


def _descend(problem: Problem, start: np.ndarray) -> np.ndarray:
    """The factors of the least noise, one per class, by Adam on their logarithms.

    ``start`` holds the logarithms of the first try, beside the factors that even the ranges.
    """
    logs = start.copy()
    first, second = np.zeros_like(logs), np.zeros_like(logs)
    for step in range(1, STEPS + 1):
        gradient = np.zeros_like(logs)
        noise = sum(term.add(np.exp(logs), gradient) for term in problem.terms)
        # Of the noise's logarithm: a bad start must not drown what Adam remembers of gradients.
        gradient = np.where(problem.free, gradient, 0.0) / max(noise, np.finfo(float).tiny)
        first = 0.9 * first + 0.1 * gradient
        second = 0.99 * second + 0.01 * gradient**2
        rate = LEARNING_RATE * (1 - 0.95 * step / STEPS)
        size = np.sqrt(second / (1 - 0.99**step)) + np.finfo(float).tiny
        logs -= rate * (first / (1 - 0.9**step)) / size
    return np.asarray(problem.even * np.exp(logs))


def _float32(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float32)
