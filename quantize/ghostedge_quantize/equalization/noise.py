"""The predicted quantization noise of one graph as a function of its channels' factors.

A term is the noise-to-signal ratio of one quantized tensor, its channels weighted by how much of
their noise reaches the output (``gains``). Largest values are taken as a norm of high order, so
that every large channel has a say. All terms are functions of the factors' logarithms, in which a
step is a relative change, and give their gradient. How the least noise is found is in ``equalize``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import onnx_ir as ir

from ghostedge_quantize.codes import Range, hull
from ghostedge_quantize.equalization.channels import FIXED, ChannelClasses
from ghostedge_quantize.equalization.gains import (
    Stats,
    first_input,
    grouped_weights,
    noise_gains,
    power_of,
)
from ghostedge_quantize.graph.ops import Role, rule_of
from ghostedge_quantize.graph.plan import Plan, fused_output, name_of

ORDER = 12
"""Order of the norm that stands for the maximum; 8 and 24 found factors no better."""
_ROUNDING = 1 / 12
"""Variance of a rounding error, in squared steps."""
_CODES = 255
_WEIGHT_CODES = 127
_TINY = 1e-300
FITTING_TURNS = 20
"""Turns of fitting channels' and whole tensors' factors to the ranges, each given the other."""
SMALLEST = 1e-6
"""Channels whose range is below this part of their tensor's largest count as that large: what
they hold is rounding noise, or too rare on the calibration images to be scaled up by it."""


class Term(Protocol):
    """One tensor's share of the noise."""

    def add(self, scales: np.ndarray, gradient: np.ndarray) -> float:
        """Its value at ``scales``; its derivative by their logarithms is added to ``gradient``.

        Both arrays are float64, one entry per channel class.
        """


