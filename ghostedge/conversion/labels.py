"""``--labels``: class names in a file, in the forms that people have them in.

Text with a name a line, with or without its number or its WordNet id before it; JSON, such as
torchvision's and Keras's class indices, Hugging Face's ``id2label`` or ``class_to_idx``; YAML, such
as Ultralytics' ``names:``; Python's way of writing a dict, which is YAML too. In UTF-8 or, with a
byte-order mark, UTF-16.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ghostedge_runtime.errors import InputError

_REMEDY = "give one label per class, in the order the network was trained with"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LINE = re.compile(r"\r\n|\r|\n")
# A number and what parts it from the name: one form for all lines.
_NUMBERED = tuple(
    re.compile(rf"([0-9]{{1,9}}){between}(\S.*)")
    for between in (r"\s*:\s*", r"\s*,\s*", r"\s*;\s*", r"\s*\t\s*", r"\.\s+", r"\)\s*", r"\s+")
)
_SYNSET = re.compile(r"(n\d{8})[\s,:]+(\S.*)")
# Where documents keep the names, among other things.
_KEYS = (
    "names",
    "id2label",
    "labels",
    "classes",
    "class_names",
    "categories",
    "class_to_idx",
    "label2id",
)


@dataclass(frozen=True)
class Labels:
    """Class names, and what was taken from before them.

    Attributes:
        names: By class index.
        how: For the report: where the file has more than names, what was made of it.
    """

    names: tuple[str, ...]
    how: str = ""


def read_labels(path: Path, num_classes: int) -> Labels:
    """The labels in a file; see the module for its forms.

    Raises:
        InputError: It cannot be read, or does not name each class once.
    """
    text = _text(path)
    labels = _parsed(text, path)
    if len(labels.names) != num_classes:
        raise InputError(
            f"{len(labels.names)} labels for a network of {num_classes} classes",
            where=path,
            remedy=_REMEDY,
        )
    return labels


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "utf-8")
        return data.decode(encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the labels cannot be read ({error})",
            where=path,
            remedy="pass a UTF-8 text file with one label per line",
        ) from error


def _parsed(text: str, path: Path) -> Labels:
    """By the name's ending, which has to be right; by its look, where that is right."""
    suffix = path.suffix.lower()
    looks = text.lstrip().startswith(("{", "["))
    failed: Exception | None = None
    for parser in _PARSERS.get(suffix, (json.loads, _yaml) if looks else ()):
        try:
            document = parser(text)
        except (ValueError, RecursionError, yaml.YAMLError) as error:  # noqa: PERF203 - of two
            failed = error
        else:
            return _of_document(document, path)
    if suffix in _PARSERS:
        raise InputError(
            f"it cannot be read as {suffix} ({failed})", where=path, remedy=_REMEDY
        ) from failed
    return _of_lines([line.strip() for line in _LINE.split(text) if line.strip()])


def _yaml(text: str) -> Any:
    # The loader that makes nothing but strings: a class may be called "no" or "1_000".
    return yaml.load(text, Loader=yaml.BaseLoader)


# JSON is YAML too, but for the escapes of what lies beyond 16 bits.
_PARSERS: Mapping[str, Sequence[Callable[[str], Any]]] = {
    ".json": (json.loads,),
    ".yaml": (json.loads, _yaml),
    ".yml": (json.loads, _yaml),
}


def _of_lines(lines: Sequence[str]) -> Labels:
    """A name a line; a number or an id before it only where every line has one that fits.

    Numbers fit where they count the lines from 0 or 1 on: "3 of clubs" among playing cards is a
    name. Behind a colon, comma, semicolon or tab they may stand in any order.
    """
    synsets = [_SYNSET.fullmatch(line) for line in lines]
    if lines and all(synsets):
        return Labels(tuple(m[2] for m in synsets if m), ", the WordNet ids before them left out")
    for form in _NUMBERED:
        matches = [m for m in map(form.fullmatch, lines) if m]
        if not lines or len(matches) < len(lines):
            continue
        numbers = [int(m[1]) for m in matches]
        start = _start(numbers)
        in_order = start is not None and numbers == [*range(start, start + len(numbers))]
        if start is None or not (in_order or form in _NUMBERED[:4]):
            continue
        names = dict(zip(numbers, (m[2] for m in matches), strict=True))
        return Labels(
            tuple(names[number] for number in sorted(names)),
            f", by the numbers {start} to {start + len(names) - 1} before them",
        )
    return Labels(tuple(lines))


def _start(numbers: Sequence[int]) -> int | None:
    """0 or 1 where the numbers count from there, each once, in whatever order."""
    least = min(numbers, default=-1)
    fits = least in (0, 1) and sorted(numbers) == [*range(least, least + len(numbers))]
    return least if fits else None


def _of_document(document: Any, path: Path) -> Labels:
    """Of what JSON or YAML holds, the names perhaps among other things."""
    if isinstance(document, Mapping):
        keys = [key for key in _KEYS if isinstance(document.get(key), (list, dict))]
        document = document[keys[0]] if keys else document
    if isinstance(document, Mapping):
        return _of_mapping(document, path)
    if isinstance(document, list):
        if document and all(isinstance(entry, Mapping) and "name" in entry for entry in document):
            return Labels(tuple(_name(entry["name"], path) for entry in document))
        return Labels(tuple(_name(entry, path) for entry in document))
    raise InputError("it holds no list of labels", where=path, remedy=_REMEDY)


def _of_mapping(document: Mapping[Any, Any], path: Path) -> Labels:
    """Number → name, or name → number where the values are the numbers."""
    if any(isinstance(value, int) for value in document.values()) or not all(
        _is_number(key) for key in document
    ):
        pairs = [(value, key) for key, value in document.items()]
    else:
        pairs = list(document.items())
    if not all(_is_number(number) for number, _ in pairs):
        raise InputError(
            "it is neither a list of labels nor numbers with their labels",
            where=path,
            remedy=_REMEDY,
        )
    numbers = [int(number) for number, _ in pairs]
    start = _start(numbers)
    if start is None:
        missing = sorted(set(range(len(numbers))) - set(numbers))[:3]
        raise InputError(
            f"its numbers do not count from 0 or 1, each once: no {', '.join(map(str, missing))} "
            f"among {len(numbers)}",
            where=path,
            remedy=_REMEDY,
        )
    names = dict(zip(numbers, (_name(name, path) for _, name in pairs), strict=True))
    return Labels(
        tuple(names[number] for number in sorted(names)),
        f", by the numbers {start} to {start + len(names) - 1} beside them",
    )


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (
        isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) is not None
    )


def _name(value: Any, path: Path) -> str:
    """A label; of torchvision's and Keras's pairs of WordNet id and name the name."""
    if isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
        value = value[-1]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InputError(f"{value!r} is no label", where=path, remedy=_REMEDY)
    return str(value).strip()
