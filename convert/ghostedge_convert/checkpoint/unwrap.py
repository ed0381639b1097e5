"""From whatever ``torch.save`` was given to a flat mapping of weights.

Training scripts save the ``state_dict`` bare or inside a dictionary with the optimizer, the epoch,
the arguments and the names of the classes, once or twice over, as trained or averaged or both. The
names of the classes are kept; prefixes of the keys are dropped by ``prefixes``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ghostedge_convert.checkpoint.prefixes import cleaned, has_averaged_network
from ghostedge_convert.checkpoint.stand_ins import NumpyArray
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
# Wrappers inside wrappers are seen in the wild, not deeper than this.
_DEPTH = 3
# torchvision's ImageFolder calls it class_to_idx; the others are seen in training scripts.
CLASS_MAPS = (
    "class_to_idx",
    "class_map",
    "class_names",
    "classes",
    "idx_to_class",
    "id2label",
    "label2id",
    "label_map",
    "label_names",
    "labels",
    "names",
)


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
    mapping, notes = _choose(content, ema=ema, where=where, used=used, key_prefix=key_prefix)
    weights = _weights(mapping)
    if not weights:
        raise CheckpointError(
            f"it holds no weights by name, only {listed(mapping) or 'an empty mapping'}",
            where=where,
            remedy=f"wrap the state_dict as one of {', '.join(WRAPPERS)}, or save it bare",
        )
    notes += _of_entries(mapping, weights, used=used)
    clean = cleaned(weights, lightning=lightning and key_prefix is None, ema=ema)
    if named:
        notes.append(f"took {len(named[1])} class names from {named[0]!r}")
    return Unwrapped(
        weights=clean.weights,
        prefix=clean.prefix,
        labels=named[1] if named else None,
        notes=(*notes, *clean.notes),
        beside=clean.beside,
    )


def _is_lightning(content: Mapping[object, object]) -> bool:
    return any(key in content for key in _LIGHTNING)


def _weights(mapping: Mapping[object, object]) -> dict[str, torch.Tensor]:
    tensors = {key: _tensor(value) for key, value in mapping.items() if isinstance(key, str)}
    return {key: value for key, value in tensors.items() if value is not None}


def _tensor(value: object) -> torch.Tensor | None:
    if isinstance(value, NumpyArray):
        return value.tensor
    return value if isinstance(value, torch.Tensor) else None


def _of_entries(
    mapping: Mapping[object, object], weights: Mapping[str, torch.Tensor], *, used: str | None
) -> list[str]:
    """What the mapping of the weights held besides tensors."""
    notes = []
    arrays = sum(isinstance(mapping[key], NumpyArray) for key in weights)
    if arrays:
        notes.append(f"{arrays} of its weights were numpy arrays")
    others = [str(key) for key in mapping if key not in weights and key != used]
    if others:
        notes.append(f"ignored what is not weights: {listed(others)}")
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
                f"it has no averaged weights ({' or '.join(EMA_WRAPPERS)}), only {listed(content)}",
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
        notes.append(f"ignored {listed(others)}")
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
    if any(_tensor(entry) is not None for entry in value.values()):
        return True
    return any(_holds_weights(value.get(name), depth - 1) for name in (*WRAPPERS, *EMA_WRAPPERS))


def listed(names: Iterable[object], most: int = 10) -> str:
    """The first of a file's names, for a terminal, and how many more there are."""
    items = [printable(str(name)) for name in names]
    shown = ", ".join(items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown


def printable(text: str, most: int = 120) -> str:
    """A text of a file's for a terminal: no control characters, and not endless."""
    shown = "".join(c if c.isprintable() else "?" for c in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def class_labels(content: Mapping[Any, object]) -> tuple[str, tuple[str, ...]] | None:
    """The first entry that names classes 0 to N - 1, and those names in order.

    An entry counts where it is a list of texts, or a mapping between texts and every index from 0,
    in either direction; anything else under these names is left alone.
    """
    for key in CLASS_MAPS:
        labels = _in_order(content.get(key))
        if labels:
            return key, labels
    return None


def _in_order(value: object) -> tuple[str, ...] | None:
    if isinstance(value, Mapping):
        by_index = {_index(k): v for k, v in value.items()}
        if set(by_index) != set(range(len(value))):
            by_index = {_index(v): k for k, v in value.items()}
        if set(by_index) != set(range(len(value))):
            return None
        value = [by_index[i] for i in range(len(value))]
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        return None
    return tuple(value) if all(isinstance(name, str) and name for name in value) else None


def _index(value: object) -> int | None:
    """The whole number that it is or, as JSON's keys do, spells."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return None
