"""Weights under their family's own keys, and what is wrong with those that do not fit a network.

Whoever trains a network for classes of their own replaces its classifier, often by one in a
`Sequential` behind a dropout or under another name. Where the shapes leave no doubt that it is one
dense layer on the network's features, it is the family's classifier under another key. A head of
other layers is refused: a module of the family does not compute them. Errors name the likeliest
mistakes first.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from torch import Tensor, nn

from ghostedge_convert.architectures.family import (
    Family,
    Form,
    empty_network,
    expected_shapes,
    shapes_of,
)
from ghostedge_runtime.errors import CheckpointError

_SHOWN = 6
# Closest matches are sought for so many keys, among so many: each pair costs a comparison.
_COMPARED = 24
_AMONG = 256
_OPTIONAL = "num_batches_tracked"
_WITH_FACTORY = "make your network with --factory FILE.py:FUNCTION, and pass this file with it"
# torch.ao's fused modules for training hold the batch norm inside the convolution.
_INSIDE_CONV = re.compile(r"(.+)\.bn\.(\w+)")


@dataclass(frozen=True)
class OwnWeights:
    """Weights of a family.

    Attributes:
        weights: Tensors by the family's keys.
        form: How they are stored.
        notes: What was renamed, a line each.
    """

    weights: dict[str, Tensor]
    form: Form
    notes: tuple[str, ...]


def own_weights(weights: Mapping[str, Tensor], family: Family, where: str) -> OwnWeights:
    """Bring weights under a family's own keys.

    Args:
        weights: Tensors by key.
        family: What they are of.
        where: The file, for messages.

    Raises:
        CheckpointError: All of the network is there but its classifier, and that is not one dense
            layer with a bias on the network's features.
    """
    own = family.own(weights)
    count = len(weights) - len(own)
    unused = [f"{count} weights are never used by its authors' code, and left out"] if count else []
    shapes = shapes_of(own)
    form = family.form_of(shapes)
    like = family.sizes.like(shapes)
    expected = expected_shapes(form, like, 1000)
    own, unfused = _unfused(own, empty_network(form, like, 1000), expected)
    own, renamed = _with_own_head(own, family, expected, where)
    return OwnWeights(own, form, (*unused, *unfused, *renamed))


def _unfused(
    weights: dict[str, Tensor], network: nn.Module, expected: Mapping[str, object]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The batch norms inside fused convolutions under the keys of those that follow them."""
    norms: dict[str, str] = {}
    conv = ""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            conv = name
        elif isinstance(module, nn.BatchNorm2d) and conv:
            norms[conv], conv = name, ""
    renamed = {}
    for key in weights:
        match = _INSIDE_CONV.fullmatch(key)
        if key not in expected and match is not None and match[1] in norms:
            renamed[key] = f"{norms[match[1]]}.{match[2]}"
    if not renamed or any(key in weights for key in renamed.values()):
        return weights, ()
    count = len({key.rpartition(".")[0] for key in renamed})
    note = f"took {count} batch norms out of the convolutions that torch.ao fused them into"
    return {renamed.get(key, key): value for key, value in weights.items()}, (note,)


