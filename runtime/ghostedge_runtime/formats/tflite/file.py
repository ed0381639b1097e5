"""``.tflite`` files read without an interpreter and without trust: metadata, graph, structure.

The ``flatbuffers`` package follows whatever offset it finds. `Table` checks every offset against
the file's length before it is followed and bounds every count by it, so that damage is an error and
never a wild read. Over it

- `read_tflite_metadata` reads what a file says about itself, before any interpreter sees the file;
  one cut short is mostly told here already, in clearer words than an interpreter's;
- `read_graph` reads the bare shape of the first subgraph, which is the one that runs: which
  operators, on tensors of which types; no options, names or quantization;
- `check_structure` walks every table that an interpreter follows, for those that do not look.
  ai-edge-litert verifies a flatbuffer before it uses it, given as bytes. tflite-runtime 2.14, the
  last there is for 32-bit ARM, does not: of a small model's first n bytes, six of fourteen lengths
  ended the process. What the operators make of their tensors is not checked; a model file is a
  program, so one from a stranger belongs in its own process.

Fields go by their numbers in the TFLite schema, version 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flatbuffers import encode
from flatbuffers import number_types as fb

from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.metadata import METADATA_KEY, ModelMetadata

IDENTIFIER = b"TFL3"
FLOAT32 = 0  # of the schema's TensorType

# Fields by their number in the schema's tables.
_MODEL_SUBGRAPHS, _MODEL_BUFFERS, _MODEL_METADATA = 2, 4, 6
_GRAPH_TENSORS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 0, 2, 3
_TENSOR_TYPE, _TENSOR_BUFFER = 1, 2
_OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 1, 2
_BUFFER_DATA, _BUFFER_OFFSET, _BUFFER_SIZE = 0, 1, 2
_METADATA_NAME, _METADATA_BUFFER = 0, 1

_TEXT = "text"
# Schema version 3, by table: field number → bytes per element of a vector of numbers, `_TEXT`,
# the name of the table it points to, or, in a list, the name of the tables in its vector.
_TABLES: dict[str, dict[int, int | str | list[str]]] = {
    "Model": {
        1: ["OperatorCode"],
        2: ["SubGraph"],
        3: _TEXT,
        4: ["Buffer"],
        5: 4,
        6: ["Metadata"],
        7: ["SignatureDef"],
    },
    "OperatorCode": {1: _TEXT},
    "SubGraph": {0: ["Tensor"], 1: 4, 2: 4, 3: ["Operator"], 4: _TEXT},
    "Tensor": {0: 4, 3: _TEXT, 4: "Quantization", 6: "Sparsity", 7: 4, 9: ["Variant"]},
    "Quantization": {0: 4, 1: 4, 2: 4, 3: 8, 5: "Options"},
    "Sparsity": {0: 4, 1: 4, 2: ["Dimension"]},
    "Dimension": {3: "Options", 5: "Options"},
    "Variant": {0: 4},
    "Operator": {1: 4, 2: 4, 4: "Options", 5: 1, 7: 1, 8: 4, 12: "Options"},
    "Buffer": {0: 1},
    "Metadata": {0: _TEXT},
    "SignatureDef": {0: ["TensorMap"], 1: ["TensorMap"], 2: _TEXT},
    "TensorMap": {0: _TEXT},
    "Options": {},  # a union: that the table itself is inside the file is all that can be said
    "Shape": {0: 4},
}
# Union members with a vector in them, by BuiltinOptions: ReshapeOptions and SqueezeOptions.
_OPTIONS_WITH_SHAPE = frozenset({17, 30})


class OutOfBoundsError(Exception):
    """An offset, a count or an index that leads out of the file."""


@dataclass(frozen=True)
class Table:
    """A flatbuffer table.

    Attributes:
        data: The whole file.
        position: Where the table starts.
        vtable: Where the list of its fields' places starts.
        fields: The bytes that list takes, its header of four included.
    """

    data: bytes
    position: int
    vtable: int
    fields: int

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The table a file starts with."""
        return cls.at(data, _read(data, 0, fb.UOffsetTFlags))

    @classmethod
    def at(cls, data: bytes, position: int) -> Table:
        """The table at a place."""
        vtable = position - _read(data, position, fb.SOffsetTFlags)
        fields = _read(data, vtable, fb.VOffsetTFlags)
        check_bounds(data, vtable, fields)
        check_bounds(data, position, _read(data, vtable + 2, fb.VOffsetTFlags))
        return cls(data, position, vtable, fields)

    def number(self, field: int, kind: type) -> int:
        """A scalar; 0 where the file leaves the field out."""
        place = self._place(field)
        return 0 if place is None else _read(self.data, place, kind)

    def vector(self, field: int, *, width: int) -> tuple[int, int]:
        """Where a vector's elements of ``width`` bytes start, and how many there are."""
        target = self._target(field)
        if target is None:
            return 0, 0
        count = _read(self.data, target, fb.UOffsetTFlags)
        check_bounds(self.data, target + 4, count * width)
        return target + 4, count

    def table(self, field: int) -> Table | None:
        """A table that a field points to, if the file has it."""
        target = self._target(field)
        return None if target is None else Table.at(self.data, target)

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of a vector of them."""
        start, count = self.vector(field, width=4)
        for place in range(start, start + 4 * count, 4):
            yield Table.at(self.data, place + _read(self.data, place, fb.UOffsetTFlags))

    def _place(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self.fields:
            return None
        offset = _read(self.data, self.vtable + entry, fb.VOffsetTFlags)
        return self.position + offset if offset else None

    def _target(self, field: int) -> int | None:
        place = self._place(field)
        return None if place is None else place + _read(self.data, place, fb.UOffsetTFlags)


def check_bounds(data: bytes, start: int, size: int) -> None:
    """Refuse a span that does not lie in the file."""
    if start < 0 or start + size > len(data):
        raise OutOfBoundsError(f"{size} bytes expected at byte {start}")


def _read(data: bytes, place: int, kind: type) -> int:
    check_bounds(data, place, kind.bytewidth)  # type: ignore[attr-defined]  # untyped package
    return int(encode.Get(kind.packer_type, data, place))  # type: ignore[attr-defined]  # as above


def check_structure(data: bytes, where: Path) -> None:
    """Walk the whole flatbuffer.

    Raises:
        ModelFileError: Something in it leads out of the file.
    """
    try:
        _walk(Table.root(data), "Model", set())
    except OutOfBoundsError as error:
        raise damaged(error, data, where) from error


def damaged(error: OutOfBoundsError, data: bytes, where: str | Path | None) -> ModelFileError:
    """The error for a file that is cut or overwritten."""
    return ModelFileError(
        f"it is damaged: {error} in a file of {len(data)} bytes",
        where=where,
        remedy="it may be cut short: copy or convert it again",
    )


def _walk(table: Table, name: str, seen: set[tuple[int, str]]) -> None:
    """Check a table and all it leads to; one that many point to is checked once."""
    if (table.position, name) in seen:
        return
    seen.add((table.position, name))
    if name == "Operator" and table.number(3, fb.Uint8Flags) in _OPTIONS_WITH_SHAPE:
        _walk_one(table, 4, "Shape", seen)
    for field, kind in _TABLES[name].items():
        if isinstance(kind, int):
            table.vector(field, width=kind)
        elif kind == _TEXT:
            _check_text(table, field)
        elif isinstance(kind, str):
            _walk_one(table, field, kind, seen)
        else:
            for child in table.tables(field):
                _walk(child, kind[0], seen)


def _walk_one(table: Table, field: int, name: str, seen: set[tuple[int, str]]) -> None:
    child = table.table(field)
    if child is not None:
        _walk(child, name, seen)


def _check_text(table: Table, field: int) -> None:
    """Readers take texts as C strings, so the zero behind them has to be there."""
    start, count = table.vector(field, width=1)
    if start:
        check_bounds(table.data, start, count + 1)
        if table.data[start + count] != 0:
            raise OutOfBoundsError(f"a text at byte {start} does not end")


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


def is_tflite(data: bytes) -> bool:
    """Whether the bytes carry TFLite's file identifier."""
    return data[4:8] == IDENTIFIER


