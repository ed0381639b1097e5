"""Collects a TFLite program while the op table walks the graph.

A handler says what it computes in the axis order and the quantization that come naturally to it;
:meth:`Emitter.result` brings that to what the graph wants: a TRANSPOSE or a QUANTIZE appears only
where the two differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ghostedge_convert.lower.graph import Graph, Node, Value
from ghostedge_convert.lower.layout import Layouts
from ghostedge_convert.lower.program import (
    BUILTINS,
    Array,
    Op,
    Order,
    Program,
    Quant,
    Shape,
    Tensor,
    identity,
    keeps_memory,
    memory,
    order_of,
    reorder,
    step,
)
from ghostedge_runtime.errors import UnsupportedOpError

_INT8 = np.dtype(np.int8)
_FLOAT = np.dtype(np.float32)
_HIGH_RANK = 5


class Emitter:
    """The program under construction, and the graph and layouts it comes from."""

    def __init__(self, graph: Graph, layouts: Layouts) -> None:
        self.graph = graph
        self.layouts = layouts
        self._tensors: list[Tensor] = []
        self._ops: list[Op] = []
        self._bound: dict[str, int] = {}
        self._constants: dict[tuple[Any, ...], int] = {}
        self._requantized: dict[tuple[int, Quant], int] = {}
        self._names: set[str] = set()
        for name in graph.inputs:
            self._bound[name] = self._declare(graph.values[name])

    # -- what the graph says ---------------------------------------------------------------

    def value(self, name: str) -> Value:
        """The ONNX value of that name."""
        return self.graph.values[name]

    def order(self, name: str) -> Order:
        """The axis order decided for a value."""
        return self.layouts.orders[name]

    # -- tensors ---------------------------------------------------------------------------

    def tensor(self, index: int) -> Tensor:
        """The tensor at an index."""
        return self._tensors[index]

    def activation(self, name: str) -> int:
        """The tensor of a computed value, laid out in the value's own order.

        Raises:
            UnsupportedOpError: The value is a constant, where an op needs a computed one.
        """
        if name not in self._bound:
            raise UnsupportedOpError(
                "a constant stands where TFLite needs a computed tensor",
                where=f"tensor {name!r}",
                remedy="fold constants before lowering (onnxslim, or ONNX Runtime's optimizer)",
            )
        return self._bound[name]

    def operand(self, node: Node, position: int, order: Order) -> int:
        """An input of an axis-blind op, brought to an axis order.

        Constants are permuted at conversion time; a value of lower rank is aligned right with
        leading axes of size 1, as ONNX broadcasts.
        """
        name = node.inputs[position]
        value = self.value(name)
        rank = len(order)
        shape = (1,) * (rank - value.rank) + value.shape
        if value.data is not None:
            data, quant = (value.data, value.quant) if node.integer else (self.real(name), None)
            if quant is not None and not quant.per_tensor:
                node.refuse("per-channel quantization of an operand", "quantize it per tensor")
            return self.constant(data.reshape(shape).transpose(order), name, quant)
        index = self.activation(name)
        if value.rank == rank:
            return self.transposed(index, step(self.order(name), order))
        return self.reshaped(index, value.shape, self.order(name), shape, order)

    def real(self, name: str) -> Array:
        """A constant's real values, float32 (integers that stand for themselves stay)."""
        value = self.value(name)
        if value.data is None:
            raise ValueError(f"{name!r} is not a constant")
        if value.quant is not None:
            return value.quant.dequantize(value.data)
        half = value.data.dtype == np.float16
        return value.data.astype(np.float32) if half else value.data

    def constant(self, data: Array, name: str, quant: Quant | None = None) -> int:
        """A constant tensor; equal ones are stored once."""
        data = np.ascontiguousarray(data)
        key = (data.dtype.str, data.shape, data.tobytes(), quant)
        if key not in self._constants:
            self._constants[key] = self._add(
                Tensor(self._unique(name), data.shape, data.dtype, quant, data)
            )
        return self._constants[key]

    def int32(self, data: int | Sequence[int] | Array, name: str) -> int:
        """A constant of int32: shapes, paddings, axes."""
        return self.constant(np.asarray(data, np.int32), name)

    def temporary(self, hint: str, shape: Sequence[int], like: int, **changes: Any) -> int:
        """A tensor between two ops of one node, of the type and quantization of another."""
        return self._add(
            replace(
                self._tensors[like],
                name=self._unique(hint),
                shape=tuple(int(s) for s in shape),
                data=None,
                **changes,
            )
        )

    # -- ops -------------------------------------------------------------------------------

    def op(
        self,
        builtin: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        traits: Iterable[str] = (),
        **options: Any,
    ) -> int:
        """Append an operator.

        Returns:
            The index of its first output.
        """
        read = [self._tensors[i] for i in inputs if i >= 0]
        integer = any(t.dtype == _INT8 for t in read)
        rank = max(len(t.shape) for t in read)
        traits = [*traits, "rank5"] if rank >= _HIGH_RANK else list(traits)
        version = BUILTINS[builtin].version(integer=integer, traits=traits)
        self._ops.append(Op(builtin, version, tuple(inputs), tuple(outputs), options))
        return outputs[0]

    def scalar(self, value: float) -> int:
        """A float32 constant without axes."""
        return self.constant(np.float32(value), "scalar")

    def computed(
        self,
        node: Node,
        builtin: str,
        *operands: int | float,
        shape: Sequence[int] | None = None,
        dtype: type[np.generic] | None = None,
        **options: Any,
    ) -> int:
        """Append an operator in the middle of a node's computation, without an activation.

        Args:
            node: The node that it belongs to.
            builtin: TFLite operator.
            operands: Tensors by index; a float is a constant. The first one is a tensor.
            shape: Of the result; default what the operands broadcast to.
            dtype: Of the result; default the first operand's.
            options: Option table fields.

        Returns:
            The index of the result.
        """
        inputs = [self.scalar(o) if isinstance(o, float) else o for o in operands]
        if shape is None:
            shape = np.broadcast_shapes(*(self._tensors[i].shape for i in inputs))
        if BUILTINS[builtin].fuses:
            options["fusedActivationFunction"] = "NONE"
        changes = {} if dtype is None else {"dtype": np.dtype(dtype)}
        hint = f"{node.outputs[0]}/{builtin.lower()}"
        return self.op(
            builtin, inputs, [self.temporary(hint, shape, inputs[0], **changes)], **options
        )

    def transposed(self, index: int, permutation: Order) -> int:
        """A tensor with its axes permuted: nothing, a RESHAPE or a TRANSPOSE."""
        source = self._tensors[index]
        shape = reorder(source.shape, permutation)
        if permutation == identity(len(permutation)):
            return index
        if source.data is not None:
            return self.constant(source.data.transpose(permutation), source.name, source.quant)
        if keeps_memory(source.shape, permutation):
            return self.shaped(index, shape)
        target = self.temporary(f"{source.name}/transposed", shape, index)
        axes = self.int32(permutation, "permutation")
        return self.op("TRANSPOSE", [index, axes], [target])

    def shaped(self, index: int, shape: Sequence[int]) -> int:
        """A tensor in another shape, elements in the same place: nothing or a RESHAPE."""
        source = self._tensors[index]
        if source.shape == tuple(shape):
            return index
        if source.data is not None and (source.quant is None or source.quant.per_tensor):
            return self.constant(source.data.reshape(shape), source.name, source.quant)
        target = self.temporary(f"{source.name}/reshaped", shape, index)
        return self.op(
            "RESHAPE", [index, self.int32(shape, "shape")], [target], newShape=list(shape)
        )

    def reshaped(
        self, index: int, old: Shape, old_order: Order, new: Shape, new_order: Order
    ) -> int:
        """An ONNX Reshape between two axis orders, with transposes only where memory must move.

        Args:
            index: The tensor, laid out in ``old_order``.
            old: Its shape in ONNX's order.
            old_order: Its axis order.
            new: The new shape in ONNX's order.
            new_order: The axis order wanted.
        """
        here, there = memory(old, old_order), memory(new, new_order)
        if np.array_equal(here, there):
            return self.shaped(index, reorder(new, new_order))
        before, after = order_of(old, there), order_of(new, here)
        if before is None and after is not None:
            index = self.shaped(index, reorder(new, after))
            return self.transposed(index, step(after, new_order))
        if before is None:
            index = self.transposed(index, step(old_order, identity(len(old))))
            return self.transposed(self.shaped(index, new), new_order)
        index = self.transposed(index, step(old_order, before))
        return self.shaped(index, reorder(new, new_order))

    def requantized(self, index: int, quant: Quant | None) -> int:
        """A quantized tensor with other parameters: nothing or a QUANTIZE."""
        source = self._tensors[index]
        if quant is None or source.quant == quant:
            return index
        if (index, quant) not in self._requantized:
            target = self.temporary(
                f"{source.name}/requantized", source.shape, index, quant=quant, dtype=_INT8
            )
            self._requantized[index, quant] = self.op("QUANTIZE", [index], [target])
        return self._requantized[index, quant]

    # -- results ---------------------------------------------------------------------------

    def result(
        self,
        node: Node,
        builtin: str,
        inputs: Sequence[int],
        *,
        order: Order | None = None,
        quant: Quant | None = None,
        shape: Sequence[int] | None = None,
        traits: Iterable[str] = (),
        **options: Any,
    ) -> None:
        """Append the op that makes a node's (single) output, fused activation included.

        Args:
            node: The node.
            builtin: TFLite operator.
            inputs: Tensor indices.
            order: The axis order it computes in; default the output's own.
            quant: The quantization it computes in, where the kernel fixes it; default the
                output's own.
            shape: Its shape in TFLite's order; default the output's in ``order``.
            traits: What raises its version.
            options: Option table fields.
        """
        name = node.outputs[0]
        value = self.value(name)
        wanted = self.order(name)
        order = wanted if order is None else order
        quant = value.quant if quant is None else quant
        natural = reorder(value.shape, order) if shape is None else tuple(shape)
        fuses = BUILTINS[builtin].fuses
        if fuses:
            options["fusedActivationFunction"] = node.activation or "NONE"
        raw = Tensor(self._unique(f"{name}/raw"), natural, value.dtype, quant)
        index = self.op(builtin, inputs, [self._add(raw)], traits, **options)
        if node.activation is not None and not fuses:
            target = self.temporary(f"{name}/activated", natural, index)
            index = self.op(node.activation, [index], [target])
        if natural != reorder(value.shape, order):
            index = self.shaped(index, reorder(value.shape, order))
        self.bind(node, self.transposed(index, step(order, wanted)))

    def bind(self, node: Node, index: int, output: int = 0) -> None:
        """Say which tensor holds a node's output, requantized if the graph wants it so."""
        name = node.outputs[output]
        index = self.requantized(index, self.value(name).quant)
        fresh = self._tensors[index].data is None and index not in self._bound.values()
        if fresh and name not in self._names:
            self._names.add(name)
            self._tensors[index] = replace(self._tensors[index], name=name)
        self._bound[name] = index

    # -- the end ---------------------------------------------------------------------------

    def program(self) -> Program:
        """The finished program; graph outputs have tensors of their own name."""
        outputs: dict[str, int] = {}
        for name in self.graph.outputs:
            index = self._bound[name]
            taken = name in self._names and self._tensors[index].name != name
            if index in outputs.values() or name in self.graph.inputs or self._is_input(index):
                index = self._copied(index, name)
            elif not taken:
                self._tensors[index] = replace(self._tensors[index], name=name)
            outputs[name] = index
        return Program(
            tensors=tuple(self._tensors),
            ops=tuple(self._ops),
            inputs={name: self._bound[name] for name in self.graph.inputs},
            outputs=outputs,
            name=self.graph.name,
        )

    def _is_input(self, index: int) -> bool:
        return any(self._bound[name] == index for name in self.graph.inputs)

    def _copied(self, index: int, name: str) -> int:
        """A copy under a name of its own: TFLite outputs must be tensors that an op writes."""
        shape = self._tensors[index].shape
        target = self.temporary(name, shape, index)
        inputs = [index, self.int32(shape, "shape")]
        return self.op("RESHAPE", inputs, [target], newShape=list(shape))

    def _declare(self, value: Value) -> int:
        shape = reorder(value.shape, self.order(value.name))
        return self._add(Tensor(self._unique(value.name), shape, value.dtype, value.quant))

    def _add(self, tensor: Tensor) -> int:
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _unique(self, name: str) -> str:
        unique, count = name, 1
        while unique in self._names:
            unique, count = f"{name}_{count}", count + 1
        self._names.add(unique)
        return unique
