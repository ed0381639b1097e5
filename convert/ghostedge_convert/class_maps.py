"""The class names that a training script saved beside its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
