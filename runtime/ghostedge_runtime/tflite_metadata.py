"""The ghostedge metadata of a ``.tflite`` file, read before any interpreter sees the file.

Walks four tables of the TFLite schema (version 3) with the ``flatbuffers`` package alone, so that
it neither needs an interpreter nor trusts the file. A file cut short is mostly told here already,
in clearer words than an interpreter's. The graph itself is not looked at (see `tflite_structure`).
"""

from __future__ import annotations

from pathlib import Path

from flatbuffers import number_types as fb

from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.tflite.file import OutOfBoundsError, Table, check_bounds
from ghostedge_runtime.metadata import METADATA_KEY, ModelMetadata
from ghostedge_runtime.tflite_structure import damaged

IDENTIFIER = b"TFL3"

# Fields by their number in the schema's tables.
_MODEL_BUFFERS = 4
_MODEL_METADATA = 6
_METADATA_NAME = 0
_METADATA_BUFFER = 1
_BUFFER_DATA = 0
_BUFFER_OFFSET = 1
_BUFFER_SIZE = 2


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
