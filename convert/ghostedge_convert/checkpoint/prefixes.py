"""Keys of a ``state_dict`` without what wrappers around the network put before them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

import torch

# Put in front of every key by DistributedDataParallel and timm's ModelEmaV2; by Lightning modules,
# which hold the network as an attribute of a customary name; by Lightning Fabric.
PREFIXES = (
    "module.",
    "model.",
    "net.",
    "network.",
    "backbone.",
    "base_model.",
    "_model.",
    "_forward_module.",
)
EMA_PREFIXES = ("ema_model.", "model_ema.", "ema.")
# Put inside keys by torch.compile, FSDP and activation checkpointing, wherever they wrap a layer.
_INFIXES = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
# thop registers these as buffers on every module that it has profiled.
_COUNTERS = ("total_ops", "total_params")
# torch.optim.swa_utils.AveragedModel counts its updates in this one.
_AVERAGED = "n_averaged"

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Cleaned:
    """Weights under their networks' own keys.

    Attributes:
        weights: Tensors by key.
        prefix: What was taken off the front of every key.
        notes: What was renamed or dropped, a line each.
        beside: Weights of a Lightning module that stand beside its network, by their full keys.
    """

    weights: Weights
    prefix: str
    notes: tuple[str, ...]
    beside: Weights


def cleaned(weights: Weights, *, lightning: bool, ema: bool) -> Cleaned:
    """Drop wrappers' prefixes, profilers' counters and, of a Lightning module, what is no network.

    Args:
        weights: Tensors by key.
        lightning: They are of a Lightning module, which may hold losses and metrics as well.
        ema: Of a Lightning module that holds both, take the averaged network.
    """
    notes: list[str] = []
    weights = _without_infixes(weights, notes)
    weights = _without_counters(weights, notes)
    taken = ""
    beside: Weights = {}
    if lightning:
        taken, weights, beside = _network_of(weights, notes, ema=ema)
    while prefix := next((p for p in PREFIXES if weights and _all_start(weights, p)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
        notes.append(f"dropped the prefix {prefix!r} of every key")
        taken += prefix
    return Cleaned(weights, taken, tuple(notes), beside)


def under_keys_of(
    weights: Mapping[str, torch.Tensor], prefix: str, needed: Container[str]
) -> Weights:
    """The weights with as much of the dropped prefix back as a network of one's own has itself.

    Args:
        weights: Tensors by key, as ``cleaned`` leaves them.
        prefix: What it took off.
        needed: The network's keys.
    """
    parts = [f"{part}." for part in prefix.split(".") if part]
    tails = ["".join(parts[start:]) for start in range(len(parts), -1, -1)]
    fits = (tail for tail in tails if any(tail + key in needed for key in weights))
    tail = next(fits, None)
    if tail is None:
        return without_common_prefix(weights, needed)
    return {tail + key: value for key, value in weights.items()}


def without_common_prefix(weights: Mapping[str, torch.Tensor], needed: Container[str]) -> Weights:
    """The weights without the names before every key that keep them from being a network's.

    Returns:
        The weights as they are, where no common prefix does.
    """
    short = dict(weights)
    while len({key.partition(".")[0] for key in short}) == 1 and all("." in key for key in short):
        short = {key.partition(".")[2]: value for key, value in short.items()}
        if any(key in needed for key in short):
            return short
    return dict(weights)


def has_averaged_network(weights: Mapping[object, object]) -> bool:
    """Whether some keys begin as those of an averaged network inside a Lightning module do."""
    return any(isinstance(key, str) and key.startswith(EMA_PREFIXES) for key in weights)


def _all_start(weights: Weights, prefix: str) -> bool:
    return all(key.startswith(prefix) and key != prefix for key in weights)


def _most_start(weights: Weights, prefix: str, *, but: str | None) -> bool:
    """Whether at least half of the keys do that do not start with another prefix."""
    counted = [key for key in weights if but is None or not key.startswith(but)]
    matching = sum(key.startswith(prefix) for key in counted)
    return 0 < len(counted) <= 2 * matching


def _without_infixes(weights: Weights, notes: list[str]) -> Weights:
    for infix in _INFIXES:
        renamed = {key.replace(infix, ""): value for key, value in weights.items()}
        if len(renamed) == len(weights) and renamed.keys() != weights.keys():
            weights = renamed
            notes.append(f"dropped {infix!r} from the keys")
    return weights


def _without_counters(weights: Weights, notes: list[str]) -> Weights:
    left = dict.fromkeys(_COUNTERS, 0)
    for key in weights:
        leaf = key.rpartition(".")[2]
        if leaf in left:
            left[leaf] += 1
    counters = ", ".join(f"{name} ×{count}" for name, count in left.items() if count)
    if counters:
        notes.append(f"dropped the counters that thop left: {counters}")
        weights = {k: v for k, v in weights.items() if k.rpartition(".")[2] not in left}
    if _AVERAGED in weights:
        notes.append(f"dropped {_AVERAGED}, the count of updates of an averaged model")
        weights = {k: v for k, v in weights.items() if k != _AVERAGED}
    return weights


def _network_of(weights: Weights, notes: list[str], *, ema: bool) -> tuple[str, Weights, Weights]:
    """The keys under one customary prefix where there are others too, without that prefix.

    Returns:
        The prefix, the weights under it, and those beside it that are of no such network.
    """
    average = next((p for p in EMA_PREFIXES if any(k.startswith(p) for k in weights)), None)
    plain = next((p for p in PREFIXES if _most_start(weights, p, but=average)), None)
    prefix = average if ema or plain is None else plain
    if prefix is None or (prefix in PREFIXES and _all_start(weights, prefix)):
        return "", weights, {}
    network = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    notes.append(f"took the network under {prefix!r}")
    if average is not None and prefix != average:
        notes.append(f"it also has an averaged network under {average!r}: --ema takes that")
    networks = tuple(p for p in (average, plain) if p is not None)
    beside = {key: value for key, value in weights.items() if not key.startswith(networks)}
    return prefix, network, beside
