"""Permutations of axes, and the ops that a transpose may move behind.

A permutation is ONNX's ``perm``: axis ``i`` of the result is axis ``perm[i]`` of the source.
``op(transpose(x, p)) = transpose(op'(x), p')``: for each such op the table gives how its axes, pads
and constants are turned for ``op'`` and what ``p'`` is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    Array,
    add_constant,
    constant,
    input_at,
    int_attr,
    static_shape,
)

Perm = tuple[int, ...]


def perm_of(transpose: ir.Node) -> Perm | None:
    """The permutation of a Transpose; None where it is not stated and the rank is unknown."""
    stated = transpose.attributes.get("perm")
    if stated is not None:
        return tuple(int(axis) for axis in stated.as_ints())
    shape = static_shape(transpose.inputs[0])
    return None if shape is None else tuple(reversed(range(len(shape))))


def inverse(perm: Perm) -> Perm:
    """The permutation that undoes this one."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def compose(first: Perm, second: Perm) -> Perm:
    """One permutation for ``second`` after ``first``."""
    return tuple(first[axis] for axis in second)


def is_identity(perm: Sequence[int]) -> bool:
    """Whether every axis stays."""
    return list(perm) == list(range(len(perm)))


def moves_nothing(shape: Sequence[int], perm: Perm) -> bool:
    """Whether the elements stay in order: only axes of size 1 change places with others."""
    order = [axis for axis in perm if shape[axis] != 1]
    return order == sorted(order)


def ranks(axes: Sequence[int]) -> Perm:
    """The order of some axes among themselves, as a permutation: (3, 0, 2) → (2, 0, 1)."""
    ordered = sorted(axes)
    return tuple(ordered.index(axis) for axis in axes)


@dataclass(frozen=True)
class Turned:
    """A node that reads what was transposed before, not yet in the graph.

    ``perms`` are what its outputs still have to be transposed by.
    """

    node: ir.Node
    perms: tuple[Perm, ...]


@dataclass(frozen=True)
class _Move:
    """A node about to be turned: ``data`` are its inputs as they were before the transpose."""

    model: ir.Model
    node: ir.Node
    perm: Perm
    data: tuple[ir.Value, ...]

    def copy(self, inputs: Sequence[ir.Value | None], **attributes: ir.Attr) -> ir.Node:
        """The same op on other inputs, some of its attributes replaced."""
        attributes_kept = {
            name: attr for name, attr in self.node.attributes.items() if name not in attributes
        }
        return ir.Node(
            "",
            self.node.op_type,
            list(inputs),
            [*attributes_kept.values(), *attributes.values()],
            num_outputs=len(self.node.outputs),
            name=self.node.name,
        )

    def same(self, node: ir.Node) -> Turned:
        """The turned node, its outputs transposed as its inputs were."""
        return Turned(node, (self.perm,) * len(node.outputs))

    def integers(self, position: int, values: Sequence[int]) -> ir.Value:
        """A new int64 constant in place of the input at a position."""
        return add_constant(
            self.model, f"{self.node.name}:{position}", np.asarray(values, np.int64)
        )


_Turn = Callable[[_Move], "Turned | None"]


def turned(model: ir.Model, node: ir.Node) -> Turned | None:
    """The node with the transposes before it taken to behind it, or None where they cannot go."""
    turn = TABLE.get(node.op_type)
    if turn is None or node.domain not in ("", "ai.onnx"):
        return None
    wide = node.op_type in _ALL_INPUTS
    read = [value for value in (node.inputs if wide else node.inputs[:1]) if value is not None]
    perms = {perm for value in read if (perm := _transposed_by(value)) is not None}
    if len(perms) != 1:
        return None
    perm = perms.pop()
    if is_identity(perm) or not all(_can_untranspose(value, perm) for value in read):
        return None
    if wide and not _same_rank(read, perm):
        return None
    data = tuple(_untransposed(model, value, perm) for value in read)
    return turn(_Move(model, node, perm, data))


def _transposed_by(value: ir.Value) -> Perm | None:
    above = value.producer()
    return perm_of(above) if above is not None and above.op_type == "Transpose" else None


def _can_untranspose(value: ir.Value, perm: Perm) -> bool:
    """Whether the value before a transpose by ``perm`` costs nothing to have."""
    if _transposed_by(value) == perm or constant(value) is not None:
        return True
    shape = static_shape(value)
    return shape is not None and len(shape) == len(perm) and moves_nothing(shape, inverse(perm))


def _same_rank(values: Sequence[ir.Value], perm: Perm) -> bool:
    """Broadcasting from lower ranks is lined up from the last axis, so only constants may do it."""
    for value in values:
        shape = static_shape(value)
        if shape is None or len(shape) > len(perm):
            return False
        if len(shape) < len(perm) and constant(value) is None:
            return False
    return True


def _untransposed(model: ir.Model, value: ir.Value, perm: Perm) -> ir.Value:
    above, array = value.producer(), constant(value)
    if above is not None and above.op_type == "Transpose" and above.inputs[0] is not None:
        return above.inputs[0]
    if array is not None:
        full: Array = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
        if full.size == 1:
            return value
        return add_constant(model, str(value.name), full.transpose(inverse(perm)))
    shape = static_shape(value)
    if shape is None:  # refused before
        raise ValueError(f"{value.name} has no static shape")
    target = [shape[axis] for axis in inverse(perm)]
    sizes = add_constant(model, f"{value.name}/turned:1", np.asarray(target, np.int64))
    node = ir.Node("", "Reshape", [value, sizes], name=f"{value.name}/turned")
    node.outputs[0].name, node.outputs[0].type = f"{value.name}/turned", value.type
    node.outputs[0].shape = ir.Shape(target)
    producer = value.producer()
    if producer is not None:
        model.graph.insert_after(producer, node)
    else:
        model.graph.insert_before(model.graph[0], node)
    return node.outputs[0]


