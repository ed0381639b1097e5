"""Which of the networks in a file is taken, and the prefix of its keys.

A network that is a part of another module has that part's name before all its keys. Where a file
holds two, as distillation and self-supervised training leave them, their names show which is the
trained one; the classifier may stand outside, beside the network.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import NoReturn

from torch import Tensor

from ghostedge_convert.architectures.family import shapes_of
from ghostedge_convert.architectures.keys import listed
from ghostedge_convert.architectures.table import FAMILIES, recognise_family
from ghostedge_convert.checkpoint.unwrap import Unwrapped
from ghostedge_runtime.errors import CheckpointError

FLAG = "--key-prefix"
# Parts of names, split at dots and underscores, of the network that is trained and of its copy.
_STUDENT = {"student", "online", "query", "q"}
_AVERAGE = {"ema", "averaged", "average", "swa", "shadow"}
_TEACHER = {"teacher", "target", "momentum", "key", "k", *_AVERAGE}
# What a training module holds besides, and no network computes with.
_OF_TRAINING = re.compile(r"^\w*(criterion|loss|metric|accuracy|acc|confusion)\w*\.")
_HEAD = re.compile(r"(^|\.)\w*(head|fc|classifier|linear|logits|out|output)\w*(\.|$)")


@dataclass(frozen=True)
class Chosen:
    """One network's weights.

    Attributes:
        weights: Tensors by key, and after them those outside of which its classifier may be.
        prefix: What was taken off the front of the network's keys.
        notes: What was chosen and ignored, a line each.
    """

    weights: dict[str, Tensor]
    prefix: str = ""
    notes: tuple[str, ...] = ()


def choose_network(
    weights: Mapping[str, Tensor],
    unwrapped: Unwrapped,
    *,
    where: str,
    key_prefix: str | None = None,
    ema: bool = False,
) -> Chosen:
    """The weights of one network of the family, without the prefix before them.

    Args:
        weights: Tensors by key, those that stand beside the network among them.
        unwrapped: What the weights were: which keys stand beside the network, and the prefix that
            was taken off every key, with which ``key_prefix`` may begin.
        where: The file, for messages.
        key_prefix: What the keys of the wanted network begin with; a dot at its end may be left
            out.
        ema: Of networks of which one is an average, take that.

    Returns:
        Its weights; all of the weights where none is of the family, for detection to refuse.

    Raises:
        CheckpointError: Several networks fit and nothing shows which is meant, no key begins with
            ``key_prefix``, or layers stand beside a whole network that may be computed with.
    """
    beside = unwrapped.beside.keys() - unwrapped.weights.keys()
    dropped = unwrapped.prefix
    prefixes = _prefixes(weights)
    if key_prefix is None:
        wanted = prefixes
    else:
        wanted = _under(key_prefix, prefixes, weights, where, dropped)
    if not wanted or (prefixes == [""] and not beside):
        inside = {key: value for key, value in weights.items() if key not in beside}
        return Chosen(inside, notes=tuple(ignored(beside)))
    prefix = _preferred(wanted, ema=ema)
    if prefix is None:
        shown = ", ".join(map(repr, wanted))
        choices = " or ".join(f"{FLAG} {option.rstrip('.')}" for option in wanted if option)
        raise CheckpointError(
            f"it holds several networks, under {shown}, and nothing tells which is meant",
            where=where,
            remedy=f"choose one: {choices}",
        )
    chosen = _split(weights, prefix, [sibling for sibling in prefixes if sibling != prefix], beside)
    doubtful = chosen.doubtful()
    if doubtful and key_prefix is None:
        _refuse_beside(doubtful, dropped + prefix, where)
    return chosen.taken()


@dataclass(frozen=True)
class _Split:
    """A network's own weights, and what is outside it and of no sibling."""

    own: dict[str, Tensor]
    outside: dict[str, Tensor]
    prefix: str
    siblings: list[str]
    beside: Collection[str]

    def spare(self) -> dict[str, Tensor]:
        """What is outside and may be computed with."""
        return {key: value for key, value in self.outside.items() if _may_compute(key, value)}

    def doubtful(self) -> list[str]:
        """What is outside of a whole network and may be computed with all the same.

        Beside a teacher, and in a Lightning module, training has layers of its own.
        """
        classes = _own_classes(self.own)
        if classes is None:
            return []
        return [
            key
            for key, value in self.spare().items()
            if not (self.siblings or key in self.beside) or _is_head(key, value, classes)
        ]

    def taken(self) -> Chosen:
        """The network, with what is outside and may be its classifier."""
        head = self.spare() if _own_classes(self.own) is None else {}
        notes = [
            *_taken(self.prefix, self.siblings, everything=not self.outside),
            *ignored(self.outside.keys() - head.keys()),
        ]
        return Chosen({**self.own, **head}, self.prefix, tuple(notes))


def _split(
    weights: Mapping[str, Tensor], prefix: str, siblings: list[str], beside: Collection[str]
) -> _Split:
    inner = tuple(sibling for sibling in siblings if sibling.startswith(prefix))
    apart = tuple(_root(sibling, prefix) for sibling in siblings if sibling not in inner)
    own, outside = {}, {}
    for key, value in weights.items():
        if key.startswith(prefix) and not key.startswith(inner) and key not in beside:
            own[key.removeprefix(prefix)] = value
        elif not key.startswith((*inner, *apart)):
            outside[key] = value
    return _Split(own, outside, prefix, siblings, beside)


def ignored(keys: Iterable[str]) -> list[str]:
    """A note of the parts that stand beside a network, by their first names; none where none do."""
    parts = sorted({key.partition(".")[0] for key in keys})
    return [f"ignored the module's {', '.join(parts)}"] if parts else []


