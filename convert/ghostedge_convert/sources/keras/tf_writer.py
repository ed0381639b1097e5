"""The ONNX graph that a TensorFlow graph is written into, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import onnx
import tensorflow as tf
from onnx import helper, numpy_helper

from ghostedge_convert.sources.keras.wire import Array
from ghostedge_runtime.errors import UnsupportedOpError

TO_FIRST = (0, 3, 1, 2)
TO_LAST = (0, 2, 3, 1)
_CALLS = ("StatefulPartitionedCall", "PartitionedCall", "Func", "input", "output")
"""Parts of a name that come from inlining."""


@dataclass(frozen=True)
class TfOp:
    """How an op is written.

    Attributes:
        write: Adds its nodes and returns the names of its outputs.
        reads: The tensors it is written from; other inputs are parameters.
    """

    write: Callable[[GraphWriter, Any], list[str]]
    reads: Callable[[Any], Sequence[Any]] = lambda op: op.inputs


def first_input(op: Any) -> list[Any]:
    """What an op reads whose first input is data and whose others are parameters."""
    return [op.inputs[0]]


class GraphWriter:
    """The ONNX graph as far as it is written.

    Attributes:
        names: ONNX name of each TensorFlow tensor, by its ``ref()``.
        nodes: In order.
        constants: Initializers.
    """

    def __init__(self, table: Mapping[str, TfOp], *, reserved: Sequence[str], where: str) -> None:
        self.names: dict[Any, str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._table = table
        self._taken = set(reserved)
        self._where = where

    def value(self, tensor: Any) -> str:
        """The ONNX name of a tensor; whatever it needs is written first."""
        waiting = [tensor]
        while waiting:
            top = waiting[-1]
            if top.ref() in self.names:
                waiting.pop()
                continue
            needed = [t for t in self._reads(top.op) if t.ref() not in self.names]
            if needed:
                waiting += needed
                continue
            self._write(top.op)
        return self.names[tensor.ref()]

    def array(self, tensor: Any) -> Array:
        """The value of a tensor that does not depend on the input.

        Raises:
            UnsupportedOpError: It does.
        """
        value = tf.get_static_value(tensor)
        if value is None:
            self.refuse(tensor.op, "one of its parameters is computed by the graph")
        return np.asarray(value)

    def node(
        self, op: str, inputs: Sequence[str], name: str, *, outputs: int = 1, **attributes: Any
    ) -> str:
        """Add a node; the name of its (first) output. More are called ``name:1`` and so on."""
        name = self._free(f"{_plain(name)}/{op}" if op == "Transpose" else _plain(name))
        results = [name, *(f"{name}:{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), results, name=name, **attributes))
        return name

    def constant(self, array: Array, name: str) -> str:
        """Add an initializer; its name."""
        name = self._free(_plain(name))
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def first(self, value: str, name: str) -> str:
        """A channels-last image, channels first."""
        return self.node("Transpose", [value], name, perm=TO_FIRST)

    def last(self, value: str, name: str) -> str:
        """A channels-first image, channels last."""
        return self.node("Transpose", [value], name, perm=TO_LAST)

    def refuse(self, op: Any, why: str) -> NoReturn:
        """Say that an op cannot be written.

        Raises:
            UnsupportedOpError: Always.
        """
        raise UnsupportedOpError(
            why,
            where=f"{self._where}: node {_plain(op.name)!r} ({op.type})",
            remedy="save the model as .keras, which converts by its layers, or replace the op",
        )

    def _reads(self, op: Any) -> list[Any]:
        row = self._table.get(op.type)
        if row is None:
            self.refuse(op, f"the TensorFlow op {op.type} has no ONNX form here")
        return list(row.reads(op))

    def _write(self, op: Any) -> None:
        names = self._table[op.type].write(self, op)
        for tensor, name in zip(op.outputs, names, strict=False):
            self.names[tensor.ref()] = name

    def _free(self, name: str) -> str:
        free, number = name, 1
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free


def _plain(name: str) -> str:
    """A node's name without what inlining put in front."""
    parts = name.split("/")
    while len(parts) > 1 and parts[0] in _CALLS:
        parts = parts[1:]
    return "/".join(parts)
