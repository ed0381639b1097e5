"""The ghostedge metadata of a ``.tflite`` file, read before any interpreter sees the file.

Walks four tables of the TFLite schema (version 3) with the ``flatbuffers`` package alone, so that
it neither needs an interpreter nor trusts the file: every offset is checked against the file's
length before it is followed, and every count is bounded by it. What it checks on the way is also
what makes a cut or overwritten file a clear error instead of an interpreter's. It does not verify
the graph itself; the interpreter does that when the file is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flatbuffers import encode
from flatbuffers import number_types as fb

from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.metadata import METADATA_KEY, ModelMetadata

IDENTIFIER = b"TFL3"

# Fields by their number in the schema's tables.
_MODEL_BUFFERS = 4
_MODEL_METADATA = 6
_METADATA_NAME = 0
_METADATA_BUFFER = 1
_BUFFER_DATA = 0
_BUFFER_OFFSET = 1
_BUFFER_SIZE = 2


class _OutOfBoundsError(Exception):
    """An offset or a count that leads out of the file."""


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
    except _OutOfBoundsError as error:
        raise ModelFileError(
            f"it is damaged: {error} in a file of {len(data)} bytes",
            where=where,
            remedy="it may be cut short: copy or convert it again",
        ) from error
    if document is None:
        return None
    return ModelMetadata.from_json(document, where=None if where is None else str(where))


def _document(data: bytes) -> bytes | None:
    model = _Table.at(data, _read(data, 0, fb.UOffsetTFlags))
    spans = [_span(buffer) for buffer in model.tables(_MODEL_BUFFERS)]
    key = METADATA_KEY.encode()
    for entry in model.tables(_MODEL_METADATA):
        start, length = entry.vector(_METADATA_NAME, width=1)
        if length == len(key) and data[start : start + length] == key:
            index = entry.number(_METADATA_BUFFER, fb.Uint32Flags)
            if index >= len(spans):
                raise _OutOfBoundsError(f"metadata in buffer {index} of {len(spans)}")
            start, length = spans[index]
            return data[start : start + length]
    return None


def _span(buffer: _Table) -> tuple[int, int]:
    """Where a buffer's bytes start and how many they are.

    They lie inside the flatbuffer or, in files that outgrow its 2 GB, behind it.
    """
    start = buffer.number(_BUFFER_OFFSET, fb.Uint64Flags)
    if start <= 1:  # 0 and 1 stand for "inside"
        return buffer.vector(_BUFFER_DATA, width=1)
    size = buffer.number(_BUFFER_SIZE, fb.Uint64Flags)
    _check(buffer.data, start, size)
    return start, size


@dataclass(frozen=True)
class _Table:
    """A flatbuffer table whose every access is checked against the file's length.

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
    def at(cls, data: bytes, position: int) -> _Table:
        vtable = position - _read(data, position, fb.SOffsetTFlags)
        fields = _read(data, vtable, fb.VOffsetTFlags)
        _check(data, vtable, fields)
        return cls(data, position, vtable, fields)

    def _place(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self.fields:
            return None
        offset = _read(self.data, self.vtable + entry, fb.VOffsetTFlags)
        return self.position + offset if offset else None

    def number(self, field: int, kind: type) -> int:
        place = self._place(field)
        return 0 if place is None else _read(self.data, place, kind)

    def vector(self, field: int, *, width: int) -> tuple[int, int]:
        """Where a vector's elements of ``width`` bytes start, and how many there are."""
        place = self._place(field)
        if place is None:
            return 0, 0
        place += _read(self.data, place, fb.UOffsetTFlags)
        count = _read(self.data, place, fb.UOffsetTFlags)
        _check(self.data, place + 4, count * width)
        return place + 4, count

    def tables(self, field: int) -> Iterator[_Table]:
        start, count = self.vector(field, width=4)
        for place in range(start, start + 4 * count, 4):
            yield _Table.at(self.data, place + _read(self.data, place, fb.UOffsetTFlags))


def _read(data: bytes, place: int, kind: type) -> int:
    _check(data, place, kind.bytewidth)  # type: ignore[attr-defined]  # flatbuffers is untyped
    return int(encode.Get(kind.packer_type, data, place))  # type: ignore[attr-defined]  # as above


def _check(data: bytes, start: int, size: int) -> None:
    if start < 0 or start + size > len(data):
        raise _OutOfBoundsError(f"{size} bytes expected at byte {start}")
