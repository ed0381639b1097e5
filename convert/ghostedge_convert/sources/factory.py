"""A network made by a function of the user's, with weights from a file or as the function made it.

This runs the user's code, because the user named it: the file or package, whatever it imports, and
the function. Nothing of it is run to find out whether it may be.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import torch

from ghostedge_convert.architectures.family import shapes_of
from ghostedge_convert.architectures.keys import refuse_keys, refuse_shapes
from ghostedge_convert.checkpoint.load import Checkpoint
from ghostedge_convert.checkpoint.plain_weights import plain_weights
from ghostedge_convert.checkpoint.prefixes import under_keys_of
from ghostedge_convert.sources.module import LoadedModule, in_a_line, inference_copy, state_hash
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Source

_FLAG = "--factory"
_FORM = "give PACKAGE.MODULE:FUNCTION or FILE.py:FUNCTION"


def load_from_factory(
    spec: str, arguments: str | None, checkpoint: Checkpoint | None
) -> LoadedModule:
    """Call a factory and load the weights into what it returns.

    Args:
        spec: ``package.module:function`` or ``file.py:function``; a class will do as a function.
        arguments: JSON for the call: an object of keyword arguments or an array of positional ones.
        checkpoint: The weights; None where the function returns the network with its own.

    Raises:
        InputError: The function cannot be found or called, or returns no module.
        CheckpointError: The weights do not fit the module.
    """
    args, kwargs = _arguments(arguments)
    target, function = _split(spec)
    with _importable(target):
        returned = _called(_function_named(target, function, spec), spec, args, kwargs)
    if not isinstance(returned, torch.nn.Module):
        raise InputError(
            f"it returned {_kind(returned)}, not a torch.nn.Module",
            where=f"{_FLAG} {spec}",
            remedy="return the network itself, with or without its weights",
        )
    title = f"module {type(returned).__name__} (made by {spec})"
    network, notes = inference_copy(returned, f"{_FLAG} {spec}")
    # Every factory makes its network in training mode; that is no news.
    notes = tuple(note for note in notes if "training mode" not in note)
    if checkpoint is None:
        return LoadedModule(network, title, Source(spec, state_hash(network)), notes=notes)
    computed = _load(network, checkpoint, spec)
    notes = (*checkpoint.notes, *computed, *notes)
    return LoadedModule(network, title, checkpoint.source, notes=notes)


def _split(spec: str) -> tuple[str, str]:
    target, _, function = spec.rpartition(":")
    if not target or not all(part.isidentifier() for part in function.split(".")):
        raise InputError(f"{spec!r} names no function", where=_FLAG, remedy=_FORM)
    return target, function


def _arguments(text: str | None) -> tuple[list[Any], dict[str, Any]]:
    try:
        parsed = {} if text is None else json.loads(text)
    except ValueError as error:
        parsed = error
    if isinstance(parsed, list):
        return parsed, {}
    if isinstance(parsed, dict):
        return [], parsed
    raise InputError(
        f"{text!r} is no JSON object or array",
        where="--factory-args",
        remedy="""quote it for the shell: --factory-args '{"width": 0.5}'""",
    )


@contextmanager
def _importable(target: str) -> Iterator[None]:
    """What the target imports is looked for beside it, as Python does for a script it runs.

    What it prints goes to stderr: stdout is for the result.
    """
    folder = Path(target).resolve().parent if target.endswith(".py") else Path.cwd()
    sys.path.insert(0, str(folder))
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path.remove(str(folder))


def _function_named(target: str, function: str, spec: str) -> Callable[..., Any]:
    value: Any = _imported(target, spec)
    for name in function.split("."):
        if not hasattr(value, name):
            near = [n for n in vars(value) if not n.startswith("_") and callable(vars(value)[n])]
            raise InputError(
                f"{target} has no {name!r}",
                where=f"{_FLAG} {spec}",
                remedy=f"it has {', '.join(near[:8])}" if near else _FORM,
            )
        value = getattr(value, name)
    if not callable(value):
        raise InputError(
            f"{function} is of type {type(value).__name__}, which cannot be called",
            where=f"{_FLAG} {spec}",
            remedy="name a function or a class that returns the network",
        )
    return value  # type: ignore[no-any-return] # callable, which is all that is known of it


def _imported(target: str, spec: str) -> ModuleType:
    try:
        if target.endswith(".py"):
            return _from_file(Path(target), spec)
        return importlib.import_module(target)
    except InputError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{target}.".startswith(f"{error.name}."):
            raise InputError(
                f"there is no module {error.name!r}, here or installed",
                where=f"{_FLAG} {spec}",
                remedy=f"run in the folder that holds it, or {_FORM}",
            ) from error
        _refuse("importing it failed", spec, error)
    except (Exception, SystemExit) as error:  # the user's code raises whatever it does
        _refuse("importing it failed", spec, error)


def _from_file(path: Path, spec: str) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no file {path}", where=f"{_FLAG} {spec}", remedy=_FORM)
    # A name of its own: `test.py` must not replace the package `test`.
    name = f"ghostedge_factory_{path.stem}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise InputError("it cannot be imported", where=f"{_FLAG} {spec}", remedy=_FORM)
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses and the like look their module up
    module_spec.loader.exec_module(module)
    return module


def _called(
    function: Callable[..., Any], spec: str, args: list[Any], kwargs: dict[str, Any]
) -> object:
    try:
        return function(*args, **kwargs)
    except (Exception, SystemExit) as error:  # the user's code raises whatever it does
        _refuse("it raised an error when called", spec, error)


def _refuse(what: str, spec: str, error: BaseException) -> NoReturn:
    raise InputError(
        f"{what} ({in_a_line(error)})",
        where=f"{_FLAG} {spec}",
        remedy="see that it runs by itself; its arguments are those of --factory-args, or none",
    ) from error


def _load(network: torch.nn.Module, checkpoint: Checkpoint, spec: str) -> tuple[str, ...]:
    """Load the weights, all of them and no others, but for counters of batches.

    Returns:
        Which of them were computed from the parts that the file has of them.

    Raises:
        CheckpointError: They do not fit.
    """
    needed = shapes_of(network.state_dict())
    # `module.` before every key was no wrapper's where the network has a part of that name.
    weights = under_keys_of(checkpoint.weights, checkpoint.prefix, needed)
    weights, notes = plain_weights(weights, checkpoint.source.file, keep=needed)
    shapes = shapes_of(weights)
    title, file = f"network of {spec}", checkpoint.source.file
    refuse_keys(shapes, needed, title, file)
    remedy = (
        "pass weights of the network as it is made, or make it as it was trained: see "
        "--factory-args"
    )
    refuse_shapes(shapes, needed, f"the {title}", file, remedy=remedy)
    network.load_state_dict(weights, strict=False)
    return notes


def _kind(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    return "None" if value is None else f"a {type(value).__name__}"
