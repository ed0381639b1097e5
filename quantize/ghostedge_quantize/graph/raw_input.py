"""A raw image as the graph's input: uint8 NHWC pixels, normalised inside the int8 graph.

``(pixel/255 - mean) / std`` is split where each part costs least and loses nothing:

- ``pixel/255`` is the pixels' own code: uint8 (scale 1/255, zero point 0) and int8 (1/255, -128)
  hold the same values exactly.
- ``- mean`` is an int8 Add whose output range is known exactly. Zero is now the mean pixel, which
  is what the float network pads with, so the first convolution's border is right too.
- ``/ std`` goes into the first convolution's weights, per input channel. Where something else
  reads the image too (a max pool beside the first convolution), it goes into the two codes above
  if it is the same for all channels, and else into an int8 Mul before that reader.

The shift constant is repeated along the width, [1, C, 1, W]: in NHWC its inner run is then W*C
values long, which XNNPACK's broadcasting add wants (3 at a time would be slow).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from ghostedge_quantize.codes import Range
from ghostedge_quantize.graph.canonical import add_initializer, constant, int_attribute
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Preprocessing

IMAGE = "image"
SHIFT_STEPS = 127 * 16 + 1
"""Int8 steps tried for the shift constant: whole fractions of the largest mean, and 15 between."""


def take_raw_image(graph: ir.Graph, preprocessing: Preprocessing) -> dict[str, Range]:
    """Replace the normalised float NCHW input by raw uint8 NHWC pixels (in place, still float).

    Args:
        graph: A canonical graph with one input.
        preprocessing: Mean and std, on the [0, 1] scale.

    Returns:
        The new activations' ranges, known without measuring.

    Raises:
        InputError: The input is not one image of ``preprocessing``'s channels.
    """
    (old,) = _single_input(graph)
    batch, channels, height, width = _static_shape(old)
    if channels != len(preprocessing.mean):
        raise InputError(
            f"it has {channels} channels, the preprocessing has {len(preprocessing.mean)}",
            where=old.name,
        )
    mean, std = (
        np.asarray(values, np.float32) for values in (preprocessing.mean, preprocessing.std)
    )
    image = ir.Value(
        name=IMAGE,
        shape=ir.Shape([batch, height, width, channels]),
        type=ir.TensorType(ir.DataType.UINT8),
    )
    readers = list(old.uses())
    others = [(node, index) for node, index in readers if not _takes_factors(node, index)]
    common = float(std[0]) if others and (std == std[0]).all() else 1.0
    mean, std = mean / np.float32(common), std / np.float32(common)
    nodes = _shift_nodes(graph, image, old, _along_width(-mean, width), 1 / common)
    shifted = nodes[-1].outputs[0]
    ranges = {
        f"{IMAGE}_unit": Range(0.0, 1 / common),
        f"{IMAGE}_minus_mean": shift_range(mean),
        f"{IMAGE}_shifted": _including_zero(-mean, 1 / common - mean),
    }
    old.replace_all_uses_with(shifted)
    if (std != 1).any():
        for node in {node for node, index in readers if _takes_factors(node, index)}:
            _divide_by_std(graph, node, std)
        if others:
            nodes.append(_scale_node(graph, shifted, _along_width(1 / std, width)))
            ranges[f"{IMAGE}_normalised"] = _including_zero(-mean / std, (1 - mean) / std)
            for node, index in others:
                node.replace_input_with(index, nodes[-1].outputs[0])
    graph.insert_before(graph[0], nodes)
    graph.inputs[0] = image
    return ranges


def _along_width(values: np.ndarray, width: int) -> np.ndarray:
    """[C] as [1, C, 1, W]."""
    return np.broadcast_to(values[None, :, None, None], (1, len(values), 1, width))


def _including_zero(low: np.ndarray, high: np.ndarray) -> Range:
    return Range(min(float(low.min()), 0.0), max(float(high.max()), 0.0))


def float_shift(graph: ir.Graph, keep_float: Collection[str]) -> list[str]:
    """The node that subtracts the mean, where every layer that reads it is to stay float.

    Float then starts at the pixels, which their float code holds exactly.
    """
    return [
        str(node.name)
        for node in graph
        if node.name == f"{IMAGE}_shift"
        and all(use.node.name in keep_float for use in node.outputs[0].uses())
    ]


def shift_range(mean: np.ndarray) -> Range:
    """The range whose int8 code holds every ``-mean`` best.

    An error here shifts a whole channel, and any step between mean/128 and mean/255 will do: the
    one that hits all channels best is some ten times nearer than the finest.
    """
    if mean.min() <= 0:
        return Range(min(-float(mean.max()), 0.0), max(-float(mean.min()), 0.0))
    steps = float(mean.max()) / np.linspace(128, 255, SHIFT_STEPS)
    codes = np.rint(mean / steps[:, None])
    step = steps[np.abs(codes * steps[:, None] - mean).max(axis=1).argmin()]
    return Range(-255 * float(step), 0.0)


def _single_input(graph: ir.Graph) -> list[ir.Value]:
    inputs = [value for value in graph.inputs if not value.is_initializer()]
    if len(inputs) != 1:
        raise InputError(
            f"the model has {len(inputs)} inputs, raw images need exactly one",
            remedy="quantize it without preprocessing",
        )
    return inputs


def _static_shape(value: ir.Value) -> tuple[int, int, int, int]:
    shape = [] if value.shape is None else [size for size in value.shape if isinstance(size, int)]
    if len(shape) != 4 or value.shape is None or len(value.shape) != 4:
        raise InputError(
            f"its shape is {value.shape}, an image input has four fixed sizes (NCHW)",
            where=value.name,
        )
    batch, channels, height, width = shape
    return batch, channels, height, width


def _shift_nodes(
    graph: ir.Graph, image: ir.Value, old: ir.Value, shift: np.ndarray, white: float
) -> list[ir.Node]:
    """``Add(DequantizeLinear(Transpose(image)), shift)`` with values named after the image.

    ``white`` is what the pixel 255 stands for.
    """

    def value(suffix: str, dtype: ir.DataType) -> ir.Value:
        return ir.Value(name=f"{IMAGE}_{suffix}", shape=old.shape, type=ir.TensorType(dtype))

    scale = add_initializer(graph, f"{IMAGE}_scale", np.float32(white / 255))
    zero = add_initializer(graph, f"{IMAGE}_zero_point", np.uint8(0))
    nchw = value("nchw", ir.DataType.UINT8)
    unit = value("unit", ir.DataType.FLOAT)
    shifted = value("shifted", ir.DataType.FLOAT)
    minus_mean = add_initializer(graph, f"{IMAGE}_minus_mean", shift)
    return [
        ir.node(
            "Transpose", [image], {"perm": [0, 3, 1, 2]}, outputs=[nchw], name=f"{IMAGE}_to_nchw"
        ),
        ir.node("DequantizeLinear", [nchw, scale, zero], outputs=[unit], name=f"{IMAGE}_to_unit"),
        ir.node("Add", [unit, minus_mean], outputs=[shifted], name=f"{IMAGE}_shift"),
    ]


def _scale_node(graph: ir.Graph, shifted: ir.Value, factors: np.ndarray) -> ir.Node:
    """``Mul(shifted, factors)``: the normalised image, for readers that cannot divide."""
    normalised = ir.Value(
        name=f"{IMAGE}_normalised", shape=shifted.shape, type=ir.TensorType(ir.DataType.FLOAT)
    )
    over_std = add_initializer(graph, f"{IMAGE}_over_std", factors)
    return ir.node("Mul", [shifted, over_std], outputs=[normalised], name=f"{IMAGE}_normalise")


def _takes_factors(node: ir.Node, index: int) -> bool:
    """Whether a reader of the image has weights that a factor per channel can go into."""
    return node.op_type == "Conv" and index == 0 and constant(node.inputs[1]) is not None


def _divide_by_std(graph: ir.Graph, node: ir.Node, std: np.ndarray) -> None:
    """Scale a convolution's weights [O, C/groups, kH, kW] by 1/std of their input channel."""
    weight = constant(node.inputs[1])
    if weight is None:
        raise ValueError(f"{node.name} has computed weights")
    outputs, per_group = weight.shape[:2]
    groups = int_attribute(node, "group", 1)
    first = np.arange(outputs) // (outputs // groups) * per_group
    factors = 1 / std[first[:, None] + np.arange(per_group)]
    scaled = weight * factors.reshape(outputs, per_group, *[1] * (weight.ndim - 2))
    name = f"{node.name}_weight_over_std"
    node.replace_input_with(1, add_initializer(graph, name, scaled.astype(np.float32)))


def raw_pixels(batch: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """The uint8 NHWC pixels that were normalised to a float32 NCHW batch."""
    nhwc = batch.transpose(0, 2, 3, 1)
    mean, std = (
        np.asarray(values, np.float32) for values in (preprocessing.mean, preprocessing.std)
    )
    pixels = np.rint((nhwc * std + mean) * 255)
    return np.ascontiguousarray(np.clip(pixels, 0, 255).astype(np.uint8))
