"""Normalizations: by stored statistics, or by those of the values themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.ops.elementwise import first
from ghostedge_convert.lower.program import Array


def batch_norm(e: Emitter, node: Node) -> None:
    """A batch norm that no convolution absorbed: one multiply, one add."""
    if node.attributes.get("training_mode", 0) or len(node.outputs) > 1:
        node.refuse("training mode", "export the model in evaluation mode")
    parameters = [e.graph.constant(node, position) for position in range(1, 5)]
    scale, shift, mean, variance = (
        p.astype(np.float64)
        if p is not None
        else node.refuse("its parameters are computed", "make them constants")
        for p in parameters
    )
    factor = scale / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    shift = shift - mean * factor
    scaled = e.computed(node, "MUL", first(e, node), _per_channel(e, node, factor))
    e.result(node, "ADD", [scaled, _per_channel(e, node, shift)])


def _per_channel(e: Emitter, node: Node, values: Array) -> int:
    """A constant that has a value for each index of axis 1."""
    order = e.order(node.outputs[0])
    shape = (1, -1) + (1,) * (len(order) - 2)
    return e.constant(values.astype(np.float32).reshape(shape).transpose(order), node.name)


def instance_norm(e: Emitter, node: Node) -> None:
    """InstanceNormalization: each channel of each image by its own mean and deviation."""
    centred, factor = _standardized(e, node, first(e, node), _spatial(e, node))
    _scale_and_shift(e, node, centred, factor)


def layer_norm(e: Emitter, node: Node) -> None:
    """LayerNormalization over the axes from ``axis`` on."""
    if any(node.outputs[1:]):
        node.refuse("its Mean or InvStdDev output", "compute them with ReduceMean")
    order = e.order(node.outputs[0])
    axis = int(node.attributes.get("axis", -1)) % len(order)
    places = [p for p, a in enumerate(order) if a >= axis]
    centred, factor = _standardized(e, node, first(e, node), places)
    y = e.computed(node, "MUL", centred, factor)
    if node.input(2) is None:
        e.result(node, "MUL", [y, e.operand(node, 1, order)])
    else:
        y = e.computed(node, "MUL", y, e.operand(node, 1, order))
        e.result(node, "ADD", [y, e.operand(node, 2, order)])


def group_norm(e: Emitter, node: Node) -> None:
    """GroupNormalization, without moving the image.

    Channels are averaged over space one by one, then those of a group among each other: only the
    averages are arranged by group. Scale and shift have a value for each group (opset 18) or for
    each channel (opset 21).
    """
    groups, places = int(node.attributes["num_groups"]), _spatial(e, node)
    x = first(e, node)
    centred = e.computed(node, "SUB", x, _group_mean(e, node, x, places, groups))
    squares = e.computed(node, "MUL", centred, centred)
    factor = _inverse_deviation(e, node, _group_mean(e, node, squares, places, groups))
    _scale_and_shift(e, node, centred, factor)


def _scale_and_shift(e: Emitter, node: Node, centred: int, factor: int) -> None:
    """The end of a normalization: scale and shift of each channel, where there are any."""
    scale, shift = (_parameter(e, node, position) for position in (1, 2))
    if not np.all(scale == 1):
        factor = e.computed(node, "MUL", factor, _per_channel(e, node, scale))
    if np.any(shift):
        y = e.computed(node, "MUL", centred, factor)
        e.result(node, "ADD", [y, _per_channel(e, node, shift)])
    else:
        e.result(node, "MUL", [centred, factor])


def _parameter(e: Emitter, node: Node, position: int) -> Array:
    """A constant as one value per channel, also where it has one per group of channels."""
    data = e.graph.constant(node, position)
    if data is None:
        node.refuse("its scale or bias is computed", "make them constants")
    return np.repeat(data, e.value(node.outputs[0]).shape[1] // data.size)


def _spatial(e: Emitter, node: Node) -> list[int]:
    """The places of the axes behind the channels."""
    return [place for place, axis in enumerate(e.order(node.outputs[0])) if axis > 1]


def _mean(e: Emitter, node: Node, x: int, places: Sequence[int]) -> int:
    shape = [1 if p in places else size for p, size in enumerate(e.tensor(x).shape)]
    return e.computed(node, "MEAN", x, e.int32(places, "axes"), shape=shape, keepDims=True)


def _group_mean(e: Emitter, node: Node, x: int, places: Sequence[int], groups: int) -> int:
    """The mean of each channel's group, [N, 1, 1, C] or as the axis order has it."""
    means = _mean(e, node, x, places) if places else x
    shape = e.tensor(means).shape
    batch, channels = e.value(node.outputs[0]).shape[:2]
    grouped = e.shaped(means, (batch, groups, channels // groups))
    ones = e.constant(np.ones((1, 1, channels // groups), np.float32), "ones")
    spread = e.computed(node, "MUL", _mean(e, node, grouped, [2]), ones)
    return e.shaped(spread, shape)


def _standardized(e: Emitter, node: Node, x: int, places: Sequence[int]) -> tuple[int, int]:
    """What is left of a tensor without its means, and the inverse of its standard deviations."""
    centred = e.computed(node, "SUB", x, _mean(e, node, x, places))
    variance = _mean(e, node, e.computed(node, "MUL", centred, centred), places)
    return centred, _inverse_deviation(e, node, variance)


def _inverse_deviation(e: Emitter, node: Node, variance: int) -> int:
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    return e.computed(node, "RSQRT", e.computed(node, "ADD", variance, epsilon))
