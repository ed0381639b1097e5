"""``tuning.json``: which layers of each file compute in float, and how the file is to be run.

``ghostedge tune`` writes one and replays one; people write them too, so that every mistake is
refused with the key or the pattern that it is at. The schema is in ``docs/tune.md``; a change that
an old reader would misread raises `RECIPE_VERSION`.
"""

from __future__ import annotations

import difflib
import glob
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, get_args

from ghostedge_runtime.decode import decode, read_json
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.formats.table import FORMATS

RECIPE_NAME = "tuning.json"
RECIPE_VERSION = 1

LayerPrecision = Literal["int8", "float32"]
_REMEDY = "see docs/tune.md for the form, or let `ghostedge tune` write one"


@dataclass(frozen=True)
class Rule:
    """What layers of a pattern compute in.

    Attributes:
        layers: A layer's name, with ``*``, ``?`` and ``[…]`` as in a shell.
        precision: In which they compute.
    """

    layers: str
    precision: LayerPrecision


@dataclass(frozen=True)
class FileRecipe:
    """How one file is written and run.

    Attributes:
        rules: In order; the last that names a layer counts, and one that none names is int8.
        backend: The engine that runs it.
        threads: Of one inference.
        split: Whether ghost modules whose layers are float are computed in halves.
    """

    rules: tuple[Rule, ...]
    backend: str
    threads: int = 1
    split: bool = True

    def float_layers(self, layers: Sequence[str], where: Path) -> tuple[str, ...]:
        """The layers that stay float, in the order given.

        Args:
            layers: All that may be quantized.
            where: The recipe's file, for errors.

        Raises:
            InputError: A rule names no layer.
        """
        precisions: dict[str, LayerPrecision] = dict.fromkeys(layers, "int8")
        for rule in self.rules:
            named = [layer for layer in layers if fnmatchcase(layer, rule.layers)]
            if not named:
                raise _no_such_layer(rule, layers, where)
            precisions |= dict.fromkeys(named, rule.precision)
        return tuple(layer for layer in layers if precisions[layer] == "float32")


@dataclass(frozen=True)
class Recipe:
    """The document.

    Attributes:
        files: By format.
        tuning_version: Of the schema.
    """

    files: Mapping[str, FileRecipe]
    tuning_version: int = RECIPE_VERSION

    def to_json(self) -> str:
        """The document's text; equal recipes give equal text."""
        document = {"tuning_version": self.tuning_version, "files": asdict(self)["files"]}
        return json.dumps(document, indent=2) + "\n"


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file.

    Raises:
        InputError: There is no such file, or something in it is missing, unknown or of another
            type; the message names its place.
    """
    document = read_json(path, _REMEDY)
    if not isinstance(document, dict) or "tuning_version" not in document:
        raise InputError("it has no tuning_version", where=path, remedy=_REMEDY)
    version = document["tuning_version"]
    if version != RECIPE_VERSION or isinstance(version, bool):
        raise InputError(
            f"tuning_version is {version!r}, this GhostEdge reads {RECIPE_VERSION}",
            where=path,
            remedy="pip install -U ghostedge" if isinstance(version, int) else _REMEDY,
        )
    _check_keys(Recipe, document, "the document", path)
    files = document.get("files")
    if not isinstance(files, dict) or not files:
        raise InputError("files: names no file by its format", where=path, remedy=_REMEDY)
    for name, entry in files.items():
        _check_file(name, entry, path)
    return decode(Recipe, document, where=path, place="the document")


def rules_for(layers: Sequence[str], keep_float: Collection[str]) -> tuple[Rule, ...]:
    """Rules that leave just those layers float, few where names allow it.

    Args:
        layers: All that may be quantized, in graph order.
        keep_float: Those of them that stay float.
    """
    rules = list[Rule]()
    at = 0
    while at < len(layers):
        end = next((n for n in range(at, len(layers)) if layers[n] not in keep_float), len(layers))
        while at < end:
            pattern, count = _longest(layers[at:end], layers)
            rules.append(Rule(pattern, "float32"))
            at += count
        at += 1
    return tuple(rules)


def common_start(names: Sequence[str]) -> str:
    """The characters that all of some names begin with."""
    return "".join(
        one for one, *_ in takewhile(lambda c: len(set(c)) == 1, zip(*names, strict=False))
    )


def _longest(run: Sequence[str], layers: Sequence[str]) -> tuple[str, int]:
    """A pattern for as many of the first layers of a run as one can name without any other."""
    for count in range(len(run), 1, -1):
        pattern = glob.escape(common_start(run[:count])) + "*"
        if all(layer in run for layer in layers if fnmatchcase(layer, pattern)):
            return pattern, count
    return glob.escape(run[0]), 1


def _check_file(name: str, entry: Any, where: Path) -> None:
    """Refuse a format without a name, and what is unknown in its entry."""
    place = f"files.{name}"
    if name not in FORMATS:
        raise InputError(
            f"{place}: there is no such format{_closest(name, FORMATS)}",
            where=where,
            remedy=f"use some of {', '.join(FORMATS)}",
        )
    _check_keys(FileRecipe, entry, place, where)
    for number, rule in enumerate(entry["rules"] if isinstance(entry.get("rules"), list) else ()):
        at = f"{place}.rules[{number}]"
        _check_keys(Rule, rule, at, where)
        if rule.get("precision") not in get_args(LayerPrecision):
            raise InputError(
                f"{at}.precision is {rule.get('precision')!r}",
                where=where,
                remedy=f"use one of {', '.join(get_args(LayerPrecision))}",
            )
    _check_run(entry, FORMATS[name].engines, place, where)


def _check_run(entry: Mapping[str, Any], engines: Sequence[str], place: str, where: Path) -> None:
    backend, threads = entry.get("backend"), entry.get("threads", 1)
    if backend not in engines:
        raise InputError(
            f"{place}.backend is {backend!r}, which does not run this format",
            where=where,
            remedy=f"use one of {', '.join(engines)}",
        )
    if not isinstance(entry.get("split", True), bool):
        raise InputError(
            f"{place}.split is {entry['split']!r}, neither true nor false",
            where=where,
            remedy=_REMEDY,
        )
    if type(threads) is not int or threads < 1:
        raise InputError(
            f"{place}.threads is {threads!r}, not a whole number from 1 on",
            where=where,
            remedy=_REMEDY,
        )


def _check_keys(kind: type[Any], value: Any, place: str, where: Path) -> None:
    """Refuse what is no object, and keys that the schema does not have."""
    if not isinstance(value, dict):
        raise InputError(f"{place}: it is no object", where=where, remedy=_REMEDY)
    names = [field.name for field in fields(kind)]
    for key in value:
        if key not in names:
            raise InputError(
                f"{place}: there is no key {key!r}{_closest(key, names)}",
                where=where,
                remedy=f"its keys are {', '.join(names)}",
            )


def _no_such_layer(rule: Rule, layers: Sequence[str], where: Path) -> InputError:
    return InputError(
        f"the rule {rule.layers!r} names no layer{_closest(rule.layers, layers)}",
        where=where,
        remedy=f"patterns are held against whole names, such as {layers[0]!r}"
        if layers
        else "the network has no layer that int8 is for",
    )


def _closest(word: str, words: Collection[str]) -> str:
    close = difflib.get_close_matches(word, words, 1)
    return f" (closest: {close[0]})" if close else ""
