"""Whether a ``.tflite`` file holds together, for interpreters that do not look.

ai-edge-litert verifies a flatbuffer before it uses it, given as bytes. tflite-runtime 2.14, the
last there is for 32-bit ARM, does not: of a small model's first n bytes, six of fourteen lengths
ended the process. This walks every table of the schema that such an interpreter follows and checks
that each offset, count and text ends inside the file. It does not check what the operators make
of their tensors; a model file is a program, so one from a stranger belongs in its own process.
"""

from __future__ import annotations

from pathlib import Path

from flatbuffers import number_types as fb

from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.tflite.file import OutOfBoundsError, Table, check_bounds

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
