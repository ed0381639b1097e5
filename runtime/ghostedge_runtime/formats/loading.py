"""From a path to a backend with the model in it.

The file is read once and judged by its content, then by its name; what is no model file never
reaches an interpreter.
"""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from time import perf_counter_ns
from typing import Any, get_args

from ghostedge_runtime.errors import InputError, ModelFileError
from ghostedge_runtime.formats.backend import Backend, Opens
from ghostedge_runtime.formats.table import (
    ENGINES,
    FORMATS,
    Engine,
    Format,
    PrecisionMode,
    format_of,
    resolve,
    suffixes,
)

_CHECKPOINTS = frozenset({".pt", ".pth", ".tar", ".safetensors", ".ckpt", ".bin"})
_CHUNK = 1 << 20


def open_backend(
    path: Path,
    threads: int,
    backend: str | None = None,
    precision_mode: PrecisionMode = "default",
) -> tuple[Backend, str, float]:
    """Load a model file.

    Returns:
        The backend, its name, and the milliseconds from reading the file to a ready interpreter;
        the import of the interpreter's library is left out.

    Raises:
        ModelFileError: No such file, or not one that can be run.
        MissingDependencyError: The interpreter for this format is not installed.
        InputError: The backend does not run such files, or not in that precision.
    """
    if backend is not None:
        _check_choice("backend", backend, tuple(ENGINES))
    _check_choice("precision_mode", precision_mode, get_args(PrecisionMode))
    start = perf_counter_ns()
    data = read_model_file(path)
    reading = perf_counter_ns() - start
    engine = _choose(path, data, backend)
    if precision_mode not in engine.opens:
        raise _no_half_precision(engine, path)
    opens: Opens = resolve(engine.opens[precision_mode])()
    start = perf_counter_ns()
    opened = opens(data, threads=threads, where=path)
    return opened, engine.name, (reading + perf_counter_ns() - start) / 1e6


def _choose(path: Path, data: bytes, backend: str | None) -> Engine:
    """The engine for a file: the one asked for, if it runs such files.

    Raises:
        ModelFileError: No model file.
        InputError: The backend runs files of another format.
    """
    fmt = file_format(path, data)
    if backend is None or backend in fmt.engines:
        return ENGINES[backend or fmt.engines[0]]
    raise InputError(
        f"it is a {fmt.suffix} file, which the backend {backend!r} does not run",
        where=path,
        remedy=f"for {fmt.suffix} files: {' or '.join(fmt.engines)}",
    )


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value in choices:
        return
    close = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InputError(
        f"there is no {name} {value!r}", remedy=f"{hint}there are {', '.join(choices)}"
    )


def _no_half_precision(engine: Engine, path: Path) -> InputError:
    return InputError(
        f"half precision cannot be forced on the backend {engine.name!r}: {engine.fixed_precision}",
        where=path,
        remedy="use the precision mode 'fp16' with a float .tflite file on the backend 'litert'",
    )


def file_format(path: Path, data: bytes) -> Format:
    """What a model file is, by its content, then by its name.

    Raises:
        ModelFileError: No model file.
    """
    fmt = format_of(path, data)
    if fmt is None:
        raise _not_a_model(path)
    return fmt


def read_model_file(path: Path) -> bytes:
    """The bytes of a model file.

    Raises:
        ModelFileError: It is missing, a folder, empty or unreadable.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelFileError(
            "there is no such file", where=path, remedy="check the path"
        ) from error
    except IsADirectoryError as error:
        raise ModelFileError(
            "it is a folder, not a model file",
            where=path,
            remedy=f"name a {suffixes()} file in it",
        ) from error
    except OSError as error:
        raise ModelFileError(
            f"it cannot be read ({error.strerror or error})",
            where=path,
            remedy="check the path and its permissions",
        ) from error
    if not data:
        raise ModelFileError("it is empty (0 bytes)", where=path, remedy="copy or convert it again")
    return data


def companion_files(data: bytes, path: Path) -> dict[str, Path]:
    """The files beside a model that hold its weights, by the name that the model has for them.

    Args:
        data: The model file.
        path: Where it lies.

    Raises:
        ModelFileError: One is missing or cut, or lies outside the model's folder.
    """
    fmt = format_of(path, data)
    if fmt is None or fmt.companions is None:
        return {}
    files: dict[str, Path] = resolve(fmt.companions)(data, path)
    return files


def whole_digest(data: bytes, path: Path) -> tuple[str, int]:
    """SHA-256 and bytes of a model file, with those that hold its weights if there are any.

    Raises:
        ModelFileError: As `companion_files`.
    """
    digest, size = hashlib.sha256(data), len(data)
    for location, file in companion_files(data, path).items():
        sha256, more = file_digest(file)
        digest.update(f"{location}\0{sha256}".encode())
        size += more
    return digest.hexdigest(), size


def file_digest(path: Path) -> tuple[str, int]:
    """SHA-256 and bytes of one file.

    Raises:
        OSError: It cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def _not_a_model(path: Path) -> ModelFileError:
    if path.suffix.lower() in _CHECKPOINTS:
        return ModelFileError(
            "it is a checkpoint, not yet a model that runs on a device",
            where=path,
            remedy=f"convert it first: ghostedge convert {path.name}",
        )
    kinds = " nor ".join(f"{fmt.article} {fmt.suffix}" for fmt in FORMATS.values())
    return ModelFileError(
        f"it is neither {kinds} file",
        where=path,
        remedy="give a model file as `ghostedge convert` writes it",
    )
