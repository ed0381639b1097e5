"""What the subcommands share: consoles, the JSON document, options and their types."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ghostedge.conversion.option_fields import OptionField
from ghostedge.terminal import TextConsole
from ghostedge_runtime.errors import MissingDependencyError

N = TypeVar("N", int, float)
W = TypeVar("W", bound=str)
F = TypeVar("F", bound=Callable[..., Any])

_PIPE_WIDTH = 160
_CONVERT = ("torch", "onnx", "onnxruntime", "ghostedge_convert", "ghostedge_quantize")
PATH = click.Path(path_type=Path)


def stdout() -> TextConsole:
    """Where results go; a pipe or a file gets lines wide enough for every table."""
    return TextConsole(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def stderr() -> TextConsole:
    """Where progress and notes go."""
    return TextConsole(stderr=True)


def say_unsafe() -> None:
    """Say what ``--unsafe-pickle`` is, before it does anything."""
    stderr().say(
        "--unsafe-pickle: runs code from the file in a confined process (no network, no writing); "
        "trust what the network computes no more than its author"
    )


def json_option(command: F) -> F:
    """Add ``--json`` to a command."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on stdout."
    )(command)


def require_convert(verb: str) -> None:
    """Refuse, before anything is imported, what needs packages that this install lacks.

    Args:
        verb: What needs them: ``converting``.

    Raises:
        MissingDependencyError: Names them and the extra.
    """
    missing = [name for name in _CONVERT if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"{verb} needs {', '.join(missing)}, which this install does not have",
            remedy="pip install 'ghostedge[convert]'",
        )


def print_json(document: Any) -> None:
    """Print the one document that ``--json`` promises."""
    click.echo(json.dumps(document, indent=2, sort_keys=True))


def integers(text: str) -> tuple[int, ...]:
    """Parse ``1,2,4``; click makes a usage error, exit code 2, of what this raises."""
    return tuple(_numbers(text, int, "1,2,4"))


def floats(text: str) -> tuple[float, ...]:
    """Parse ``0.485,0.456,0.406`` of the command line."""
    return tuple(_numbers(text, float, "0.485,0.456,0.406"))


def words(text: str) -> tuple[str, ...]:
    """Parse ``float16,int8``; what the words may be is for the command to say."""
    return tuple(word.strip() for word in text.split(","))


def some_of(allowed: Sequence[W]) -> Callable[[str], tuple[W, ...]]:
    """A parser of ``this,that`` that takes only the words allowed."""

    def parse(text: str) -> tuple[W, ...]:
        unknown = [word for word in words(text) if word not in allowed]
        if unknown:
            raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(allowed)}")
        return tuple(choice for word in words(text) for choice in allowed if choice == word)

    return parse


def size(text: str) -> tuple[int, int]:
    """Parse ``224``, a square, or ``224x160``, height × width."""
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) > 2 or not all(side.strip().isdigit() for side in sides):
        raise click.BadParameter(f"{text!r} is not a size like 224 or 224x160")
    return int(sides[0]), int(sides[-1])


def _numbers(text: str, kind: Callable[[str], N], example: str) -> list[N]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of numbers like {example}") from error


_PARSERS: Mapping[Any, Any] = {
    Path: PATH,
    int: int,
    float: float,
    str: str,
    tuple[int, int]: size,
    tuple[float, ...]: floats,
}
"""What reads a flag's value, by the type of the option; lists of words are the other tuples."""


def click_option(option: OptionField) -> Callable[[F], F]:
    """The flag of an option of a conversion."""
    help_ = option.statement.help
    if option.type is bool:
        return click.option(
            *option.flags,
            option.name,
            is_flag=True,
            flag_value=not option.default,
            default=option.default,
            help=help_,
        )
    default = ",".join(option.default) if isinstance(option.default, tuple) else option.default
    return click.option(
        *option.flags,
        option.name,
        type=click.Choice(option.choices) if option.choices else _PARSERS.get(option.type, words),
        default=default,
        show_default=default is not None,
        metavar=option.statement.metavar,
        help=help_,
    )