def _elementwise(move: _Move) -> Turned:
    """First input data, the others, if any, scalars."""
    return move.same(move.copy([move.data[0], *move.node.inputs[1:]]))


def _broadcast(move: _Move) -> Turned:
    return move.same(move.copy(move.data))


def _along_axis(default: int) -> _Turn:
    def turn(move: _Move) -> Turned:
        axis = move.perm[int_attr(move.node, "axis", default)]
        inputs = move.data if move.node.op_type == "Concat" else (*move.data, *move.node.inputs[1:])
        return move.same(move.copy(inputs, axis=ir.AttrInt64("axis", axis)))

    return turn


def _reduce(move: _Move) -> Turned | None:
    """Axes as an input (opset 18, or 13 for sums) or an attribute before."""
    attribute = move.node.attributes.get("axes")
    axes_input = constant(input_at(move.node, 1))
    if attribute is not None:
        stated = list(attribute.as_ints())
    elif axes_input is not None:
        stated = np.ravel(axes_input).tolist()
    else:
        return None
    rank = len(move.perm)
    gone = {int(axis) % rank for axis in stated}
    axes = sorted(move.perm[axis] for axis in gone)
    if attribute is not None:
        node = move.copy(move.data, axes=ir.AttrInt64s("axes", axes))
    else:
        node = move.copy([*move.data, move.integers(1, axes)])
    if int_attr(move.node, "keepdims", 1):
        return move.same(node)
    return Turned(node, (ranks([a for i, a in enumerate(move.perm) if i not in gone]),))


def _squeeze(move: _Move) -> Turned | None:
    axes_input = constant(input_at(move.node, 1))
    if axes_input is None:
        return None
    gone = {int(axis) % len(move.perm) for axis in np.ravel(axes_input)}
    node = move.copy([*move.data, move.integers(1, sorted(move.perm[axis] for axis in gone))])
    return Turned(node, (ranks([a for i, a in enumerate(move.perm) if i not in gone]),))


def _pad(move: _Move) -> Turned | None:
    pads, axes = constant(input_at(move.node, 1)), constant(input_at(move.node, 3))
    if pads is None or (input_at(move.node, 3) is not None and axes is None):
        return None
    rank = len(move.perm)
    order = range(rank) if axes is None else [int(axis) % rank for axis in axes]
    amounts = np.zeros((2, rank), np.int64)
    for position, axis in enumerate(order):
        amounts[:, move.perm[axis]] = pads.reshape(2, -1)[:, position]
    fill = move.node.inputs[2:3]
    return move.same(move.copy([*move.data, move.integers(1, amounts.reshape(-1).tolist()), *fill]))


def _gather(move: _Move) -> Turned | None:
    """Picks along an axis that stays one."""
    picks = constant(input_at(move.node, 1))
    return None if picks is None or picks.ndim != 1 else _along_axis(0)(move)


def _slice(move: _Move) -> Turned | None:
    starts, axes = constant(input_at(move.node, 1)), constant(input_at(move.node, 3))
    if starts is None or (input_at(move.node, 3) is not None and axes is None):
        return None
    order = range(starts.size) if axes is None else np.ravel(axes).tolist()
    mapped = move.integers(3, [move.perm[int(axis) % len(move.perm)] for axis in order])
    return move.same(
        move.copy([*move.data, *move.node.inputs[1:3], mapped, *move.node.inputs[4:5]])
    )


def _resize(move: _Move) -> Turned | None:
    """Scales or sizes for every axis; a region of interest is only read when cropping."""
    if "axes" in move.node.attributes or input_at(move.node, 1) is not None:
        return None
    inputs: list[ir.Value | None] = [*move.data, None]
    for position in (2, 3):
        value, array = input_at(move.node, position), constant(input_at(move.node, position))
        if value is None:
            inputs.append(None)
        elif array is None or array.size not in (0, len(move.perm)):
            return None
        else:
            back = array[list(inverse(move.perm))] if array.size else array
            inputs.append(add_constant(move.model, f"{move.node.name}:{position}", back))
    return move.same(move.copy(inputs))


_UNARY = (
    "Abs",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tanh",
    "ThresholdedRelu",
)
_BROADCAST = (
    "Add",
    "And",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Mul",
    "Or",
    "PRelu",
    "Pow",
    "Sub",
    "Where",
    "Xor",
)
_REDUCTIONS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
)
_ALL_INPUTS = frozenset((*_BROADCAST, "Concat"))

TABLE: dict[str, _Turn] = {
    **dict.fromkeys(_UNARY, _elementwise),
    **dict.fromkeys(_BROADCAST, _broadcast),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "Concat": _along_axis(0),
    "Softmax": _along_axis(-1),
    "LogSoftmax": _along_axis(-1),
    "Split": _along_axis(0),
    "Squeeze": _squeeze,
    "Pad": _pad,
    "Gather": _gather,
    "Slice": _slice,
    "Resize": _resize,
}
