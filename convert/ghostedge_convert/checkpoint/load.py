"""A weights file becomes a ``Checkpoint``: float32 tensors by name, and what stood beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import torch

from ghostedge_convert.checkpoint.config import CheckpointConfig
from ghostedge_convert.checkpoint.networks import Chosen, choose_network, ignored, keys_under
from ghostedge_convert.checkpoint.plain_weights import plain_weights, without_observers
from ghostedge_convert.checkpoint.unwrap import Unwrapped, unwrap
from ghostedge_convert.embedded_config import own_config
from ghostedge_convert.files import SUFFIXES, read_weights_file
from ghostedge_convert.zips import refuse_unpacked
from ghostedge_runtime.errors import CheckpointError
from ghostedge_runtime.metadata import Source


@dataclass(frozen=True)
class Checkpoint:
    """Weights as trained.

    Attributes:
        weights: Finite tensors by ``state_dict`` key; floating ones are float32.
        config: What the ``config.json`` beside the file says, or None where there is none.
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

    Takes a bare ``state_dict`` or one inside the wrappers of ``wrappers``, with or without the
    prefixes of ``key_names``. What the file does not say of classes and preprocessing, the
    ``config.json`` beside it does, where there is one; that comes first where both do. Pickles are
    loaded with ``weights_only=True``, which runs no code of the file's. Of a network of the family
    whatever prefix its keys have is dropped, and what pruning, weight norm, spectral norm and
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
    config, said = own_config(path, file.metadata, unwrapped.labels)
    return Checkpoint(
        weights=weights,
        config=config,
        source=Source(path.name, hashlib.sha256(data).hexdigest()),
        prefix=unwrapped.prefix + chosen.prefix,
        notes=(*file.notes, *unwrapped.notes, *chosen.notes, *notes, *said),
    )


def _family_network(
    unwrapped: Unwrapped, where: Path, key_prefix: str | None, *, ema: bool
) -> Chosen:
    """The plain weights of one network of the family."""
    weights, dropped = without_observers({**unwrapped.beside, **unwrapped.weights})
    weights, computed = plain_weights(weights, str(where))
    chosen = choose_network(
        weights,
        beside=unwrapped.beside.keys() - unwrapped.weights.keys(),
        where=str(where),
        key_prefix=key_prefix,
        ema=ema,
        dropped=unwrapped.prefix,
    )
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
