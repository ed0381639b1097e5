"""From a path to a backend with the model in it.

The file is read once and judged by its content, then by its name; what is no model file never
reaches an interpreter.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns

from ghostedge_runtime.backend import Backend
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.tflite_metadata import is_tflite

_CHECKPOINTS = frozenset({".pt", ".pth", ".tar", ".safetensors", ".ckpt", ".bin"})


def open_backend(path: Path, threads: int) -> tuple[Backend, float]:
    """Load a model file.

    Returns:
        The backend, and the milliseconds from reading the file to a ready interpreter; the
        import of the interpreter's library is left out.

    Raises:
        ModelFileError: No such file, or not one that can be run.
        MissingDependencyError: The interpreter for this format is not installed.
    """
    start = perf_counter_ns()
    data = read_model_file(path)
    reading = perf_counter_ns() - start
    backend: Backend
    if is_tflite(data) or path.suffix.lower() == ".tflite":
        from ghostedge_runtime import tflite_backend  # noqa: PLC0415  # imports an interpreter

        tflite_backend.find_interpreter()
        start = perf_counter_ns()
        backend = tflite_backend.TFLiteBackend(data, threads=threads, where=path)
    elif path.suffix.lower() == ".onnx":
        from ghostedge_runtime import onnx_backend  # noqa: PLC0415  # imports ONNX Runtime

        start = perf_counter_ns()
        backend = onnx_backend.OnnxBackend(data, threads=threads, where=path)
    else:
        raise _not_a_model(path)
    return backend, (reading + perf_counter_ns() - start) / 1e6


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
