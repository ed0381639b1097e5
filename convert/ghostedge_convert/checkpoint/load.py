"""A weights file becomes a ``Checkpoint``: float32 tensors by name, and what was beside them.

Two formats hold weights: safetensors, and torch's own (a zip of a pickle and raw storages since
1.6, a row of pickles before). The first bytes of a file decide which one it is, not its name:
``.pth.tar`` is hardly ever a tar. Pickles are loaded with ``weights_only=True`` and stand-ins for a
list of harmless types; a pickle that needs more goes to a confined process where the user has asked
for that, and nowhere else. Every other file is refused, by name where it is one that people pass by
mistake.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch.serialization import safe_globals

from ghostedge_convert.checkpoint.config import CheckpointConfig, own_config
from ghostedge_convert.checkpoint.networks import Chosen, choose_network, ignored, keys_under
from ghostedge_convert.checkpoint.pickles import refuse_pickle, scan_pickle
from ghostedge_convert.checkpoint.plain_weights import plain_weights, without_observers
from ghostedge_convert.checkpoint.refuse import (
    refuse_archive,
    refuse_broken_zip,
    refuse_shard,
    refuse_unpacked,
)
from ghostedge_convert.checkpoint.sandbox.parent import load_confined
from ghostedge_convert.checkpoint.stand_ins import HARMLESS
from ghostedge_convert.checkpoint.unwrap import Unwrapped, unwrap
from ghostedge_runtime.errors import CheckpointError
from ghostedge_runtime.metadata import Source

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
        metadata: The texts of a safetensors header; empty for torch's format.
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
    content, notes = _read_torch(path, data, unsafe_pickle=unsafe_pickle)
    return WeightsFile(content, {}, (*suffix, *notes))


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


@dataclass(frozen=True)
class Checkpoint:
    """Weights as trained.

    Attributes:
        weights: Finite tensors by ``state_dict`` key; floating ones are float32.
        config: What the ``config.json`` beside the file states, or None where there is none.
        source: The file's name and SHA-256.
        prefix: What was taken off the front of every key, such as ``module.``; empty for most.
        notes: What was chosen, converted or ignored on the way, a line each.
    """

    weights: Mapping[str, torch.Tensor]
    config: CheckpointConfig | None
    source: Source
    notes: tuple[str, ...]
    prefix: str = ""


def load_checkpoint(
    path: str | PathLike[str],
    *,
    ema: bool = False,
    unsafe_pickle: bool = False,
    integers: bool = False,
    key_prefix: str | None = None,
) -> Checkpoint:
    """Load a ``.pt``, ``.pth``, ``.pth.tar``, ``.ckpt``, ``.bin`` or ``.safetensors`` file.

    Takes a bare ``state_dict`` or one inside another mapping (`unwrap`), whatever wrappers put
    before its keys (`prefixes`). Classes and preprocessing are read from the ``config.json`` beside
    the file, and from the file itself where that states nothing. Pickles are loaded with
    ``weights_only=True``, which runs no code of the file's. Of a network of the family whatever
    prefix its keys have is dropped, and what pruning, weight norm, spectral norm and
    quantization-aware training left is made plain weights.

    Args:
        path: The weights file.
        ema: Take the exponential moving average of the weights (``state_dict_ema``).
        unsafe_pickle: Load a pickle that runs code, in a confined process without network or write
            access (Linux); a file that needs none of that is loaded as ever.
        integers: The weights are for a network of the caller's own: keep tensors of integers and
            booleans, which it may have as buffers, and the parts of parametrized weights.
        key_prefix: What the keys of the wanted network begin with, where the file holds several.

    Raises:
        CheckpointError: The file cannot be read, is cut, empty or of another kind, holds code or
            no weights, or weights that are not finite; or the ``config.json`` is malformed.
        InputError: ``unsafe_pickle`` is needed, and this machine cannot confine a process.
    """
    path = Path(path)
    data = _read(path)
    file = read_weights_file(path, data, unsafe_pickle=unsafe_pickle)
    unwrapped = unwrap(file.content, ema=ema, where=path, key_prefix=key_prefix)
    if integers:
        chosen = _any_network(unwrapped, path, key_prefix)
    else:
        chosen = _family_network(unwrapped, path, key_prefix, ema=ema)
    weights, notes = _as_float32(chosen.weights, path, integers=integers)
    _check_values(weights, path)
    config, config_notes = own_config(path, file.metadata, unwrapped.labels)
    return Checkpoint(
        weights=weights,
        config=config,
        source=Source(path.name, hashlib.sha256(data).hexdigest()),
        prefix=unwrapped.prefix + chosen.prefix,
        notes=(*file.notes, *unwrapped.notes, *chosen.notes, *notes, *config_notes),
    )


def _family_network(
    unwrapped: Unwrapped, where: Path, key_prefix: str | None, *, ema: bool
) -> Chosen:
    """The plain weights of one network of the family."""
    weights, dropped = without_observers({**unwrapped.beside, **unwrapped.weights})
    weights, computed = plain_weights(weights, str(where))
    chosen = choose_network(weights, unwrapped, where=str(where), key_prefix=key_prefix, ema=ema)
    return replace(chosen, notes=(*dropped, *computed, *chosen.notes))


def _any_network(unwrapped: Unwrapped, where: Path, key_prefix: str | None) -> Chosen:
    """The weights as they are stored, or those under the prefix."""
    weights, dropped = without_observers(unwrapped.weights)
    if key_prefix is not None:
        weights = keys_under(weights, key_prefix, str(where), unwrapped.prefix)
        dropped = (*dropped, f"took the weights under {key_prefix!r}")
    return Chosen(weights, "", (*dropped, *ignored(unwrapped.beside)))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError as error:
        refuse_unpacked(path)
        inside = sorted(p.name for p in path.iterdir() if p.suffix in SUFFIXES)
        raise CheckpointError(
            "this is a folder, not a weights file",
            where=path,
            remedy=f"pass a file: {', '.join(inside[:5]) or 'there is none of weights in it'}",
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"the file cannot be read ({error.strerror or error})",
            where=path,
            remedy="check the path and its permissions",
        ) from error


def _as_float32(
    weights: Mapping[str, torch.Tensor], where: Path, *, integers: bool
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The weights in the precision that conversion computes in."""
    others = [k for k, v in weights.items() if not _is_usable(k, v, integers=integers)]
    if others:
        key = others[0]
        raise CheckpointError(
            f"{key} is {_kind(weights[key])}, and {len(others) - 1} more are not dense floating "
            "point tensors either",
            where=where,
            remedy="pass the weights as trained, before any quantization or sparsification",
        )
    changed = {str(v.dtype).removeprefix("torch.") for v in weights.values() if _is_converted(v)}
    notes = [f"converted {', '.join(sorted(changed))} weights to float32"] if changed else []
    return {
        key: value.detach().to(torch.float32) if value.is_floating_point() else value
        for key, value in weights.items()
    }, notes


