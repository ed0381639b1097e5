"""Rescales channels so that int8 serves them all: ghost-aware cross-layer equalization.

A tensor's channels share one int8 step, so a channel of small values keeps few of the 256 codes:
in a concat of a ghost module's halves, one half can take them all. Every class of channels (see
``channels``) is divided by a factor of its own, made good in the weights around it, so that the
float function stays what it was. The factors are those of the least predicted noise, over
activations and weights together (``noise``), found by gradient descent: once with each tensor's
noise predicted, then with what each was measured to do to the output there. They start where every
channel's range is the same, and the prediction knows nothing else of how channels were scaled
before: a network whose channels were rescaled arbitrarily gets the same result.

Follows the idea of Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction" (2019), there for pairs of layers and weights alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ghostedge_quantize.codes import affine, channel_scales
from ghostedge_quantize.equalization.channels import ChannelClasses, per_channel_constant
from ghostedge_quantize.equalization.gains import channel_stats, first_input, grouped_weights
from ghostedge_quantize.equalization.noise import Measured, Problem
from ghostedge_quantize.equalization.output_noise import OutputNoise
from ghostedge_quantize.equalization.part_scales import insert_part_scales
from ghostedge_quantize.graph.canonical import add_initializer, canonical_ir, constant
from ghostedge_quantize.graph.ops import Role, output_first, rule_of
from ghostedge_quantize.graph.plan import make_plan
from ghostedge_quantize.parallel import Progress, untold
from ghostedge_quantize.ranges.calibrate import Observer, spread

STEPS = 160
LEARNING_RATE = 0.16
"""Of the factors' logarithms. Twice the steps or the rate changes the noise by less than 2 %."""
STATS_PIXELS, STATS_IMAGES = 2**21, 64
"""Channels are measured on images of so many pixels together, and on at least so many images."""
NOISE_PIXELS, NOISE_IMAGES = 2**18, 8
"""Each tensor's own noise takes a run for every tensor, so it is measured on fewer."""


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
    model: onnx.ModelProto,
    batches: Iterable[np.ndarray],
    *,
    per_channel: bool = True,
    progress: Progress = untold,
) -> Equalized:
    """Rescale a float graph's channels for int8.

    Args:
        model: The float deploy graph, one input, float32 NCHW. It is not changed.
        batches: Calibration images, float32 [N, C, H, W], normalised.
        per_channel: Whether weights will have a scale for every output channel, or one per tensor.
        progress: Told of each step.

    Returns:
        The graph unchanged where the prediction finds no gain.

    Raises:
        InputError: As ``calibrate``.
    """
    progress("channels", 0.0)
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
    progress("factors of channels", 0.3)
    predicted = _descend(problem, np.zeros(classes.count))
    progress("noise of tensors", 0.45)
    problem.weigh(_measured(scaled, problem, predicted, looked_at), predicted)
    progress("factors of channels", 0.85)
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
        written = classes.of(node.outputs[0])
        if rule_of(node).role is Role.WEIGHTED:
            groups, _, inputs, _ = grouped_weights(node).shape
            read = classes.of(first_input(node), groups * inputs)
            if read.any() or written.any():
                _rescale_layer(graph, node, scales[read], scales[written])
        elif node.name in classes.part_scales:
            factor = np.asarray(1 / scales[written[0]])
            name = f"{node.name}_factor"
            node.replace_input_with(1, add_initializer(graph, name, _float32(factor)))
        elif node.op_type in ("Add", "Sub") and written.any():
            _rescale_constant(graph, node, scales[written])


def _rescale_constant(graph: ir.Graph, node: ir.Node, factors: np.ndarray) -> None:
    operand = per_channel_constant(node)
    if operand is not None:
        index, array = operand
        rank = len(node.outputs[0].shape or ())
        full = (array / factors).reshape(1, -1, *[1] * (rank - 2))
        name = f"{node.name}_equalized_{index}"
        node.replace_input_with(index, add_initializer(graph, name, _float32(full)))


def _rescale_layer(graph: ir.Graph, node: ir.Node, read: np.ndarray, written: np.ndarray) -> None:
    weight, bias = constant(node.inputs[1]), None
    if weight is None:
        raise ValueError(f"{node.name} has computed weights")
    if len(node.inputs) > 2:
        bias = constant(node.inputs[2])
    grouped = grouped_weights(node)
    groups = len(grouped)
    scaled = grouped * read.reshape(groups, 1, -1, 1) / written.reshape(groups, -1, 1, 1)
    scaled = output_first(node.op_type, scaled.reshape(output_first(node.op_type, weight).shape))
    name = f"{node.name}_weight_equalized"
    node.replace_input_with(1, add_initializer(graph, name, _float32(scaled)))
    if bias is not None:
        name = f"{node.name}_bias_equalized"
        node.replace_input_with(2, add_initializer(graph, name, _float32(bias / written)))


def _descend(problem: Problem, start: np.ndarray) -> np.ndarray:
    """The factors of the least noise, one per class, by Adam on their logarithms.

    ``start`` holds the logarithms of the first try, beside the factors that even the ranges.
    """
    logs = start.copy()
    first, second = np.zeros_like(logs), np.zeros_like(logs)
    for step in range(1, STEPS + 1):
        gradient = np.zeros_like(logs)
        scales = np.exp(logs)
        noise = sum(term.add(scales, gradient) for term in problem.terms)
        # Of the noise's logarithm: large gradients of a bad start would stay in Adam's means.
        gradient = np.where(problem.free, gradient, 0.0) / max(noise, np.finfo(float).tiny)
        first = 0.9 * first + 0.1 * gradient
        second = 0.99 * second + 0.01 * gradient**2
        rate = LEARNING_RATE * (1 - 0.95 * step / STEPS)
        size = np.sqrt(second / (1 - 0.99**step)) + np.finfo(float).tiny
        logs -= rate * (first / (1 - 0.9**step)) / size
    return np.asarray(problem.even * np.exp(logs))


def _float32(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float32)
