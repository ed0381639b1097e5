"""The files that an ``.onnx`` keeps weights in beside itself, found without the ``onnx`` package.

Of the protobuf only that is read: which tensors lie in which file, and where in it
(``onnx.proto``, ``TensorProto.external_data``). A file names them itself, so they may lie in its
own folder and nowhere else. Where the file is a link, as in the Hugging Face cache, the folder that
it leads to counts too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from ghostedge_runtime.errors import ModelFileError

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_NAME, _EXTERNAL_DATA, _KEY, _VALUE = 8, 13, 1, 2

# Message by field, from a model down to its tensors.
_TENSOR = "tensor"
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: _TENSOR, 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: _TENSOR, 2: _TENSOR},
}


@dataclass(frozen=True)
class ExternalTensor:
    """A tensor whose numbers lie in another file.

    Attributes:
        name: Its name in the graph.
        location: The file, relative to the model's folder.
        offset: Where in it the numbers start, in bytes.
        length: How many bytes they take; None: all the rest.
    """

    name: str
    location: str
    offset: int
    length: int | None


def external_tensors(data: bytes) -> tuple[ExternalTensor, ...]:
    """The tensors of an ``.onnx`` file that lie outside it; none of one that is damaged."""
    if b"location" not in data:  # the key of every such entry
        return ()
    tensors: list[ExternalTensor] = []
    waiting = [("model", memoryview(data))]
    try:
        while waiting:
            kind, message = waiting.pop()
            if kind == _TENSOR:
                tensors += _external(message)
                continue
            inside = _INSIDE[kind]
            waiting += [(inside[f], part) for f, part in _fields(message) if f in inside]
    except (ValueError, IndexError):
        return ()
    return tuple(tensors)


def data_files(data: bytes, model: Path) -> dict[str, Path]:
    """The files that hold a model's weights, by the name that the model has for them, sorted.

    Args:
        data: The ``.onnx`` file.
        model: Where it lies.

    Raises:
        ModelFileError: One is missing or cut, or lies outside the model's folder.
    """
    files: dict[str, Path] = {}
    for tensor in sorted(external_tensors(data), key=lambda tensor: tensor.location):
        path = files.get(tensor.location) or _inside(tensor, model)
        files[tensor.location] = path
        size, needed = path.stat().st_size, tensor.offset + (tensor.length or 0)
        if size < needed:
            raise ModelFileError(
                f"{tensor.location!r} has {size} bytes, its tensor {tensor.name!r} ends at byte "
                f"{needed}",
                where=model,
                remedy="the data file is cut short or another model's: copy it again",
            )
    return files


def _inside(tensor: ExternalTensor, model: Path) -> Path:
    path = model.parent / tensor.location
    folders = (model.parent.resolve(), model.resolve().parent)
    absolute = Path(tensor.location).is_absolute() or PureWindowsPath(tensor.location).drive
    try:
        led = path.resolve()
        outside = absolute or not any(led.is_relative_to(folder) for folder in folders)
        if not outside and led.is_file():
            return path
    except (OSError, RuntimeError, ValueError):  # no name of a file, or a circle of links
        outside = False
    where = f"the data of its tensor {tensor.name!r} is in {tensor.location!r}"
    raise ModelFileError(
        f"{where}, outside the model's folder" if outside else f"{where}, which is not there",
        where=model,
        remedy="save the model with its data file beside it"
        if outside
        else "keep the data file beside the .onnx, under the name it was saved with",
    )


def _external(tensor: memoryview) -> Iterator[ExternalTensor]:
    name, entries = "", {}
    for field, part in _fields(tensor):
        if field == _NAME:
            name = bytes(part).decode(errors="replace")
        elif field == _EXTERNAL_DATA:
            entry = dict(_fields(part))
            key, value = (bytes(entry.get(f, b"")).decode(errors="replace") for f in (_KEY, _VALUE))
            entries[key] = value
    if "location" in entries:
        offset, length = (int(entries.get(key) or 0) for key in ("offset", "length"))
        if min(offset, length) < 0:
            raise ValueError(name)
        yield ExternalTensor(name, entries["location"], offset, length or None)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that have a length: strings, bytes and messages.

    Raises:
        ValueError: It is no protobuf message.
        IndexError: It is cut.
    """
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == _VARINT:
            _, place = _varint(message, place)
        elif kind == _LENGTH:
            size, place = _varint(message, place)
            if place + size > len(message):
                raise IndexError(place)
            yield tag >> 3, message[place : place + size]
            place += size
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            place += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(kind)


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = shift = 0
    while True:
        byte = message[place]
        value, shift, place = value | (byte & 0x7F) << shift, shift + 7, place + 1
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError(place)
