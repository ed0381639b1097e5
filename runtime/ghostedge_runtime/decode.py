"""Plain JSON values back into frozen dataclasses, with the place of what does not fit.

Only what the records are made of: dataclasses, ``X | None``, ``Literal``, ``tuple[X, ...]``,
``Mapping[str, X]``, str, int, float, bool, and ``Any``, which is taken as it is. A field that an
older writer left out takes its default; one that a newer writer added is passed over.
"""

from __future__ import annotations

import json
import os
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from ghostedge_runtime.errors import InputError

T = TypeVar("T")


def read_json(path: str | os.PathLike[str], remedy: str) -> Any:
    """The document in a file, as plain values.

    Args:
        path: The file.
        remedy: What to do where it cannot be read, for the error.

    Raises:
        InputError: There is no such file, or it is not JSON in UTF-8.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        what = f"it cannot be read ({error.strerror or error})"
        raise InputError(what, where=path, remedy=remedy) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is not JSON ({error})", where=path, remedy=remedy) from error


def decode(kind: type[T], value: Any, *, where: str | os.PathLike[str], place: str) -> T:
    """An instance of the dataclass ``kind`` from what JSON gave.

    Args:
        kind: The dataclass.
        value: As ``json.loads`` and ``dataclasses.asdict`` have it.
        where: The file, for errors.
        place: Where in the file the value is, for errors.

    Raises:
        InputError: A field is missing or of another type; the message names its place.
    """
    instance: T = _decoded(kind, value, _Place(where, place))
    return instance


class _Place:
    """A file and the path of keys inside it."""

    def __init__(self, where: str | os.PathLike[str], path: str) -> None:
        self._where, self._path = where, path

    def at(self, step: str) -> _Place:
        return _Place(self._where, self._path + step)

    def refuse(self, what: str) -> InputError:
        return InputError(
            f"{self._path}: {what}",
            where=self._where,
            remedy="the file was changed or cut short: write it again",
        )


def _decoded(kind: Any, value: Any, place: _Place) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, place)
    if kind is Any:
        return value
    read = _READERS.get(typing.get_origin(kind))
    return _of_type(kind, value, place) if read is None else read(kind, value, place)


def _optional(kind: Any, value: Any, place: _Place) -> Any:
    if value is None:
        return None
    return _decoded(next(a for a in typing.get_args(kind) if a is not type(None)), value, place)


def _literal(kind: Any, value: Any, place: _Place) -> Any:
    words = typing.get_args(kind)
    if value not in words:
        raise place.refuse(f"{value!r} is none of {', '.join(map(str, words))}")
    return value


def _tuple(kind: Any, value: Any, place: _Place) -> Any:
    item = typing.get_args(kind)[0]
    values = enumerate(_of_type(list, value, place))
    return tuple(_decoded(item, entry, place.at(f"[{number}]")) for number, entry in values)


def _mapping(kind: Any, value: Any, place: _Place) -> Any:
    item = typing.get_args(kind)[1]
    values = _of_type(dict, value, place).items()
    return {key: _decoded(item, entry, place.at(f".{key}")) for key, entry in values}


_READERS: Mapping[Any, Callable[[Any, Any, _Place], Any]] = {
    types.UnionType: _optional,
    typing.Union: _optional,
    Literal: _literal,
    tuple: _tuple,
    Mapping: _mapping,
}


def _dataclass(kind: Any, value: Any, place: _Place) -> Any:
    entries = _of_type(dict, value, place)
    arguments = {}
    for field, hint in _fields(kind):
        if field.name in entries:
            arguments[field.name] = _decoded(hint, entries[field.name], place.at(f".{field.name}"))
        elif field.default is MISSING and field.default_factory is MISSING:
            raise place.refuse(f"it has no {field.name!r}")
    return kind(**arguments)


@lru_cache
def _fields(kind: Any) -> tuple[tuple[Field[Any], Any], ...]:
    hints = typing.get_type_hints(kind)
    return tuple((field, hints[field.name]) for field in fields(kind))


def _of_type(kind: Any, value: Any, place: _Place) -> Any:
    """The value, if it is of that plain type; a whole number is a float too, a bool no number."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise place.refuse(f"a {kind.__name__} is expected, got {type(value).__name__}")
    return value
