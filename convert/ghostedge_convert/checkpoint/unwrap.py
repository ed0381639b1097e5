"""From whatever ``torch.save`` was given to a flat mapping of weights.

Training scripts save the ``state_dict`` bare or inside a dictionary with the optimizer, the epoch,
the arguments and the names of the classes, once or twice over, as trained or averaged or both.
What wrappers around the network did to the keys is ``key_names``' to undo.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ghostedge_convert.checkpoint.harmless import NumpyArray
from ghostedge_convert.class_maps import class_labels
from ghostedge_convert.key_names import cleaned, has_averaged_network
from ghostedge_runtime.errors import CheckpointError

WRAPPERS = (
    "state_dict",
    "model",
    "model_state",
    "model_state_dict",
    "net",
    "network",
    "weights",
    "module",
)
EMA_WRAPPERS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
# Lightning writes its version into every checkpoint.
_LIGHTNING = ("pytorch-lightning_version", "lightning_version")
# A wrapper inside a wrapper is seen; one more is nobody's.
_DEPTH = 3


@dataclass(frozen=True)
class Unwrapped:
    """The weights that were found, and what was chosen or ignored on the way.

    Attributes:
        weights: Tensors by ``state_dict`` key.
        prefix: What was taken off the front of every key, such as ``module.``.
        labels: Class names in order, where the file holds a map of them.
        notes: A line each.
        beside: Weights of a Lightning module that stand beside its network, by their full keys.
    """

    weights: dict[str, torch.Tensor]
    prefix: str
    labels: tuple[str, ...] | None
    notes: tuple[str, ...]
    beside: dict[str, torch.Tensor]


def unwrap(content: object, *, ema: bool, where: Path, key_prefix: str | None = None) -> Unwrapped:
    """Find the weights in the content of a file.

    Args:
        content: What the file held.
        ema: Take the moving average of the weights rather than the weights.
        where: The file, for messages.
        key_prefix: What the keys of the wanted network begin with: nothing is chosen by customary
            names of networks then, and the name may be that of an entry with weights.

    Raises:
        CheckpointError: There are no weights inside, or no moving average where asked for.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"it holds a {type(content).__name__}, not weights by name",
            where=where,
            remedy="save the module's state_dict: torch.save(model.state_dict(), path)",
        )
    named = class_labels(content)
    lightning = _is_lightning(content)
    used = named[0] if named else None
    found, notes = _choose(content, ema=ema, where=where, used=used, key_prefix=key_prefix)
    weights = _weights(found)
    if not weights:
        raise CheckpointError(
            f"it holds no weights by name, only {_listed(found) or 'an empty mapping'}",
            where=where,
            remedy=f"wrap the state_dict as one of {', '.join(WRAPPERS)}, or save it bare",
        )
    notes += _of_entries(found, weights, used=used)
    clean = cleaned(weights, lightning=lightning and key_prefix is None, ema=ema)
    if named:
        notes.append(f"took {len(named[1])} class names from {named[0]!r}")
    return Unwrapped(clean.weights, clean.prefix, named[1] if named else None,
                     (*notes, *clean.notes), clean.beside)  # fmt: skip


def _is_lightning(content: Mapping[object, object]) -> bool:
    return any(key in content for key in _LIGHTNING)


def _weights(found: Mapping[object, object]) -> dict[str, torch.Tensor]:
    tensors = {key: _tensor(value) for key, value in found.items() if isinstance(key, str)}
    return {key: value for key, value in tensors.items() if value is not None}


def _tensor(value: object) -> torch.Tensor | None:
    if isinstance(value, NumpyArray):
        return value.tensor
    return value if isinstance(value, torch.Tensor) else None


def _of_entries(
    found: Mapping[object, object], weights: Mapping[str, torch.Tensor], *, used: str | None
) -> list[str]:
    """What the mapping of the weights held besides tensors."""
    notes = []
    arrays = sum(isinstance(found[key], NumpyArray) for key in weights)
    if arrays:
        notes.append(f"{arrays} of its weights were numpy arrays")
    others = [str(key) for key in found if key not in weights and key != used]
    if others:
        notes.append(f"ignored what is not weights: {_listed(others)}")
    return notes


def _choose(
    content: Mapping[object, object],
    *,
    ema: bool,
    where: Path,
    used: str | None,
    key_prefix: str | None,
) -> tuple[Mapping[object, object], list[str]]:
    """The mapping that holds the weights, bare or inside wrappers."""
    if key_prefix is not None and _holds_weights(content.get(key_prefix.partition(".")[0]), 1):
        return _joined(content), []
    plain = _wrapper_in(content, WRAPPERS)
    average = _wrapper_in(content, EMA_WRAPPERS)
    if ema and average is None:
        inside = content if plain is None else content[plain]
        if not (isinstance(inside, Mapping) and has_averaged_network(inside)):
            raise CheckpointError(
                f"it has no averaged weights ({' or '.join(EMA_WRAPPERS)}), only "
                f"{_listed(content)}",
                where=where,
                remedy="leave out --ema",
            )
    chosen = average if average is not None and (ema or plain is None) else plain
    if chosen is None:
        joined = {} if _weights(content) else _joined(content)
        return (joined, []) if joined else (content, [])
    inner, path = _descended(content[chosen], (chosen,))
    notes = [f"took the weights under {' → '.join(map(repr, path))}"]
    if average is not None and chosen != average:
        notes.append(f"it also has averaged weights under {average!r}: --ema takes those")
    others = [key for key in content if key not in (plain, average, used)]
    if others:
        notes.append(f"ignored {_listed(others)}")
    return inner, notes


def _joined(content: Mapping[object, object]) -> dict[object, object]:
    """The weights of all entries that hold some, each key behind its entry's name."""
    return {
        f"{name}.{key}": tensor
        for name, inner in content.items()
        if isinstance(inner, Mapping)
        for key, tensor in _weights(inner).items()
    }


def _descended(
    inner: object, path: tuple[str, ...]
) -> tuple[Mapping[object, object], tuple[str, ...]]:
    """Through wrappers inside the wrapper."""
    if not isinstance(inner, Mapping):  # _wrapper_in has seen that it is
        raise TypeError(path)
    if len(path) < _DEPTH and not _weights(inner):
        further = _wrapper_in(inner, (*WRAPPERS, *EMA_WRAPPERS))
        if further is not None:
            return _descended(inner[further], (*path, further))
    return inner, path


def _wrapper_in(content: Mapping[object, object], names: tuple[str, ...]) -> str | None:
    """The first of the names under which there are weights, else under which is a mapping."""
    mappings = [name for name in names if isinstance(content.get(name), Mapping)]
    return next((n for n in mappings if _holds_weights(content[n])), next(iter(mappings), None))


def _holds_weights(value: object, depth: int = _DEPTH) -> bool:
    if not isinstance(value, Mapping) or depth == 0:
        return False
    if any(_tensor(each) is not None for each in value.values()):
        return True
    return any(_holds_weights(value.get(name), depth - 1) for name in (*WRAPPERS, *EMA_WRAPPERS))


def _listed(names: Iterable[object], most: int = 10) -> str:
    items = [printable(str(name)) for name in names]
    shown = ", ".join(items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown


def printable(text: str, most: int = 120) -> str:
    """A text of a file's for a terminal: no control characters, and not endless."""
    shown = "".join(c if c.isprintable() else "?" for c in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