def _with_own_head(
    weights: dict[str, Tensor], family: Family, expected: Mapping[str, tuple[int, ...]], where: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights with their classifier under the family's key, where it is another's."""
    own = family.classifier.removesuffix(".weight")
    trunk = expected.keys() - {family.classifier, f"{own}.bias"}
    head = {key: value for key, value in weights.items() if key not in trunk}
    dense = [key for key, value in head.items() if _is_dense(key, value)]
    lacks = [k for k in trunk if k not in weights and not k.endswith(_OPTIONAL)]
    if not lacks and not head:
        raise CheckpointError(
            f"it is all of a {family.title} but its classifier, {family.classifier}",
            where=where,
            remedy=f"pass a file with both, or as an embedding {_WITH_FACTORY}",
        )
    if lacks or not dense:
        return weights, ()  # another network's, or of a wrong shape: refused by what follows
    features = expected[family.classifier][1]
    if len(dense) > 1 or not _is_layer(head, dense[0], features):
        if _is_layer({k: v for k, v in head.items() if k in expected}, family.classifier, features):
            return weights, ()  # all there, and more, which is refused by what follows
        _refuse_head(head, dense, features, family, where)
    name, weight = dense[0].removesuffix(".weight"), head[dense[0]]
    if name == own and weight.ndim == 2:
        return weights, ()
    mapped = {family.classifier: weight.flatten(1), f"{own}.bias": head[f"{name}.bias"]}
    rest = {key: value for key, value in weights.items() if key not in head}
    note = f"took {name} for the classifier: it is {times(weight.shape)}, with a bias"
    return {**rest, **mapped}, (note,)


def _is_dense(key: str, value: Tensor) -> bool:
    """Whether it is the weight of a dense layer, or of a 1×1 convolution that is one."""
    shape = tuple(value.shape)
    return key.endswith("weight") and (len(shape) == 2 or (len(shape), shape[2:]) == (4, (1, 1)))


def _is_layer(head: Mapping[str, Tensor], key: str, features: int) -> bool:
    """Whether a head is this one layer on the network's features, with a bias, and nothing else."""
    bias = f"{key.removesuffix('weight')}bias"
    if set(head) != {key, bias}:
        return False
    classes = head[key].shape[0]
    return classes > 0 and head[key].shape[1] == features and head[bias].shape == (classes,)


def _refuse_head(
    head: Mapping[str, Tensor], dense: list[str], features: int, family: Family, where: str
) -> NoReturn:
    layers = listed([f"{key} is {times(head[key].shape)}" for key in dense])
    others = [key for key in head if key not in dense and not key.endswith("bias")]
    beside = f", beside {listed(others)}" if others else ""
    if len(dense) > 1 or others:
        what = f"its classifier is more than one dense layer: {layers}{beside}"
    elif head[dense[0]].shape[1] != features:
        what = f"its classifier reads other than the {features} features of the network: {layers}"
    else:
        what = f"its classifier has no bias of its own, as one of cosines has none: {layers}"
    raise CheckpointError(
        f"{what}; a {family.title} ends in one, {family.classifier}, classes × {features}",
        where=where,
        remedy=_WITH_FACTORY,
    )


def times(shape: Sequence[int]) -> str:
    """A shape as messages put it: ``10 × 1280``."""
    return " × ".join(map(str, shape)) or "a scalar"


def refuse_keys(keys: Collection[str], expected: Collection[str], title: str, where: str) -> None:
    """Raise where keys are missing or surplus; counters of batches may be missing.

    Raises:
        CheckpointError: Pairs each missing key with the surplus key most like it.
    """
    missing = [key for key in expected if key not in keys and not key.endswith(_OPTIONAL)]
    surplus = [key for key in keys if key not in expected]
    if not missing and not surplus:
        return
    prefix = _shared_prefix(surplus, missing)
    if prefix:
        raise CheckpointError(
            f"every key of the {title} has {prefix!r} before it: {listed(surplus)}",
            where=where,
            remedy=f"remove the prefix {prefix!r} from the keys",
        )
    matching = len(keys) - len(surplus)
    if matching < len(expected) / 2:
        raise CheckpointError(
            f"these are not the weights of a {title}: {matching} of {len(keys)} keys are its own; "
            f"the file has {listed(surplus)}; missing are {_pairs(missing, surplus)}",
            where=where,
            remedy=f"pass a {title} checkpoint",
        )
    parts = []
    if missing:
        parts.append(f"{len(missing)} weights are missing: {_pairs(missing, surplus)}")
    if surplus:
        parts.append(f"{len(surplus)} are surplus: {listed(surplus)}")
    raise CheckpointError(
        f"these are not quite the weights of a {title}; {'; '.join(parts)}",
        where=where,
        remedy="rename or remove the keys, or save the checkpoint from an unchanged network",
    )


def refuse_shapes(
    shapes: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
    member: str,
    where: str,
    *,
    remedy: str,
) -> None:
    """Raise where a weight is not of the shape that the network needs.

    Args:
        shapes: In the file, by key.
        expected: Those of the network.
        member: What the network is called.
        where: The file.
        remedy: What to do about it.

    Raises:
        CheckpointError: Shows the shapes in the file and those needed.
    """
    wrong = [key for key in expected if key in shapes and shapes[key] != expected[key]]
    if not wrong:
        return
    shown = "; ".join(f"{k} is {shapes[k]}, needs {expected[k]}" for k in wrong[:_SHOWN])
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    raise CheckpointError(
        f"{len(wrong)} weights have other shapes than {member}'s: {shown}{more}",
        where=where,
        remedy=remedy,
    )


def _shared_prefix(surplus: Sequence[str], missing: Sequence[str]) -> str:
    """What stands before every surplus key and would make each of them a missing one."""
    if not surplus or not missing:
        return ""
    for key in missing:
        if surplus[0].endswith(f".{key}"):
            prefix = surplus[0].removesuffix(key)
            rest = {k.removeprefix(prefix) for k in surplus}
            if rest.issuperset(missing):
                return prefix
    return ""


def _pairs(missing: Sequence[str], surplus: Sequence[str]) -> str:
    """The missing keys, each with its closest surplus key, the closest pairs first."""
    ranked = []
    for key in missing[:_COMPARED]:
        close = difflib.get_close_matches(key, surplus[:_AMONG], n=1, cutoff=0.7)
        score = difflib.SequenceMatcher(None, key, close[0]).ratio() if close else 0.0
        ranked.append((score, f"{key} (the file has {close[0]})" if close else key))
    ranked.sort(key=lambda pair: -pair[0])
    return listed([text for _, text in ranked], of=len(missing))


def listed(items: Sequence[str], *, of: int | None = None) -> str:
    """The first of the items, and how many more there are, of these or of ``of`` in all."""
    total = len(items) if of is None else of
    shown = ", ".join(items[:_SHOWN]) or "none"
    return f"{shown} and {total - _SHOWN} more" if total > _SHOWN else shown