def keys_under(
    weights: Mapping[str, Tensor], key_prefix: str, where: str, dropped: str = ""
) -> dict[str, Tensor]:
    """The weights whose keys begin with a prefix, without it, whatever network they are of.

    Raises:
        CheckpointError: No key begins with it.
    """
    prefix = _dotted(key_prefix, dropped)
    under = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    if not under:
        _refuse_prefix(key_prefix, weights, where)
    return under


def _prefixes(weights: Mapping[str, Tensor]) -> list[str]:
    """What stands before the keys of each network of the family."""
    keys = sorted(weights)
    prefixes: list[str] = []
    for first in dict.fromkeys(family.first for family in FAMILIES.values()):
        for key in weights:
            prefix = key.removesuffix(first)
            if prefix == key or (prefix and not prefix.endswith(".")):
                continue
            recognised = recognise_family(_shapes_under(prefix, keys, weights))
            if recognised is not None and recognised[0].first == first:
                prefixes.append(prefix)
    return prefixes


def _shapes_under(
    prefix: str, keys: list[str], weights: Mapping[str, Tensor]
) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights whose keys, in order, begin with a prefix, without it."""
    start = bisect_left(keys, prefix)
    inside = takewhile(lambda key: key.startswith(prefix), islice(keys, start, None))
    return {key.removeprefix(prefix): tuple(weights[key].shape) for key in inside}


def _under(
    key_prefix: str,
    prefixes: list[str],
    weights: Mapping[str, Tensor],
    where: str,
    dropped: str,
) -> list[str]:
    wanted = _dotted(key_prefix, dropped)
    if not any(key.startswith(wanted) for key in weights):
        _refuse_prefix(key_prefix, weights, where, prefixes)
    matches = [prefix for prefix in prefixes if prefix.startswith(wanted)]
    if not matches:
        raise CheckpointError(
            f"there is no network of the family under {key_prefix!r}",
            where=where,
            remedy=_networks_in(prefixes),
        )
    return matches


def _dotted(key_prefix: str, dropped: str) -> str:
    """The prefix as the keys have it of which another was dropped."""
    wanted = key_prefix.rstrip(".") + "."
    return "" if dropped.startswith(wanted) else wanted.removeprefix(dropped)


def _refuse_prefix(
    key_prefix: str, weights: Mapping[str, Tensor], where: str, prefixes: Collection[str] = ()
) -> NoReturn:
    first = sorted({key.partition(".")[0] for key in weights})
    raise CheckpointError(
        f"no key begins with {key_prefix!r}: they begin with {listed(first)}",
        where=f"{where}, {FLAG}",
        remedy=_networks_in(prefixes),
    )


def _networks_in(prefixes: Collection[str]) -> str:
    named = [prefix.rstrip(".") for prefix in prefixes if prefix]
    return f"pass one of {', '.join(named)}" if named else "leave it out"


def _preferred(prefixes: list[str], *, ema: bool) -> str | None:
    """The network that is meant by the names in its prefix, None where they do not show it."""
    names = {prefix: _names(prefix) for prefix in prefixes}
    averages = [p for p in prefixes if names[p] & _AVERAGE]
    students = [p for p in prefixes if names[p] & _STUDENT and not names[p] & _TEACHER]
    others = [p for p in prefixes if not names[p] & _TEACHER]
    for group in ([averages] if ema else []) + [students, others, prefixes]:
        if len(group) == 1:
            return group[0]
    return None


def _names(prefix: str) -> set[str]:
    return set(re.split(r"[._]", prefix.lower()))


def _root(sibling: str, prefix: str) -> str:
    """The sibling's prefix up to the first name in which it differs from the network's."""
    names, own = sibling.split("."), prefix.split(".")
    same = next((n for n, name in enumerate(names) if n >= len(own) or name != own[n]), len(names))
    return "".join(f"{name}." for name in names[: same + 1] if name)


def _taken(prefix: str, siblings: list[str], *, everything: bool) -> list[str]:
    if not prefix and not siblings:
        return []
    if everything and not siblings:
        return [f"dropped the prefix {prefix!r} of every key"]
    note = f"took the network under {prefix!r}" if prefix else "took the network without a prefix"
    named = [sibling.rstrip(".") for sibling in siblings if sibling]
    others = [f"it also has one under {name!r}: {FLAG} {name} takes that" for name in named]
    return [note, *others]


def _may_compute(key: str, value: Tensor) -> bool:
    """Whether it may be of a layer, and is not of a loss, a metric, a counter or a teacher."""
    if value.ndim == 0 or not value.is_floating_point():
        return False
    return not _OF_TRAINING.match(key) and not _names(key.partition(".")[0]) & _TEACHER


def _own_classes(own: Mapping[str, Tensor]) -> int | None:
    """How many classes a network scores by its own classifier; None where it has none."""
    recognised = recognise_family(shapes_of(own))
    weight = None if recognised is None else own.get(recognised[0].classifier)
    return None if weight is None or not weight.ndim else int(weight.shape[0])


def _is_head(key: str, value: Tensor, classes: int) -> bool:
    """Whether it may be the weight of a classifier, or of a layer on another's scores."""
    return value.ndim == 2 and (_HEAD.search(key) is not None or value.shape[1] == classes)


def _refuse_beside(keys: list[str], prefix: str, where: str) -> NoReturn:
    raise CheckpointError(
        f"beside a whole network under {prefix!r} it has {listed(keys)}, and nothing tells whether "
        "that is computed with",
        where=where,
        remedy=f"take the network alone by {FLAG} {prefix.rstrip('.')}, or make the whole with "
        "--factory FILE.py:FUNCTION",
    )
