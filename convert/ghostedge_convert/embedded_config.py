"""What a weights file itself says of classes and preprocessing, joined with the ``config.json``.

A safetensors header may carry texts beside the weights, and a training script may have saved its
class map with them. A ``config.json`` beside the file comes first: it is what a person can edit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ghostedge_convert.checkpoint.config import CheckpointConfig, config_of, read_config
from ghostedge_convert.checkpoint.unwrap import printable
from ghostedge_convert.class_maps import class_labels
from ghostedge_runtime.errors import CheckpointError

_METADATA = "the safetensors metadata"
_CLASS_MAP = "the checkpoint's class map"
_WHOLE = "config"
_FIELDS = ("architecture", "num_classes", "label_names", "id2label", "pretrained_cfg")
_SHOWN = 8


def own_config(
    path: Path, metadata: Mapping[str, str], labels: tuple[str, ...] | None
) -> tuple[CheckpointConfig | None, tuple[str, ...]]:
    """The ``config.json`` beside a weights file, else what the file's metadata says.

    Args:
        path: The weights file.
        metadata: Texts of a safetensors header.
        labels: Class names that the file's content holds; used where nothing else names them.

    Returns:
        The configuration, None where nothing says anything, and notes on where it is from.

    Raises:
        CheckpointError: The ``config.json`` is malformed. Malformed metadata is passed over with a
            note, for nobody can edit it in place.
    """
    config = read_config(path.parent / "config.json")
    notes = [f"its metadata says {_summary(metadata)}"] if metadata else []
    if config is None:
        config = _from_metadata(path, metadata, notes)
    elif any(key in metadata for key in (*_FIELDS, _WHOLE)):
        notes.append("config.json comes before its metadata")
    if labels is not None and (config is None or config.labels is None):
        config = replace(config or CheckpointConfig(), labels=labels, labels_origin=_CLASS_MAP)
    return config, tuple(notes)


def _from_metadata(
    path: Path, metadata: Mapping[str, str], notes: list[str]
) -> CheckpointConfig | None:
    values = {key: _value(text) for key, text in metadata.items()}
    whole = values.get(_WHOLE)
    fields = {**(whole if isinstance(whole, dict) else {})}
    fields.update({key: values[key] for key in _FIELDS if key in values})
    if isinstance(metadata.get("architecture"), str):
        fields["architecture"] = metadata["architecture"]
    named = class_labels(values)
    if named and fields.get("label_names") is None and fields.get("id2label") is None:
        fields["label_names"] = list(named[1])
    known = {key: fields[key] for key in _FIELDS if key in fields}
    if not known:
        return None
    try:
        config = config_of(known, path, _METADATA)
    except CheckpointError as error:
        notes.append(f"its metadata was not used: {printable(error.what, 200)}")
        return None
    notes.append(f"took {', '.join(known)} from its metadata")
    return config


def _value(text: str) -> Any:
    """The JSON that the text spells, or the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _summary(metadata: Mapping[str, str]) -> str:
    shown = [f"{printable(k, 40)}: {printable(v, 60)}" for k, v in list(metadata.items())[:_SHOWN]]
    more = [f"and {len(metadata) - _SHOWN} more"] if len(metadata) > _SHOWN else []
    return "; ".join((*shown, *more))
