"""Plain weights out of what ``torch.nn.utils`` and quantization-aware training keep of them.

Pruning, weight norm and spectral norm store a weight in parts that the module multiplies in every
forward pass; the product, as evaluation mode has it, is the weight that is converted. Observers and
fake quantization stand beside the weights and are of no use to a float network: its own int8 ranges
are measured again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ghostedge_runtime.errors import CheckpointError

Weights = Mapping[str, Tensor]

# The modules that torch.ao and pytorch-quantization put beside a layer, by their customary names;
# others are known by the flags that every FakeQuantize has, or by an observer's two ranges.
_OBSERVER = re.compile(
    r"(^|\.)(\w*activation_post_process(_\d+)?|weight_fake_quant|\w*fake_quant(ize)?(_\d+)?|"
    r"_?(input|weight|output)_quantizer|\w*observer(_\d+)?)\."
)
_FLAGS = ("fake_quant_enabled", "observer_enabled")
_RANGES = ("min_val", "max_val")
_OF_AN_OBSERVER = frozenset((*_FLAGS, *_RANGES, "scale", "zero_point", "eps", "histogram"))


def without_observers(weights: Weights) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights without the observers and fake quantizers of quantization-aware training.

    Returns:
        What is left, and a note where something was dropped.
    """
    leaves: dict[str, set[str]] = {}
    for key in weights:
        parent, _, leaf = key.rpartition(".")
        leaves.setdefault(parent, set()).add(leaf)
    quantizers = tuple(
        f"{parent}." if parent else ""
        for parent, names in leaves.items()
        if not names.isdisjoint(_FLAGS) or names.issuperset(_RANGES)
    )

    def is_dropped(key: str) -> bool:
        leaf = key.rpartition(".")[2]
        beside = leaf in _OF_AN_OBSERVER and key.removesuffix(leaf) in quantizers
        return beside or _OBSERVER.search(key) is not None

    plain = {key: value for key, value in weights.items() if not is_dropped(key)}
    dropped = len(weights) - len(plain)
    if not dropped:
        return plain, ()
    return plain, (
        f"dropped {dropped} values of observers and fake quantization; the float weights were "
        "taken, and int8 measures its own ranges",
    )


@dataclass(frozen=True)
class _Kind:
    """A way in which ``torch.nn.utils`` stores a weight.

    Attributes:
        title: What it is called in a note.
        parts: The keys' ends, ``{}`` standing for the weight's name; the first holds its values.
        product: The weight from the parts, all float64; None where their shapes are not its.
    """

    title: str
    parts: tuple[str, ...]
    product: Callable[..., Tensor | None]


def _pruned(weight: Tensor, mask: Tensor) -> Tensor | None:
    return weight * mask if weight.shape == mask.shape else None


def _normed(direction: Tensor, length: Tensor) -> Tensor | None:
    """Weight norm: the length is 1 in the axes over which the direction's norm is taken."""
    if length.dim() not in (0, direction.dim()):
        return None
    axes = [n for n in range(direction.dim()) if length.dim() == 0 or length.shape[n] == 1]
    other_axes = [n for n in range(direction.dim()) if n not in axes]
    if any(length.shape[n] != direction.shape[n] for n in other_axes) or not axes:
        return None
    norm: Tensor = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    return direction * (length / norm)