def read_tflite_metadata(data: bytes, where: str | Path | None = None) -> ModelMetadata | None:
    """Read what a ``.tflite`` file says about itself.

    Args:
        data: The whole file.
        where: Its name, for error messages.

    Returns:
        The metadata, or None where the file carries none of ours.

    Raises:
        ModelFileError: Not a TFLite file, a damaged one, or metadata that cannot be read.
    """
    if not is_tflite(data):
        raise ModelFileError(
            f"it is not a TFLite file: no {IDENTIFIER.decode()} in bytes 4 to 8",
            where=where,
            remedy="give a .tflite file as `ghostedge convert` writes it",
        )
    try:
        document = _document(data)
    except OutOfBoundsError as error:
        raise damaged(error, data, where) from error
    if document is None:
        return None
    return ModelMetadata.from_json(document, where=None if where is None else str(where))


def _document(data: bytes) -> bytes | None:
    model = Table.root(data)
    spans = [_span(buffer) for buffer in model.tables(_MODEL_BUFFERS)]
    key = METADATA_KEY.encode()
    for entry in model.tables(_MODEL_METADATA):
        start, length = entry.vector(_METADATA_NAME, width=1)
        if length == len(key) and data[start : start + length] == key:
            index = entry.number(_METADATA_BUFFER, fb.Uint32Flags)
            if index >= len(spans):
                raise OutOfBoundsError(f"metadata in buffer {index} of {len(spans)}")
            start, length = spans[index]
            return data[start : start + length]
    return None


def _span(buffer: Table) -> tuple[int, int]:
    """Where a buffer's bytes start and how many they are.

    They lie inside the flatbuffer or, in files that outgrow its 2 GB, behind it.
    """
    start = buffer.number(_BUFFER_OFFSET, fb.Uint64Flags)
    if start <= 1:  # 0 and 1 stand for "inside"
        return buffer.vector(_BUFFER_DATA, width=1)
    size = buffer.number(_BUFFER_SIZE, fb.Uint64Flags)
    check_bounds(buffer.data, start, size)
    return start, size
