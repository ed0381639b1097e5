"""The bare shape of a ``.tflite`` file's graph: which operators, on tensors of which types.

Read with `flatbuffer`, so that neither an interpreter nor the schema's bindings are needed and a
damaged file is an error. Of the first subgraph, which is the one that runs; options, names and
quantization are not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flatbuffers import number_types as fb

from ghostedge_runtime.formats.tflite.file import OutOfBoundsError, Table
from ghostedge_runtime.tflite_structure import damaged

FLOAT32 = 0  # of the schema's TensorType

# Fields by their number in the schema's tables.
_MODEL_SUBGRAPHS = 2
_MODEL_BUFFERS = 4
_GRAPH_TENSORS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 0, 2, 3
_TENSOR_TYPE, _TENSOR_BUFFER = 1, 2
_OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 1, 2
_BUFFER_DATA, _BUFFER_OFFSET = 0, 1


@dataclass(frozen=True)
class Operator:
    """Its tensors, by index; -1 where an optional one is left out."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """A subgraph.

    Attributes:
        types: Of each tensor, a number of the schema's TensorType.
        constant: Of each tensor, whether the file holds its values.
        operators: In the order they run.
        outputs: The graph's, by index.
    """

    types: tuple[int, ...]
    constant: tuple[bool, ...]
    operators: tuple[Operator, ...]
    outputs: tuple[int, ...]

    def computes_in(self, operator: Operator, kind: int) -> bool:
        """Whether all that flows in and out of an operator, constants aside, is of one type."""
        flowing = [t for t in operator.inputs + operator.outputs if t >= 0 and not self.constant[t]]
        return any(t in operator.inputs for t in flowing) and all(
            self.types[tensor] == kind for tensor in flowing
        )


def read_graph(data: bytes, where: Path) -> Graph:
    """The first subgraph of a file.

    Raises:
        ModelFileError: The file is damaged.
    """
    try:
        return _graph(data)
    except OutOfBoundsError as error:
        raise damaged(error, data, where) from error


def _graph(data: bytes) -> Graph:
    model = Table.root(data)
    graph = next(model.tables(_MODEL_SUBGRAPHS), None)
    if graph is None:
        raise OutOfBoundsError("it has no subgraph")
    tensors = list(graph.tables(_GRAPH_TENSORS))
    filled = [_holds_data(buffer) for buffer in model.tables(_MODEL_BUFFERS)]
    buffers = [tensor.number(_TENSOR_BUFFER, fb.Uint32Flags) for tensor in tensors]
    if max(buffers, default=0) >= len(filled):
        raise OutOfBoundsError(f"a tensor in buffer {max(buffers)} of {len(filled)}")
    operators = tuple(
        Operator(_ints(table, _OPERATOR_INPUTS), _ints(table, _OPERATOR_OUTPUTS))
        for table in graph.tables(_GRAPH_OPERATORS)
    )
    outputs = _ints(graph, _GRAPH_OUTPUTS)
    used = [t for op in operators for t in op.inputs + op.outputs]
    if max((*used, *outputs), default=-1) >= len(tensors):
        raise OutOfBoundsError(f"tensor {max(*used, *outputs)} of {len(tensors)}")
    return Graph(
        types=tuple(tensor.number(_TENSOR_TYPE, fb.Int8Flags) for tensor in tensors),
        constant=tuple(filled[buffer] for buffer in buffers),
        operators=operators,
        outputs=outputs,
    )


def _holds_data(buffer: Table) -> bool:
    """Inside the flatbuffer or, where an offset is given, behind it."""
    return (
        buffer.vector(_BUFFER_DATA, width=1)[1] > 0
        or buffer.number(_BUFFER_OFFSET, fb.Uint64Flags) > 1
    )


def _ints(table: Table, field: int) -> tuple[int, ...]:
    start, count = table.vector(field, width=4)
    return tuple(np.frombuffer(table.data, "<i4", count, start).tolist()) if count else ()