def _spectral(weight: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    """Divided by the largest singular value, as the stored singular vectors estimate it."""
    for axis in range(weight.dim()):  # of the outputs: the first, but for transposed convolutions
        matrix = weight.movedim(axis, 0).flatten(1) if weight.dim() > 1 else weight[:, None]
        if matrix.shape == (left.numel(), right.numel()):
            largest: Tensor = left @ matrix @ right
            return weight / largest
    return None


_KINDS = (
    _Kind("pruning", ("{}_orig", "{}_mask"), _pruned),
    _Kind("weight norm", ("{}_v", "{}_g"), _normed),
    _Kind("spectral norm", ("{}_orig", "{}_u", "{}_v"), _spectral),
    _Kind(
        "weight norm",
        ("parametrizations.{}.original1", "parametrizations.{}.original0"),
        _normed,
    ),
    _Kind(
        "spectral norm",
        (
            "parametrizations.{}.original",
            "parametrizations.{}.0._u",
            "parametrizations.{}.0._v",
        ),
        _spectral,
    ),
)
_FIRST_PARTS = {
    kind: re.compile("(?P<module>.*?)" + kind.parts[0].format(r"(?P<name>[A-Za-z]\w*?)") + "$")
    for kind in _KINDS
}
_PARAMETRIZED = re.compile(r"(?P<module>.*?)parametrizations\.(?P<name>\w+)\.")


def plain_weights(
    weights: Weights, where: str, *, keep: Container[str] = ()
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights with the parts of each pruned or normalised one multiplied out.

    Args:
        weights: Tensors by key.
        where: The file, for messages.
        keep: Keys that the network itself has, and that are left as they are.

    Returns:
        Tensors by the weights' plain keys, the products float32; and a note of each kind.

    Raises:
        CheckpointError: A weight has a parametrization that is none of ``torch.nn.utils``'s.
    """
    plain = dict(weights)
    counts: dict[str, int] = {}
    for kind in _KINDS:
        products, parts = _products(kind, plain, keep)
        plain = _replaced(plain, products, parts)
        counts[kind.title] = counts.get(kind.title, 0) + len(products)
    _refuse_parametrized(plain, where, keep)
    return plain, tuple(
        f"computed {count} weight{'s' * (count > 1)} from the parts that {title} of torch.nn.utils "
        "left"
        for title, count in counts.items()
        if count
    )


def _products(
    kind: _Kind, weights: Weights, keep: Container[str]
) -> tuple[dict[str, tuple[str, Tensor]], set[str]]:
    """The weights stored in this way, each by its first part's key, and the keys of all parts."""
    products: dict[str, tuple[str, Tensor]] = {}
    used: set[str] = set()
    for key in weights:
        match = _FIRST_PARTS[kind].fullmatch(key)
        if match is None or key in keep or match["module"] + match["name"] in weights:
            continue
        parts = [match["module"] + part.format(match["name"]) for part in kind.parts]
        product = _product(kind, [weights.get(part) for part in parts])
        if product is not None:
            products[key] = match["module"] + match["name"], product
            used.update(parts)
    return products, used


def _product(kind: _Kind, parts: list[Tensor | None]) -> Tensor | None:
    dense = [part for part in parts if part is not None and _is_dense(part)]
    if len(dense) != len(parts):
        return None
    first, *others = (part.detach().to(torch.float64) for part in dense)
    product = kind.product(first, *others)
    return None if product is None else product.to(torch.float32)


def _is_dense(part: Tensor) -> bool:
    return part.layout is torch.strided and not part.is_quantized and not part.is_meta


def _replaced(
    weights: Weights, products: Mapping[str, tuple[str, Tensor]], parts: Container[str]
) -> dict[str, Tensor]:
    """The weights in their order, each product in the place of its first part."""
    named = (products.get(key, (key, value)) for key, value in weights.items())
    return {key: value for key, value in named if key not in parts}


def _refuse_parametrized(weights: Weights, where: str, keep: Container[str]) -> None:
    left = [key for key in weights if key not in keep and _PARAMETRIZED.match(key)]
    if left:
        match = _PARAMETRIZED.match(left[0])
        name = "" if match is None else match["module"] + match["name"]
        raise CheckpointError(
            f"{name} is stored as a parametrization that its keys do not tell ({left[0]})",
            where=where,
            remedy="save plain weights: torch.nn.utils.parametrize.remove_parametrizations(layer, "
            "name), or pass the network with --factory",
        )
