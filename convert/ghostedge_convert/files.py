"""Weights files by what they are, not by what they are called.

Two formats hold weights: safetensors, and torch's own (a zip of a pickle and raw storages since
1.6, a row of pickles before). Which one a file is, its first bytes say; ``.pth.tar`` is hardly ever
a tar. Pickles are loaded with ``weights_only=True`` and nothing else. Every other file is refused,
by name where it is one that people pass by mistake.
"""

from __future__ import annotations

import io
import json
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError

from ghostedge_convert.pickles import refuse_pickle
from ghostedge_convert.zips import refuse_broken_zip
from ghostedge_runtime.errors import CheckpointError

Format = Literal["safetensors", "torch"]

SUFFIXES: Mapping[str, Format] = {
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
    ".tar": "torch",
    ".bin": "torch",
}

# Offset, bytes, what the file is, what to do.
_MISTAKEN: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the weights", "run `git lfs pull`"),
    (0, b"<", "a web page, not weights", "download the file itself (its raw link)"),
    (0, b"{", "a JSON text, not weights", "pass the weights file beside it"),
    (4, b"TFL3", "a TFLite model, not a checkpoint", "use `ghostedge bench`, `run` or `inspect`"),
    (0, b"\x08", "perhaps an ONNX model, not a checkpoint", "pass the checkpoint it came from"),
    (0, b"\x89HDF", "an HDF5 file (Keras), not a torch checkpoint", "pass the torch weights"),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it with `gunzip` or `tar -xzf` first"),
    (257, b"ustar", "a tar archive", "unpack it with `tar -xf` first, or save it with torch ≥ 1.6"),
)


@dataclass(frozen=True)
class WeightsFile:
    """What was in the file: usually a mapping of names to tensors, perhaps wrapped."""

    content: object
    notes: tuple[str, ...]


def read_weights_file(path: Path, data: bytes) -> WeightsFile:
    """Parse the bytes of a weights file.

    Args:
        path: Where the bytes came from, for the suffix and for messages.
        data: The whole file.

    Raises:
        CheckpointError: The file is empty, cut, of another kind, or a pickle that would run code.
    """
    if not data:
        raise CheckpointError("the file is empty (0 bytes)", where=path, remedy="copy it again")
    kind = _format(data)
    if kind is None:
        raise _unknown(path, data)
    content = _read_safetensors(path, data) if kind == "safetensors" else _read_torch(path, data)
    return WeightsFile(content, _suffix_note(path, kind))


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


def _read_torch(path: Path, data: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about torch's own storage classes
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a broken pickle makes torch raise whatever its bytes lead to
        refuse_broken_zip(path, data)
        raise refuse_pickle(path, data, error) from error