@dataclass(frozen=True)
class ActivationNoise:
    """The noise of activations, each of whose channels, divided by their factors, share one step.

    Attributes:
        classes: int [C]: of the channels of all activations, one after the other.
        high: Largest value of each channel, float64 [C].
        low: Magnitude of the smallest, float64 [C].
        effect: What a channel's noise weighs, divided by the power of the tensor's signal.
        starts: int [T]: where the channels of each activation begin.
    """

    classes: np.ndarray
    high: np.ndarray
    low: np.ndarray
    effect: np.ndarray
    starts: np.ndarray

    def add(self, scales: np.ndarray, gradient: np.ndarray) -> float:
        """Its value at ``scales``; its derivative is added to ``gradient``."""
        own = scales[self.classes]
        high, by_high = self._norms(self.high / own)
        low, by_low = self._norms(self.low / own)
        span, lost = high + low, self.effect * own**2
        sums = np.add.reduceat(lost, self.starts)
        weight = _ROUNDING / _CODES**2
        slope = lost * self._spread(2 * weight * span**2)
        slope -= (by_high + by_low) * self._spread(2 * weight * span * sums)
        gradient += np.bincount(self.classes, slope, len(gradient))
        return float(weight * (span**2 * sums).sum())

    def each(self, scales: np.ndarray) -> np.ndarray:
        """Of each activation alone, float64 [T]."""
        own = scales[self.classes]
        span = self._norms(self.high / own)[0] + self._norms(self.low / own)[0]
        sums = np.add.reduceat(self.effect * own**2, self.starts)
        return np.asarray(_ROUNDING / _CODES**2 * span**2 * sums)

    def weighed(self, factors: np.ndarray) -> ActivationNoise:
        """The same, the noise of each activation multiplied by a factor of its own."""
        return replace(self, effect=self.effect * self._spread(factors))

    def _spread(self, of_each: np.ndarray) -> np.ndarray:
        """One number for each activation, given to its channels."""
        return np.repeat(of_each, np.diff(self.starts, append=len(self.classes)))

    def _norms(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A smooth maximum of each activation's values ≥ 0, its derivative by their logarithms."""
        largest = np.maximum.reduceat(values, self.starts)
        raised = _raised(values / self._spread(np.where(largest > 0, largest, 1.0)))
        sums = np.add.reduceat(raised, self.starts)
        norm = largest * sums ** (1 / ORDER)
        return norm, raised * self._spread(norm / np.maximum(sums, _TINY))


@dataclass(frozen=True)
class ChannelWeightNoise:
    """The noise of a layer with a weight scale for each output: only its inputs' factors count.

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
        """Its value at ``scales``; its derivative is added to ``gradient``."""
        own = scales[self.inputs]
        raised = _raised(own)
        sums = np.maximum(np.einsum("goi,gi->go", self.magnitude, raised), _TINY)
        steps = self.effect * sums ** (2 / ORDER)
        received = (self.power / own**2).sum(axis=1)
        weight = _ROUNDING / _WEIGHT_CODES**2
        by_steps = np.einsum("go,goi->gi", steps / sums, self.magnitude) * raised
        slope = 2 * by_steps * received[:, None]
        slope -= 2 * steps.sum(axis=1)[:, None] * self.power / own**2
        np.add.at(gradient, self.inputs, weight * slope)
        return float(weight * (steps.sum(axis=1) * received).sum())


@dataclass(frozen=True)
class TensorWeightNoise:
    """The noise of a layer with one weight scale, in which outputs of small weights lose most.

    Attributes:
        inputs: int [G, I].
        outputs: int [G, O]: classes of the output channels.
        magnitude: Largest weight of an output and input channel, to the power ``ORDER``;
            float64 [G, O, I].
        power: Mean square of each input channel times the kernel's taps, float64 [G, I].
        effect: What an output's noise weighs, divided by the weighted power of the outputs;
            float64 [G, O].
    """

    inputs: np.ndarray
    outputs: np.ndarray
    magnitude: np.ndarray
    power: np.ndarray
    effect: np.ndarray

    def add(self, scales: np.ndarray, gradient: np.ndarray) -> float:
        """Its value at ``scales``; its derivative is added to ``gradient``."""
        own, written = scales[self.inputs], scales[self.outputs]
        parts = self.magnitude * (own**ORDER)[:, None, :] / (written**ORDER)[:, :, None]
        total = max(float(parts.sum()), _TINY)
        step = total ** (2 / ORDER)
        lost = self.effect * written**2
        received = self.power / own**2
        by_group = received.sum(axis=1)
        noise = float((lost.sum(axis=1) * by_group).sum())
        weight = _ROUNDING / _WEIGHT_CODES**2
        share = parts * (2 * step / total * noise)
        np.add.at(
            gradient,
            self.inputs,
            weight * (share.sum(axis=1) - 2 * step * lost.sum(axis=1)[:, None] * received),
        )
        np.add.at(
            gradient,
            self.outputs,
            weight * (2 * step * lost * by_group[:, None] - share.sum(axis=2)),
        )
        return float(weight * step * noise)


def _raised(values: np.ndarray) -> np.ndarray:
    """To the power ``ORDER``, by squaring."""
    third = values * values * values
    return np.asarray((third * third) ** 2)


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
        stats: Stats,
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
        self._terms_of, self._activations = self._activation_terms()
        self._layers = list(self._layer_terms(weighted))

    def noise(self, scales: np.ndarray) -> float:
        """The predicted noise-to-signal ratios, summed."""
        ignored = np.zeros_like(scales)
        return sum(term.add(scales / self.even, ignored) for term in self.terms)

    @property
    def terms(self) -> list[Term]:
        """The noise of every tensor that factors can change."""
        return [*self._layers] if self._activations is None else [self._activations, *self._layers]

    def weigh(self, measured: Measured, scales: np.ndarray) -> None:
        """Let each term weigh what was measured at ``scales``, in place of its prediction."""
        ignored, units = np.zeros_like(scales), scales / self.even
        if self._activations is not None:
            aims = np.array([measured.activations[group] for group in self._terms_of])
            predicted = np.maximum(self._activations.each(units), np.finfo(float).tiny)
            self._activations = self._activations.weighed(aims / predicted)
        total = sum(term.add(units, ignored) for term in self._layers)
        factor = measured.weights / max(total, np.finfo(float).tiny)
        self._layers = [replace(term, effect=term.effect * factor) for term in self._layers]

    def ends(self, scales: np.ndarray) -> dict[str, Range]:
        """Range of every sharing group, its channels divided by ``scales``."""
        ranges = {}
        for group, names in self.groups.items():
            parts = [(self._stats[n], scales[self._ids(n)]) for n in names]
            low = max(float((stats.low / own).max()) for stats, own in parts)
            high = max(float((stats.high / own).max()) for stats, own in parts)
            ranges[group] = hull([Range(-low, high)])
        return ranges

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
                spans = np.maximum(ends[alive], SMALLEST * ends.max())
                members.append((self._ids(name)[alive], np.log(spans)))
        logs = np.zeros(count)
        ids = np.concatenate([np.zeros(0, np.intp), *(classes for classes, _ in members)])
        sizes = np.bincount(ids, minlength=count)
        for turn in range(FITTING_TURNS):
            rest = [
                ranges - (ranges - logs[classes]).mean() * (turn > 0) for classes, ranges in members
            ]
            sums = np.bincount(ids, np.concatenate([np.zeros(0), *rest]), minlength=count)
            logs = sums / np.maximum(sizes, 1)
        return np.exp(logs), sizes > 0

    def _even_silent(self, nodes: Iterable[ir.Node]) -> None:
        """Scale the weights that read channels without values to the median of the layer's others.

        They share a scale with the others, to which large ones would leave few codes.
        """
        factors = np.full(self.classes.count, np.inf)
        for node in nodes:
            if rule_of(node).role is not Role.WEIGHTED:
                continue
            weights = grouped_weights(node)
            groups, _, inputs, _ = weights.shape
            ids = self.classes.of(first_input(node), groups * inputs)
            largest = np.abs(weights).max(axis=(1, 3)).reshape(-1) * self.even[ids]
            silent = (ids != FIXED) & ~self.free[ids] & (largest > 0)
            active = largest[(ids == FIXED) | self.free[ids]]
            if inputs > 1 and silent.any() and active.any():
                np.minimum.at(factors, ids[silent], np.median(active) / largest[silent])
        self.even *= np.where(np.isfinite(factors) & (factors > 0), factors, 1.0)

    def _activation_terms(self) -> tuple[list[str], ActivationNoise | None]:
        """The sharing groups that factors can change, and their noise; None where there are none.

        Their channels lie one after the other.
        """
        terms = {}
        for group, names in self.groups.items():
            ids = np.concatenate([self._ids(name) for name in names])
            if not np.any(ids != FIXED):
                continue
            stats = [self._stats[name] for name in names]
            unit = self.even[ids]
            gains = [self._gain(self._values[name], len(self._ids(name))) for name in names]
            gain = np.concatenate(gains) * unit**2
            powers = np.concatenate([channels.power for channels in stats])
            signal = float((powers / unit**2).mean())
            if signal > 0 and gain.sum() > 0:
                high = np.concatenate([channels.high for channels in stats]) / unit
                low = np.concatenate([channels.low for channels in stats]) / unit
                terms[group] = (ids, high, low, gain / gain.sum() / signal)
        if not terms:
            return [], None
        classes, high, low, effect = map(np.concatenate, zip(*terms.values(), strict=True))
        ends = np.cumsum([len(ids) for ids, *_ in terms.values()])
        starts = np.append(0, ends[:-1])
        return list(terms), ActivationNoise(classes, high, low, effect, starts)

    def _layer_terms(
        self, nodes: Iterable[ir.Node]
    ) -> Iterator[ChannelWeightNoise | TensorWeightNoise]:
        for node in nodes:
            rule = self._plan.nodes[str(node.name)]
            if rule.role is not Role.WEIGHTED:
                continue
            weights = grouped_weights(node)
            groups, outputs, inputs, taps = weights.shape
            read = self.classes.of(first_input(node), groups * inputs).reshape(groups, inputs)
            written = self.classes.of(node.outputs[0]).reshape(groups, outputs)
            gains = self._gain(node.outputs[0], groups * outputs).reshape(groups, outputs)
            target = power_of(fused_output(node, rule), self._stats).reshape(groups, outputs)
            signal = float((gains * target).sum())
            depthwise_alone = self.per_channel and inputs == 1
            if depthwise_alone or signal <= 0 or not (read.any() or written.any()):
                continue
            even_in, even_out = self.even[read], self.even[written]
            largest = np.abs(weights).max(axis=3) * even_in[:, None, :] / even_out[:, :, None]
            effect = gains * even_out**2 / signal
            power = (
                power_of(first_input(node), self._stats).reshape(groups, inputs) * taps / even_in**2
            )
            top = max(float(largest.max()), SMALLEST)
            magnitude, effect = (largest / top) ** ORDER, effect * top**2
            if self.per_channel:
                yield ChannelWeightNoise(read, magnitude, power, effect)
            else:
                yield TensorWeightNoise(read, written, magnitude, power, effect)

    def _ids(self, name: str) -> np.ndarray:
        """Classes of a measured tensor's channels."""
        return self.classes.of(self._values[name], len(self._stats[name].high))

    def _gain(self, value: ir.Value, channels: int) -> np.ndarray:
        gain = self._gains.get(name_of(value), np.ones(channels))
        return gain if len(gain) == channels else np.ones(channels)