def _is_usable(key: str, value: torch.Tensor, *, integers: bool) -> bool:
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        return False
    return integers or value.is_floating_point() or key.endswith("num_batches_tracked")


def _is_converted(value: torch.Tensor) -> bool:
    return value.is_floating_point() and value.dtype != torch.float32


def _kind(value: torch.Tensor) -> str:
    dtype = str(value.dtype).removeprefix("torch.")
    layout = str(value.layout).removeprefix("torch.")
    return f"{dtype} on meta" if value.is_meta else f"{dtype} ({layout})"


def _check_values(weights: Mapping[str, torch.Tensor], where: Path) -> None:
    """Refuse weights that no network computes with."""
    broken = {}
    for key, value in weights.items():
        bad = int((~torch.isfinite(value)).sum()) if value.is_floating_point() else 0
        if bad:
            broken[key] = f"{bad} of {value.numel()} values in {key} are NaN or infinite"
        elif key.endswith("running_var") and bool((value < 0).any()):
            broken[key] = f"{key} has a negative variance"
    if broken:
        shown = "; ".join(list(broken.values())[:5])
        more = f"; and {len(broken) - 5} more tensors" if len(broken) > 5 else ""
        raise CheckpointError(
            f"it holds weights that are not numbers: {shown}{more}",
            where=where,
            remedy="training has diverged or the file is damaged: take an earlier checkpoint",
        )
