"""How the two processes speak: a JSON head and arrays, no pickles either way.

The other end runs a stranger's graph, or the user's custom layers, so nothing that it sends is
executed here.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class KerasFacts:
    """What the model says of itself.

    Attributes:
        input_size: Height and width of its input, None for one that takes any.
        in_channels: Channels of its input.
        outputs: Names of its outputs.
        notes: What a person should know of how it was read, a line each.
    """

    input_size: tuple[int, int] | None
    in_channels: int
    outputs: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Frame:
    """One message."""

    head: dict[str, Any]
    arrays: tuple[Array, ...] = ()


def send(stream: IO[bytes], head: dict[str, Any], arrays: Sequence[Array] = ()) -> None:
    """Write a message and flush it."""
    packed = [_packed(array) for array in arrays]
    encoded = json.dumps({**head, "arrays": [len(part) for part in packed]}).encode()
    stream.write(_LENGTH.pack(len(encoded)) + encoded)
    for part in packed:
        stream.write(part)
    stream.flush()


def receive(stream: IO[bytes]) -> Frame | None:
    """Read a message; None where the other end has closed.

    Raises:
        EOFError: It closed within one.
    """
    start = stream.read(_LENGTH.size)
    if not start:
        return None
    head = json.loads(_exactly(stream, _LENGTH.unpack(start.ljust(_LENGTH.size, b"\0"))[0]))
    sizes = head.pop("arrays")
    arrays = (np.load(io.BytesIO(_exactly(stream, n)), allow_pickle=False) for n in sizes)
    return Frame(head, tuple(arrays))


def _packed(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError(f"{count} bytes expected, {len(data)} came")
    return data
