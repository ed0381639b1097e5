"""Additions and multiplications by constants, one after the other, are one of each.

Frameworks write a batch norm or a rescaling of the input as ``((x - mean) * scale) + shift``. Any
such row of Add, Sub, Mul and Div is ``x * factor + term``, in which form a convolution before it
takes it up. Computed in float64, so that the only rounding is the last one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    Array,
    add_constant,
    bypass,
    constant,
    insert_before,
    nodes_of,
    only_consumer,
    static_shape,
)
from ghostedge_convert.passes.run import PassNote

_OPS = ("Add", "Sub", "Mul", "Div")


@dataclass(frozen=True)
class Affine:
    """``x * factor + term``, both float64 and broadcast like the constants they came from."""

    factor: Array
    term: Array

    def then(self, node: ir.Node, other: Array, *, first: bool) -> Affine | None:
        """This followed by a node whose other operand is a constant; ``first``: x is its left one.

        None where it is not of the form any more (``constant / x``).
        """
        if node.op_type == "Add":
            return Affine(self.factor, self.term + other)
        if node.op_type == "Sub":
            sign = 1.0 if first else -1.0
            return Affine(sign * self.factor, sign * (self.term - other))
        if node.op_type == "Mul":
            return Affine(self.factor * other, self.term * other)
        if not first or not np.all(other):
            return None
        return Affine(self.factor / other, self.term / other)

    @property
    def is_neutral(self) -> bool:
        """Whether it changes nothing."""
        return bool(np.all(self.factor == 1) and np.all(self.term == 0))


IDENTITY = Affine(np.ones(()), np.zeros(()))


def join_constant_arithmetic(model: ir.Model) -> PassNote:
    """Write each row of two or more constant Add, Sub, Mul, Div as one Mul and one Add, in place.

    A row that is a Mul and an Add already is left; a single op that changes nothing is removed.
    """
    joined = 0
    for node in nodes_of(model, *_OPS):
        if node.graph is not None and (row := _row(node)) is not None:
            _replace(model, row)
            joined += 1
    note = f"{joined} rows of constant arithmetic joined" if joined else "none in a row"
    return PassNote("join_constant_arithmetic", joined, note)


@dataclass(frozen=True)
class _Row:
    nodes: tuple[ir.Node, ...]
    source: ir.Value
    affine: Affine


def _row(start: ir.Node) -> _Row | None:
    """The longest row that begins at a node."""
    operands = operand(start)
    if operands is None:
        return None
    source, affine, nodes = operands[0], IDENTITY, []
    node: ir.Node | None = start
    before = source
    while node is not None and (step := operand(node)) is not None and step[0] is before:
        grown = affine.then(node, step[1], first=node.inputs[0] is before)
        if grown is None:
            break
        affine = grown
        nodes.append(node)
        before = node.outputs[0]
        node = only_consumer(before)
    kinds = [node.op_type for node in nodes]
    if not nodes or kinds == ["Mul", "Add"]:
        return None
    if len(nodes) == 1 and not affine.is_neutral:
        return None
    return _Row(tuple(nodes), source, affine)


def operand(node: ir.Node) -> tuple[ir.Value, Array] | None:
    """The varying operand of Add, Sub, Mul or Div and the constant one, as float64.

    None where both vary, or the constant's shape is more than the other's.
    """
    if node.op_type not in _OPS:
        return None
    for data, other in (node.inputs, node.inputs[::-1]):
        array = constant(other)
        if data is None or array is None or constant(data) is not None:
            continue
        shape = static_shape(data)
        if shape is None or array.dtype.kind != "f":
            return None
        if np.broadcast_shapes(shape, array.shape) != shape:
            return None
        return data, array.astype(np.float64)
    return None


def _replace(model: ir.Model, row: _Row) -> None:
    last, value = row.nodes[-1], row.source
    kind = value.dtype.numpy() if value.dtype is not None else np.float32
    for op, operand_, neutral in (("Mul", row.affine.factor, 1.0), ("Add", row.affine.term, 0.0)):
        if np.all(operand_ == neutral):
            continue
        name = _name(row, op)
        array = add_constant(model, f"{name}:1", operand_.astype(kind))
        value = insert_before(model, last, op, [value, array], name).outputs[0]
    bypass(model, last, value)
    for node in row.nodes[-2::-1]:
        model.graph.remove(node, safe=True)


def _name(row: _Row, op: str) -> str:
    """The name of a node of the row that was of this kind, else one after the last."""
    own = [str(node.name) for node in row.nodes if node.op_type == op]
    return own[0] if own else f"{row.nodes[-1].name}/{op}"
