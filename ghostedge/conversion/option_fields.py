"""How a field of the options is stated: once, with its flag, its help, and whom it is of use to.

The command line's options, the keywords of ``ghostedge.convert`` with their documentation, and the
refusals of what would have no effect are made from these statements. Imports nothing heavy: the
command line reads it to print ``--help``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import Flag, auto
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ghostedge_runtime.errors import InputError

_STATEMENT = "statement"


class ModelKind(Flag):
    """The kinds of MODEL, as far as options are concerned."""

    CHECKPOINT = auto()
    """Weights of a member of the family."""
    FACTORY = auto()
    """A function that makes a network with its weights."""
    FACTORY_WITH_WEIGHTS = auto()
    """A function that makes a network, and the file of its weights."""
    KERAS = auto()
    TORCHSCRIPT = auto()
    PROGRAM = auto()
    """A program of torch.export."""
    MODULE = auto()
    """A module in memory."""
    FLOAT_ONNX = auto()
    QUANTIZED_ONNX = auto()
    """An ONNX file that another tool quantized: it is lowered as it is."""
    FLOAT = (
        CHECKPOINT
        | FACTORY
        | FACTORY_WITH_WEIGHTS
        | KERAS
        | TORCHSCRIPT
        | PROGRAM
        | MODULE
        | FLOAT_ONNX
    )
    ANY = FLOAT | QUANTIZED_ONNX


@dataclass(frozen=True)
class Refusal:
    """Why a flag is refused, and what to do.

    Attributes:
        what: What is wrong.
        remedy: What helps.
    """

    what: str
    remedy: str = "leave it out"

    def by(self, flag: str) -> InputError:
        """The error that names the flag."""
        return InputError(self.what, where=flag, remedy=self.remedy)


@dataclass(frozen=True)
class Scope:
    """Whom an option is of use to.

    Attributes:
        sources: The kinds of MODEL.
        refusal: Of the other kinds.
        refusal_without_int8: Where no int8 is made; None where the option is of use without too.
    """

    sources: ModelKind = ModelKind.ANY
    refusal: Refusal = Refusal("MODEL has no use for it")
    refusal_without_int8: Refusal | None = None


QUANTIZED_REFUSAL = Refusal(
    "MODEL is an .onnx file that is quantized already, so this has no effect on it",
    "leave it out, or pass the checkpoint",
)
"""Of everything that chooses how a float network is read or quantized."""

EVERYTHING = Scope()
FLOAT = Scope(ModelKind.FLOAT)


@dataclass(frozen=True)
class Statement:
    """How the user states a field.

    Attributes:
        help: What it does, for ``--help``.
        scope: Whom it is of use to.
        flag: Its flag, where that is not the field's name; ``-o/--output`` has two.
        metavar: What stands for the value in ``--help``, where the type does not say.
        python: What it does, for the documentation of the keyword, where ``help`` does not say it:
            of the fields whose flag states the contrary.
        after: The field that it follows in ``--help``, where that is not the one before it.
    """

    help: str
    scope: Scope = EVERYTHING
    flag: str = ""
    metavar: str | None = None
    python: str = ""
    after: str = ""


def stated(default: Any, statement: Statement) -> Any:
    """A dataclass's field with this default, stated so."""
    return field(default=default, metadata={_STATEMENT: statement})


@dataclass(frozen=True)
class OptionField:
    """A field of the options, with everything that is known of it.

    Attributes:
        name: Of the field and the keyword.
        default: Where the user states nothing.
        type: Of its value, None left out.
        statement: How it is stated.
    """

    name: str
    default: Any
    type: Any
    statement: Statement

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that set it, the long one last."""
        flag = self.statement.flag or f"--{self.name.replace('_', '-')}"
        return tuple(flag.split("/"))

    @property
    def flag(self) -> str:
        """The flag, as messages name it."""
        return self.flags[-1]

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it may be one of; empty where it may be anything."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def origin(self) -> Any:
        """The class of its values: ``tuple`` of ``tuple[float, ...]``."""
        return get_origin(self.type) or self.type

    def is_stated(self, group: Any) -> bool:
        """Whether the group's field differs from its default."""
        return bool(getattr(group, self.name) != self.default)

    def converted(self, value: Any) -> Any:
        """A keyword's value as the field holds it: paths as ``Path``, sequences as tuples.

        Raises:
            InputError: It is a text where a list is wanted, whose letters would be its items.
        """
        if value is None or self.origin not in (Path, tuple):
            return value
        if self.origin is tuple and isinstance(value, str):
            raise InputError(
                f"it is a list, and {value!r} is a text",
                where=self.flag,
                remedy=f"from Python, write {self.name}={value.split(',')!r}",
            )
        return self.origin(value)


def every_field(group: type) -> Iterator[OptionField]:
    """The stated fields of a group, those of the groups inside it in their place."""
    types = get_type_hints(group)
    stated_here = {option.name: option for option in fields_of(group)}
    for entry in fields(group):
        if entry.name in stated_here:
            yield stated_here[entry.name]
        elif is_dataclass(types[entry.name]):
            yield from every_field(types[entry.name])


def fields_of(group: type) -> tuple[OptionField, ...]:
    """The stated fields of a group of options, in its order."""
    types = get_type_hints(group)
    return tuple(
        OptionField(entry.name, _default(entry), _without_none(types[entry.name]), statement)
        for entry in fields(group)
        if (statement := entry.metadata.get(_STATEMENT)) is not None
    )


def check_values(group: Any) -> None:
    """Refuse words that are none of the choices, and counts below 1.

    Raises:
        InputError: Names the flag.
    """
    for option in fields_of(type(group)):
        value = getattr(group, option.name)
        if option.choices and value is not None and value not in option.choices:
            raise InputError(
                f"there is no {value!r}",
                where=option.flag,
                remedy=f"use one of {', '.join(option.choices)}",
            )
        if isinstance(option.default, int) and option.type is int and value < 1:
            raise InputError(f"must be at least 1, got {value}", where=option.flag)


def refuse_without_effect(groups: Sequence[Any], source: ModelKind) -> None:
    """Refuse what is stated and has no effect on a MODEL of this kind.

    Raises:
        InputError: Names the flag.
    """
    for option in _stated_in(groups):
        if not source & option.statement.scope.sources:
            quantized = source is ModelKind.QUANTIZED_ONNX
            refusal = QUANTIZED_REFUSAL if quantized else option.statement.scope.refusal
            raise refusal.by(option.flag)


def refuse_without_int8(groups: Sequence[Any]) -> None:
    """Refuse what is stated and is of use only to int8.

    Raises:
        InputError: Names the flag.
    """
    for option in _stated_in(groups):
        refusal = option.statement.scope.refusal_without_int8
        if refusal is not None:
            raise refusal.by(option.flag)


def _stated_in(groups: Sequence[Any]) -> Iterator[OptionField]:
    for group in groups:
        yield from (option for option in fields_of(type(group)) if option.is_stated(group))


def _default(entry: Field[Any]) -> Any:
    return None if entry.default is MISSING else entry.default


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (UnionType, Union):
        return hint
    (rest,) = (part for part in get_args(hint) if part is not type(None))
    return rest
