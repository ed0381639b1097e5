"""From whatever ``torch.save`` was given to a flat mapping of weights.

Training scripts save the ``state_dict`` bare or inside a dictionary with the optimizer and the
epoch, from a module that may be wrapped for distributed training or compilation, and profilers
leave counters among the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ghostedge_runtime.errors import CheckpointError

WRAPPERS = ("state_dict", "model", "model_state", "model_state_dict")
EMA_WRAPPERS = ("state_dict_ema", "model_ema")
# DistributedDataParallel's and torch.compile's.
PREFIXES = ("module.", "_orig_mod.")
# thop registers these as buffers on every module that it has profiled.
_LEFTOVERS = ("total_ops", "total_params")


@dataclass(frozen=True)
class Unwrapped:
    """The weights that were found, and what was chosen or ignored on the way."""

    weights: dict[str, torch.Tensor]
    notes: tuple[str, ...]


def unwrap(content: object, *, ema: bool, where: Path) -> Unwrapped:
    """Find the weights in the content of a file.

    Args:
        content: What the file held.
        ema: Take the moving average of the weights rather than the weights.
        where: The file, for messages.

    Raises:
        CheckpointError: There are no weights inside, or no moving average where asked for.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"it holds a {type(content).__name__}, not weights by name",
            where=where,
            remedy="save the module's state_dict: torch.save(model.state_dict(), path)",
        )
    found, notes = _choose(content, ema=ema, where=where)
    weights = {
        key: value
        for key, value in found.items()
        if isinstance(key, str) and isinstance(value, torch.Tensor)
    }
    if not weights:
        raise CheckpointError(
            f"it holds no weights by name, only {_listed(found) or 'an empty mapping'}",
            where=where,
            remedy=f"wrap the state_dict as one of {', '.join(WRAPPERS)}, or save it bare",
        )
    others = [str(key) for key in found if key not in weights]
    if others:
        notes.append(f"ignored what is not weights: {_listed(others)}")
    return _cleaned(weights, notes)


def _choose(
    content: Mapping[object, object], *, ema: bool, where: Path
) -> tuple[Mapping[object, object], list[str]]:
    """The mapping that holds the weights, bare or inside a wrapper."""
    plain = _wrapper_in(content, WRAPPERS)
    average = _wrapper_in(content, EMA_WRAPPERS)
    if ema and average is None:
        raise CheckpointError(
            f"it has no averaged weights ({' or '.join(EMA_WRAPPERS)}), only {_listed(content)}",
            where=where,
            remedy="leave out --ema",
        )
    chosen = average if ema or plain is None else plain
    if chosen is None:
        return content, []
    inner = content[chosen]
    if not isinstance(inner, Mapping):  # _wrapper_in has seen that it is
        raise TypeError(chosen)
    notes = [f"took the weights under {chosen!r}"]
    if average is not None and chosen != average:
        notes.append(f"it also has averaged weights under {average!r}: --ema takes those")
    others = [key for key in content if key not in (plain, average)]
    if others:
        notes.append(f"ignored {_listed(others)}")
    return inner, notes


def _wrapper_in(content: Mapping[object, object], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if isinstance(content.get(name), Mapping)), None)


def _cleaned(weights: dict[str, torch.Tensor], notes: list[str]) -> Unwrapped:
    """Without wrappers' prefixes and profilers' counters."""
    while prefix := next((p for p in PREFIXES if all(k.startswith(p) for k in weights)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
        notes.append(f"dropped the prefix {prefix!r} of every key")
    kept = {k: v for k, v in weights.items() if k.rpartition(".")[2] not in _LEFTOVERS}
    if len(kept) < len(weights):
        notes.append(f"ignored {len(weights) - len(kept)} counters that a profiler left")
    return Unwrapped(kept, tuple(notes))


def _listed(names: object, most: int = 6) -> str:
    items = [str(name) for name in names] if isinstance(names, (list, Mapping)) else []
    shown = ", ".join(items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown
