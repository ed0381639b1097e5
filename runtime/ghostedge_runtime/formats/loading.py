"""From a path to a backend with the model in it.

The file is read once and judged by its content, then by its name; what is no model file never
reaches an interpreter.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from time import perf_counter_ns
from typing import Any, get_args

from ghostedge_runtime.errors import InputError, ModelFileError
from ghostedge_runtime.formats.backend import Backend
from ghostedge_runtime.formats.tflite.file import is_tflite
from ghostedge_runtime.record import BackendName, PrecisionMode

_CHECKPOINTS = frozenset({".pt", ".pth", ".tar", ".safetensors", ".ckpt", ".bin"})
# The backends that run a format's files; the first is taken where none is named.
BACKENDS: dict[str, tuple[BackendName, ...]] = {
    ".tflite": ("litert", "litert-reference"),
    ".onnx": ("onnxruntime",),
}


def open_backend(
    path: Path,
    threads: int,
    backend: BackendName | None = None,
    precision_mode: PrecisionMode = "default",
) -> tuple[Backend, BackendName, float]:
    """Load a model file.

    Returns:
        The backend, its name, and the milliseconds from reading the file to a ready interpreter;
        the import of the interpreter's library is left out.

    Raises:
        ModelFileError: No such file, or not one that can be run.
        MissingDependencyError: The interpreter for this format is not installed.
        InputError: The backend does not run such files, or not in that precision.
    """
    for name, value, kind in (
        ("backend", backend, BackendName),
        ("precision_mode", precision_mode, PrecisionMode),
    ):
        if value is not None:
            _check_choice(name, value, get_args(kind))
    start = perf_counter_ns()
    data = read_model_file(path)
    reading = perf_counter_ns() - start
    name = _choose(path, data, backend)
    if precision_mode == "fp16" and name != "litert":
        raise _no_half_precision(name, path)
    opened, readying = _open(name, data, threads, path, precision_mode)
    return opened, name, (reading + readying) / 1e6


def _open(
    name: BackendName, data: bytes, threads: int, path: Path, precision_mode: PrecisionMode
) -> tuple[Backend, int]:
    """The backend, and its nanoseconds without the import of the interpreter's library."""
    opened: Backend
    if name == "onnxruntime":
        from ghostedge_runtime.formats.onnx import session  # noqa: PLC0415  # imports ONNX Runtime

        start = perf_counter_ns()
        opened = session.OnnxBackend(data, threads=threads, where=path)
    elif precision_mode == "fp16":
        from ghostedge_runtime.formats.tflite import compiled  # noqa: PLC0415  # imports LiteRT

        start = perf_counter_ns()
        opened = compiled.HalfPrecisionBackend(data, threads=threads, where=path)
    else:
        from ghostedge_runtime.formats.tflite import interpreter  # noqa: PLC0415  # imports an interpreter

        interpreter.find_interpreter()
        start = perf_counter_ns()
        opened = interpreter.TFLiteBackend(
            data, threads=threads, where=path, reference=name == "litert-reference"
        )
    return opened, perf_counter_ns() - start


def _choose(path: Path, data: bytes, backend: BackendName | None) -> BackendName:
    """The backend for a file: the one asked for, if it runs such files.

    Raises:
        ModelFileError: No model file.
        InputError: The backend runs files of another format.
    """
    suffix = file_format(path, data)
    able = BACKENDS[suffix]
    if backend is None or backend in able:
        return backend or able[0]
    raise InputError(
        f"it is a {suffix} file, which the backend {backend!r} does not run",
        where=path,
        remedy=f"for {suffix} files: {' or '.join(able)}",
    )


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value in choices:
        return
    close = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InputError(
        f"there is no {name} {value!r}", remedy=f"{hint}there are {', '.join(choices)}"
    )


def _no_half_precision(name: BackendName, path: Path) -> InputError:
    why = {
        "onnxruntime": "ONNX Runtime computes in the precision that the .onnx file says",
        "litert-reference": "the reference kernels compute float models in 32 bits",
    }[name]
    return InputError(
        f"half precision cannot be forced on the backend {name!r}: {why}",
        where=path,
        remedy="use the precision mode 'fp16' with a float .tflite file on the backend 'litert'",
    )


def file_format(path: Path, data: bytes) -> str:
    """What a model file is, by its content, then by its name: a key of `BACKENDS`.

    Raises:
        ModelFileError: No model file.
    """
    suffix = ".tflite" if is_tflite(data) else path.suffix.lower()
    if suffix not in BACKENDS:
        raise _not_a_model(path)
    return suffix


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
            remedy="name a .tflite or .onnx file in it",
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


def _not_a_model(path: Path) -> ModelFileError:
    if path.suffix.lower() in _CHECKPOINTS:
        return ModelFileError(
            "it is a checkpoint, not yet a model that runs on a device",
            where=path,
            remedy=f"convert it first: ghostedge convert {path.name}",
        )
    return ModelFileError(
        "it is neither a .tflite nor an .onnx file",
        where=path,
        remedy="give a model file as `ghostedge convert` writes it",
    )
