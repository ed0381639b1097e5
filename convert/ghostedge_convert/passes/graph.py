"""The questions and edits of a graph that passes share, written for onnx-ir."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with

Array = npt.NDArray[Any]

CONVOLUTIONS = ("Conv", "ConvTranspose")
ELEMENTWISE = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Elu")
RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def nodes_of(model: ir.Model, *op_types: str) -> list[ir.Node]:
    """The main graph's nodes of these standard ops, as a list that edits do not disturb."""
    return [n for n in model.graph if n.op_type in op_types and n.domain in ("", "ai.onnx")]


def constant(value: ir.Value | None) -> Array | None:
    """A value's array where it is an initializer that the caller cannot override, else None."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """An input that may be absent, be it left empty or off the end."""
    return node.inputs[index] if index < len(node.inputs) else None


def int_attr(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else int(attribute.as_int())


def float_attr(node: ir.Node, name: str, default: float) -> float:
    """A float attribute or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else float(attribute.as_float())


def ints_attr(node: ir.Node, name: str, default: list[int]) -> list[int]:
    """An attribute of integers or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else [int(number) for number in attribute.as_ints()]


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape where every size is known, else None."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(int(size) for size in value.shape.numpy())


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that reads a value, once, where it is no graph output; else None."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def set_constant(
    model: ir.Model, node: ir.Node, index: int, array: Array, *, name: str | None = None
) -> None:
    """Make an input of a node a new constant; other readers of the old one keep it.

    The new constant takes the old one's name where this node was its only reader, else ``name``,
    else a name after the node.
    """
    old = input_at(node, index)
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    if old is not None and old.is_initializer() and len(old.uses()) == 1:
        name = old.name
        node.replace_input_with(index, None)
        del model.graph.initializers[str(name)]
    elif name is None or name in model.graph.initializers:
        name = f"{node.name}:{index}"
    value = add_constant(model, str(name), array)
    node.replace_input_with(index, value)


def add_constant(model: ir.Model, name: str, array: Array) -> ir.Value:
    """Register a new initializer; a name that is taken gets a number."""
    name = free_name(model, name)
    tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape))
    value.const_value = tensor
    model.graph.register_initializer(value)
    return value


def output_channels(conv: ir.Node, weight: Array) -> int:
    """Channels that a convolution of this weight makes.

    A transposed one has its weight as [in, out / groups, height, width].
    """
    transposed = conv.op_type == "ConvTranspose"
    return int(weight.shape[1] * int_attr(conv, "group", 1) if transposed else weight.shape[0])


def over_weight(conv: ir.Node, weight: Array, values: Array) -> Array:
    """Values of the output channels, shaped to be multiplied with a convolution's weight."""
    ones = [1] * (weight.ndim - 2)
    if conv.op_type != "ConvTranspose":
        return values.reshape(-1, 1, *ones)
    groups = int_attr(conv, "group", 1)
    rows: Array = np.repeat(values.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    return rows.reshape(*rows.shape, *ones)


def free_name(model: ir.Model, name: str) -> str:
    """The name where no initializer has it, else with the first number that makes it new."""
    free, number = name, 1
    while free in model.graph.initializers:
        number += 1
        free = f"{name}_{number}"
    return free


def set_bias(model: ir.Model, node: ir.Node, bias: Array) -> None:
    """Give a conv a bias, in place of the one it may have; a new one is named like its weight."""
    set_constant(model, node, 2, bias, name=bias_name(node))


def bias_name(node: ir.Node) -> str:
    """What torch calls the bias of a conv: beside its weight."""
    weight = node.inputs[1]
    stem = (weight.name if weight is not None else None) or f"{node.name}.weight"
    return f"{stem.removesuffix('.weight')}.bias"


def bypass(model: ir.Model, node: ir.Node, replacement: ir.Value) -> None:
    """Take out a single-output node: whatever read its output reads ``replacement``.

    A graph output keeps its name; where the replacement has one of its own to keep, as an input or
    another output, the node stays as an Identity between them.
    """
    output = node.outputs[0]
    name, was_output = output.name, output.is_graph_output()
    inputs = list(node.inputs)
    if was_output and is_interface(replacement):
        node.op_type = "Identity"
        node.attributes.clear()
        node.resize_inputs(1)
        node.replace_input_with(0, replacement)
        remove_unused(model, inputs)
        return
    replace_all_uses_with(output, replacement, replace_graph_outputs=True)
    model.graph.remove(node, safe=True)
    remove_unused(model, inputs)
    if was_output:
        replacement.name = name


def is_interface(value: ir.Value) -> bool:
    """Whether a value cannot take a graph output's name."""
    return value.is_graph_input() or value.is_graph_output() or value.is_initializer()


def insert_before(
    model: ir.Model, node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], name: str
) -> ir.Node:
    """Add a node that computes a value of the same type and shape as ``node``'s output."""
    new = ir.Node("", op_type, inputs, name=name)
    new.outputs[0].name = name
    new.outputs[0].type = node.outputs[0].type
    new.outputs[0].shape = node.outputs[0].shape
    model.graph.insert_before(node, new)
    return new


def write_reshape(model: ir.Model, node: ir.Node, source: ir.Value, shape: tuple[int, ...]) -> None:
    """Put a Reshape of another tensor in the place of a single-output node."""
    name = str(node.name).replace(node.op_type, "Reshape")
    sizes = add_constant(model, f"{name}:1", np.asarray(shape, np.int64))
    reshape = insert_before(model, node, "Reshape", [source, sizes], name)
    reshape.outputs[0].shape = ir.Shape(shape)
    bypass(model, node, reshape.outputs[0])


def per_channel(array: Array, channels: int, rank: int) -> Array | None:
    """A constant as ``[channels]`` where broadcasting varies it along axis 1 alone, else None."""
    if array.ndim > rank:
        return None
    full: Array = array.reshape((1,) * (rank - array.ndim) + array.shape)
    if any(size != 1 for axis, size in enumerate(full.shape) if axis != 1):
        return None
    if full.shape[1] not in (1, channels):
        return None
    return np.broadcast_to(full.reshape(-1), (channels,))


def remove_unused(model: ir.Model, values: Iterable[ir.Value | None]) -> None:
    """Drop those of the values that are initializers nothing reads any more."""
    for value in values:
        if value is not None and value.is_initializer() and not value.uses():
            model.graph.initializers.pop(str(value.name), None)
