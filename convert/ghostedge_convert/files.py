"""Weights files by what they are, not by what they are called.

Two formats hold weights: safetensors, and torch's own (a zip of a pickle and raw storages since
1.6, a row of pickles before). Which one a file is, its first bytes say; ``.pth.tar`` is hardly ever
a tar. Pickles are loaded with ``weights_only=True`` and stand-ins for a list of harmless types;
what needs more goes to a confined process where the user has asked for that, and nowhere else.
Every other file is refused, by name where it is one that people pass by mistake.
"""

from __future__ import annotations

import io
import json
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch.serialization import safe_globals

from ghostedge_convert.checkpoint.harmless import HARMLESS
from ghostedge_convert.checkpoint.pickles import refuse_pickle, scan_pickle
from ghostedge_convert.checkpoint.refuse import refuse_archive
from ghostedge_convert.checkpoint.sandbox.parent import load_confined
from ghostedge_convert.shards import refuse_shard
from ghostedge_convert.zips import refuse_broken_zip
from ghostedge_runtime.errors import CheckpointError

Format = Literal["safetensors", "torch"]

SUFFIXES: Mapping[str, Format] = {
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
    ".tar": "torch",
    ".bin": "torch",
    ".ckpt": "torch",
    ".pkl": "torch",
}

# Offset, bytes, what the file is, what to do.
_MISTAKEN: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the weights", "run `git lfs pull`"),
    (0, b"<", "a web page, not weights", "download the file itself (its raw link)"),
    (0, b"{", "a JSON text, not weights", "pass the weights file beside it"),
    (4, b"TFL3", "a TFLite model, not a checkpoint", "use `ghostedge bench`, `run` or `inspect`"),
    (0, b"\x08", "perhaps an ONNX model, not a checkpoint", "name it .onnx if it is one"),
    (0, b"\x89HDF", "an HDF5 file (Keras), not a torch checkpoint", "pass the torch weights"),
)


@dataclass(frozen=True)
class WeightsFile:
    """What was in the file.

    Attributes:
        content: Usually a mapping of names to tensors, perhaps wrapped.
        metadata: What a safetensors header says besides; empty for torch's format.
        notes: How it was read, a line each.
    """

    content: object
    metadata: Mapping[str, str]
    notes: tuple[str, ...]


def read_weights_file(path: Path, data: bytes, *, unsafe_pickle: bool = False) -> WeightsFile:
    """Parse the bytes of a weights file.

    Args:
        path: Where the bytes came from, for the suffix and for messages.
        data: The whole file.
        unsafe_pickle: Load a pickle that would run code in a confined process.

    Raises:
        CheckpointError: The file is empty, cut, of another kind, a part of the weights, an archive
            around them, or a pickle that would run code.
    """
    if not data:
        raise CheckpointError("the file is empty (0 bytes)", where=path, remedy="copy it again")
    refuse_shard(path, data)
    kind = _format(data)
    if kind is None:
        refuse_archive(path, data)
        raise _unknown(path, data)
    suffix = _suffix_note(path, kind)
    if kind == "safetensors":
        content = _read_safetensors(path, data)
        return WeightsFile(content, _safetensors_metadata(data), suffix)
    found, notes = _read_torch(path, data, unsafe_pickle=unsafe_pickle)
    return WeightsFile(found, {}, (*suffix, *notes))


def _format(data: bytes) -> Format | None:
    if data[:4] == b"PK\x03\x04" or data[:1] == b"\x80":
        return "torch"
    return "safetensors" if data[8:9] == b"{" else None


def _suffix_note(path: Path, kind: Format) -> tuple[str, ...]:
    if SUFFIXES.get(path.suffix.lower()) == kind:
        return ()
    return (f"{path.name} is a {kind} file by its content and was read as one",)


def _unknown(path: Path, data: bytes) -> CheckpointError:
    for offset, magic, what, remedy in _MISTAKEN:
        if data[offset : offset + len(magic)] == magic:
            return CheckpointError(f"this is {what}", where=path, remedy=remedy)
    return CheckpointError(
        f"this is no weights file: {len(data):,} bytes that begin with {data[:8].hex(' ')}, "
        "neither safetensors nor torch",
        where=path,
        remedy=f"pass a {', '.join(SUFFIXES)} file (.pth.tar too) as torch or safetensors wrote it",
    )


def _read_safetensors(path: Path, data: bytes) -> dict[str, torch.Tensor]:
    expected = _safetensors_length(path, data)
    if expected is not None and expected > len(data):
        raise CheckpointError(
            f"the file is cut: it ends at byte {len(data):,} of {expected:,}",
            where=path,
            remedy="copy or download it again",
        )
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"it is not a valid safetensors file ({error})",
            where=path,
            remedy="copy or download it again",
        ) from error


def _safetensors_length(path: Path, data: bytes) -> int | None:
    """The length that the header promises; None where it cannot be read."""
    (header_length,) = struct.unpack("<Q", data[:8])
    if header_length > len(data) - 8:
        return int(header_length) + 8
    try:
        header = json.loads(data[8 : 8 + header_length])
        ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise CheckpointError(
            f"its safetensors header is broken ({error})",
            where=path,
            remedy="copy or download it again",
        ) from error
    if not all(isinstance(end, int) for end in ends):
        return None
    return 8 + int(header_length) + max(ends, default=0)


def _safetensors_metadata(data: bytes) -> dict[str, str]:
    """The texts under ``__metadata__`` in a header that has been read without an error."""
    (length,) = struct.unpack("<Q", data[:8])
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    return {str(key): str(value) for key, value in metadata.items()}


def _read_torch(path: Path, data: bytes, *, unsafe_pickle: bool) -> tuple[Any, tuple[str, ...]]:
    """What the file holds, and how it was got out of it."""
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (stand_in, name) for name, stand_in in HARMLESS.items()
    ]
    try:
        with warnings.catch_warnings(), safe_globals(allowed):
            warnings.simplefilter("ignore")  # about torch's own storage classes
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True), ()
    except Exception as error:  # a broken pickle makes torch raise whatever its bytes lead to
        refuse_broken_zip(path, data)
        content = scan_pickle(data)
        if unsafe_pickle and content.is_refused:
            return load_confined(path, data, content)
        raise refuse_pickle(path, data, content, error) from error
