"""What a ``config.json`` beside a weights file, or the file itself, states of the network.

The ``config.json`` is in the convention of timm and Hugging Face. It may name the architecture, the
number of classes, the preprocessing (``pretrained_cfg``) and the labels. Absent fields are absent
here too; a field of the wrong kind is an error, because a wrong normalisation shows in nothing but
the accuracy. The weights decide how many channels an image has; a mean and std of another number,
as timm leaves them, are averaged.

A safetensors header may carry texts beside the weights, and a training script may have saved its
class map with them. A ``config.json`` comes before both: it is what a person can edit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ghostedge_convert.checkpoint.unwrap import class_labels, printable
from ghostedge_runtime.errors import CheckpointError
from ghostedge_runtime.metadata import Preprocessing

# Nothing in a preprocessing is near it; an integer beyond does not fit a float.
_LARGEST = 1e30
# Of grey images, of colours, and of these with transparency.
_CHANNELS = (1, 3, 4)
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
_METADATA = "the safetensors metadata"
_CLASS_MAP = "the checkpoint's class map"
_WHOLE = "config"
_FIELDS = ("architecture", "num_classes", "label_names", "id2label", "pretrained_cfg")
_SHOWN = 8


@dataclass(frozen=True)
class CheckpointConfig:
    """What the file states; None where it states nothing.

    Attributes:
        architecture: The model's name, e.g. ``ghostnet_100``.
        num_classes: Size of the classifier.
        preprocessing: How images become input; fields that the file leaves out are the family's
            defaults, and ``defaulted`` names them.
        labels: Class names in order.
        defaulted: Preprocessing fields that the file does not give.
        origin: Where that is stated, in words.
        labels_origin: Where the labels are stated.
    """

    architecture: str | None = None
    num_classes: int | None = None
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None
    defaulted: tuple[str, ...] = ()
    origin: str = "config.json"
    labels_origin: str = "config.json"


def read_config(path: Path) -> CheckpointConfig | None:
    """Read a ``config.json``, or return None where there is none.

    Raises:
        CheckpointError: It is not JSON, or a field is not of its kind; names the file and field.
    """
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"it is not readable JSON ({error})",
            where=path,
            remedy="correct it, or move it away to use the family's defaults",
        ) from error
    return config_of(data, path, "config.json")


def config_of(data: object, path: Path, origin: str) -> CheckpointConfig:
    """The configuration in JSON that has been parsed.

    Args:
        data: The parsed JSON.
        path: The file that it was in.
        origin: What to call that in messages.

    Raises:
        CheckpointError: A field is not of its kind; names the file and field.
    """
    reader = _Reader(path)
    top = reader.mapping(data, "the file")
    trained = top.get("pretrained_cfg")
    trained = {} if trained is None else reader.mapping(trained, "pretrained_cfg")
    preprocessing, defaulted = _preprocessing(reader, trained)
    num_classes = reader.count(top, "num_classes")
    if num_classes is None:
        num_classes = reader.count(trained, "num_classes", "pretrained_cfg.num_classes")
    labels = _labels(reader, top, trained)
    # A single score can tell two classes apart.
    counts = (num_classes,) if num_classes != 1 else (1, 2)
    if labels is not None and num_classes is not None and len(labels) not in counts:
        raise reader.error("label_names", f"{len(labels)} labels for {num_classes} classes")
    return CheckpointConfig(
        reader.text(top, "architecture"),
        num_classes,
        preprocessing,
        labels,
        defaulted,
        origin,
        origin,
    )


class _Reader:
    """Takes typed fields out of a JSON object; an error names the file and the field."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def error(self, field: str, problem: str) -> CheckpointError:
        return CheckpointError(
            f"the field {field} is malformed: {problem}",
            where=self.path,
            remedy="correct the field, or remove it to use the family's default",
        )

    def mapping(self, value: object, field: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self.error(field, f"{_short(value)} is not an object")
        return value

    def text(self, data: Mapping[str, Any], field: str) -> str | None:
        value = data.get(field)
        if value is not None and not isinstance(value, str):
            raise self.error(field, f"{_short(value)} is not a text")
        return value

    def count(self, data: Mapping[str, Any], field: str, shown: str | None = None) -> int | None:
        value = data.get(field)
        if value is None:
            return None
        if not _is_count(value):
            raise self.error(shown or field, f"{_short(value)} is not a positive whole number")
        return int(value)


def _preprocessing(
    reader: _Reader, data: Mapping[str, Any]
) -> tuple[Preprocessing | None, tuple[str, ...]]:
    """The preprocessing that ``pretrained_cfg`` gives, and the names of defaulted fields."""
    if data.get("crop_mode") not in (None, "center"):
        problem = f"{_short(data['crop_mode'])} is not supported, only 'center' is"
        raise reader.error("pretrained_cfg.crop_mode", problem)
    stated = {
        field: read(reader, data[field], f"pretrained_cfg.{field}")
        for field, read in _PREPROCESSING_FIELDS.items()
        if data.get(field) is not None
    }
    if not stated:
        return None, ()
    defaulted = tuple(field for field in _PREPROCESSING_FIELDS if field not in stated)
    return of_one_length(Preprocessing(), stated), defaulted


def of_one_length(base: Preprocessing, fields: Mapping[str, Any]) -> Preprocessing:
    """A preprocessing with other fields; its mean and std get the length of the longer one."""
    values = {name: fields.get(name, getattr(base, name)) for name in ("mean", "std")}
    counts = [len(values[name]) for name in values if name in fields] or [len(base.mean)]
    fitted = {name: for_channels(sequence, max(counts)) for name, sequence in values.items()}
    return replace(base, **{**fields, **fitted})


def for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A mean or std for so many channels: its average for each, as timm does, where it has others.

    Source: ``adapt_to_chs`` of timm's loader, for a configuration of colours beside weights of grey
    images.
    """
    if len(values) == channels:
        return values
    return (sum(values) / len(values),) * channels


def _input_size(reader: _Reader, value: object, field: str) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 3 or not all(map(_is_count, value)):
        raise reader.error(field, f"{_short(value)} is not [channels, height, width]")
    if value[0] not in _CHANNELS:
        raise reader.error(field, f"{value[0]} channels, only 1, 3 and 4 are supported")
    return value[1], value[2]


def _crop_pct(reader: _Reader, value: object, field: str) -> float:
    if not isinstance(value, (int, float)) or not _is_number(value) or not 0 < value <= 1:
        raise reader.error(field, f"{_short(value)} is not in (0, 1]")
    return float(value)


def _interpolation(reader: _Reader, value: object, field: str) -> object:
    if value not in _INTERPOLATIONS:
        raise reader.error(field, f"{_short(value)} is not one of {', '.join(_INTERPOLATIONS)}")
    return value


def _mean(reader: _Reader, value: object, field: str) -> tuple[float, ...]:
    value = [value] if _is_number(value) else value
    if (
        not isinstance(value, list)
        or len(value) not in _CHANNELS
        or not all(map(_is_number, value))
    ):
        raise reader.error(field, f"{_short(value)} is not a list of 1, 3 or 4 numbers")
    return tuple(float(number) for number in value)


def _std(reader: _Reader, value: object, field: str) -> tuple[float, ...]:
    std = _mean(reader, value, field)
    if min(std) <= 0:
        raise reader.error(field, f"{_short(value)} is not positive")
    return std


_PREPROCESSING_FIELDS: Mapping[str, Callable[[_Reader, object, str], Any]] = {
    "input_size": _input_size,
    "interpolation": _interpolation,
    "crop_pct": _crop_pct,
    "mean": _mean,
    "std": _std,
}


def _labels(
    reader: _Reader, top: Mapping[str, Any], trained: Mapping[str, Any]
) -> tuple[str, ...] | None:
    for data, prefix in ((top, ""), (trained, "pretrained_cfg.")):
        names = data.get("label_names")
        if names is not None:
            return _texts(reader, names, f"{prefix}label_names")
    by_id = top.get("id2label")
    if by_id is None:
        return None
    by_id = reader.mapping(by_id, "id2label")
    expected = [str(i) for i in range(len(by_id))]
    if set(by_id) != set(expected):
        raise reader.error("id2label", f"its keys are not 0 to {len(by_id) - 1}")
    return _texts(reader, [by_id[key] for key in expected], "id2label")


def _texts(reader: _Reader, value: object, field: str) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise reader.error(field, f"{_short(value)} is not a list of texts")
    for index, item in enumerate(value):
        if not isinstance(item, str):
            raise reader.error(f"{field}[{index}]", f"{_short(item)} is not a text")
    return tuple(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < _LARGEST


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def own_config(
    path: Path, metadata: Mapping[str, str], labels: tuple[str, ...] | None
) -> tuple[CheckpointConfig | None, tuple[str, ...]]:
    """The ``config.json`` beside a weights file, else what the file's metadata states.

    Args:
        path: The weights file.
        metadata: Texts of a safetensors header.
        labels: Class names that the file's content holds; used where nothing else names them.

    Returns:
        The configuration, None where nothing is stated, and notes on where it is from.

    Raises:
        CheckpointError: The ``config.json`` is malformed. Malformed metadata is passed over with a
            note, for it cannot be edited in place.
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
    stated = {key: fields[key] for key in _FIELDS if key in fields}
    if not stated:
        return None
    try:
        config = config_of(stated, path, _METADATA)
    except CheckpointError as error:
        notes.append(f"its metadata was not used: {printable(error.what, 200)}")
        return None
    notes.append(f"took {', '.join(stated)} from its metadata")
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
