"""A Keras model in a process of its own, as the one who converts it sees it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import onnx

from ghostedge_convert.sources.keras.files import Kind, kind_of
from ghostedge_convert.sources.keras.wire import Array, Frame, KerasFacts, receive, send
from ghostedge_runtime.errors import (
    CheckpointError,
    GhostEdgeError,
    InputError,
    MissingDependencyError,
    UnsupportedOpError,
)

_CHILD = "from ghostedge_convert.sources.keras.child import main; main()"
_NEEDED: Mapping[Kind, tuple[str, ...]] = {
    Kind.KERAS: ("keras", "h5py"),
    Kind.H5: ("keras", "h5py"),
    Kind.SAVED_MODEL: ("tensorflow",),
}
_ERRORS: Mapping[str, type[GhostEdgeError]] = {
    error.__name__: error
    for error in (CheckpointError, InputError, MissingDependencyError, UnsupportedOpError)
}


class RemoteKeras:
    """A loaded model. ``close`` ends its process; so does dropping the last reference.

    Args:
        path: A ``.keras`` or ``.h5`` file, or a SavedModel's folder.
        custom_objects: Python file that defines the model's own classes and functions. It is run.

    Raises:
        MissingDependencyError: The packages that read this kind are not installed.
        CheckpointError: The file cannot be used.
        InputError: The custom objects cannot be, or the model takes no images.
    """

    def __init__(self, path: Path, *, custom_objects: Path | None = None) -> None:
        self._path = path
        kind = kind_of(path)
        _require(kind, path)
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = _start(kind, self._log)
        self._finalizer = weakref.finalize(self, _end, self._process, self._log)
        head = self._ask(
            {
                "do": "open",
                "kind": kind.value,
                "path": str(path),
                "custom_objects": None if custom_objects is None else str(custom_objects),
            }
        ).head
        self.facts = KerasFacts(
            input_size=None if head["input_size"] is None else tuple(head["input_size"]),
            in_channels=head["in_channels"],
            outputs=tuple(head["outputs"]),
            notes=tuple(head["notes"]),
        )

    def export(self, *, input_size: tuple[int, int], batch: int) -> onnx.ModelProto:
        """The model as ONNX: input ``input`` float32 NCHW, every size static.

        Feature maps among its outputs are channels first, too.

        Raises:
            UnsupportedOpError: A TensorFlow op has no ONNX form here.
            InputError: It cannot be exported at this size.
        """
        reply = self._ask({"do": "export", "input_size": list(input_size), "batch": batch})
        model = onnx.ModelProto()
        model.ParseFromString(reply.arrays[0].tobytes())
        return model

    def answers(self, images: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], ...]:
        """The model's own outputs for its own input, given float32 NCHW; feature maps NCHW."""
        reply = self._ask({"do": "answers"}, [np.ascontiguousarray(images, np.float32)])
        return tuple(array.astype(np.float32) for array in reply.arrays)

    def close(self) -> None:
        """End the process; the model cannot be asked any more."""
        self._finalizer()

    def _ask(self, head: dict[str, Any], arrays: Sequence[Array] = ()) -> Frame:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:  # it is started with both
            raise ValueError("the process has no pipes")
        try:
            send(stdin, head, arrays)
            reply = receive(stdout)
        except (BrokenPipeError, EOFError):
            reply = None
        if reply is None:
            raise CheckpointError(
                f"the process that reads it ended ({self._last_words()})",
                where=self._path,
                remedy="a damaged file can bring Keras or TensorFlow down; check it by loading it "
                "with keras.saving.load_model, and the free memory",
            )
        if "error" in reply.head:
            raise _error(reply.head["error"])
        return reply

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"


def _error(parts: Mapping[str, Any]) -> GhostEdgeError:
    kind = _ERRORS.get(parts["kind"], GhostEdgeError)
    return kind(parts["what"], where=parts["where"], remedy=parts["remedy"])


def _require(kind: Kind, path: Path) -> None:
    missing = [name for name in _NEEDED[kind] if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"reading a {kind.value} needs {', '.join(missing)}, which this install does not have",
            where=path,
            remedy="pip install 'ghostedge[keras]'",
        )


def _start(kind: Kind, log: IO[bytes]) -> subprocess.Popen[bytes]:
    # CPU only: a conversion needs no GPU, and TensorFlow would take all of its memory.
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "KERAS_BACKEND": "tensorflow" if kind is Kind.SAVED_MODEL else "torch",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
    )


def _end(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """Close the pipes, which ends the process; stop it where it does not end by itself."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # it ended with a request unread
                pipe.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    log.close()
