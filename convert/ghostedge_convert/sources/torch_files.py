"""Zips that torch writes besides checkpoints: TorchScript programs, and which kind of file one is.

A file's records show whether it is TorchScript or torch.export's ``.pt2``, whatever its name;
nothing in it is run or unpickled for that.

A TorchScript program, as ``torch.jit.save`` wrote it, becomes a module that can be exported. It is
run by torch's interpreter while it is loaded and traced. It has no Python, but ops that write and
read files; an archive that mentions these, or ops of libraries that no export knows, is refused
before it is loaded. That is no sandbox: load only what you trust. The exporter takes no
TorchScript, so the program becomes a ``torch.export`` one first, with torch's own converter. A
weight keeps its name; the modules' paths are lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch._export.converter import TS2EPConverter

from ghostedge_convert.export import quiet_logger
from ghostedge_convert.sources.module import LoadedModule, find_channels, in_a_line, refuse_unusable
from ghostedge_convert.sources.pt2 import as_module
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.metadata import Source

Archive = Literal["torchscript", "pt2"]

OLD_PROGRAM = "serialized_exported_program.json"
"""What only the ``.pt2`` of torch before 2.8 has."""

_ZIP = b"PK\x03\x04"

# Of `torch.…`, what touches files; of `ops.…`, all but torch's own plain ops.
_FILES = re.compile(r"\btorch\.(save|from_file|load)\s*\(|\bops\.(?!aten\.|prim\.)(\w+\.\w+)")
_PLAIN_OPS_ON_FILES = re.compile(r"\bops\.aten\.(save|from_file)\b")


def archive_kind(path: Path) -> Archive | None:
    """What a file is; None where it is neither, or cannot be read."""
    try:
        with path.open("rb") as file:
            if file.read(4) != _ZIP:
                return None
        with zipfile.ZipFile(path) as archive:
            return _kind(archive.namelist())
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return None


def _kind(names: Sequence[str]) -> Archive | None:
    # All records are in one folder, named after the file; a program's were not before torch 2.8.
    records = {name.partition("/")[2] for name in names}
    if "constants.pkl" in records and any(name.startswith("code/") for name in records):
        return "torchscript"
    if "archive_format" in records or OLD_PROGRAM in names:
        return "pt2"
    return None


def load_torchscript(path: Path, *, batch: int, input_size: tuple[int, int]) -> LoadedModule:
    """Load a program and trace it for one input shape.

    Args:
        path: The file.
        batch: N of the batch it is traced for.
        input_size: Height and width of that batch. The number of channels is found by trying.

    Raises:
        ModelFileError: It cannot be loaded, uses ops that are refused, or cannot be traced.
        InputError: It does not take a batch of images of this size.
    """
    data = path.read_bytes()
    _refuse_ops(path, data)
    program = _loaded(path, data)
    name = str(program.original_name)
    refuse_unusable(program.state_dict(), str(path))
    was_training = bool(getattr(program, "training", False))
    if was_training:  # before it is tried: in training, running it changes its statistics
        program.eval()
    channels = find_channels(program, (batch, *input_size), str(path))
    example = torch.zeros(batch, channels, *input_size)
    notes = ("it was in training mode; it is converted in evaluation mode",)
    return LoadedModule(
        module=as_module(_exported(path, program, example), path),
        title=f"TorchScript {name}",
        source=Source(path.name, hashlib.sha256(data).hexdigest()),
        in_channels=channels,
        notes=notes if was_training else (),
    )


def _refuse_ops(path: Path, data: bytes) -> None:
    """Refuse a program whose text mentions ops that touch files, or that no export knows.

    Raises:
        ModelFileError: Names the op.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [n for n in archive.namelist() if "/code/" in n and n.endswith(".py")]
            text = "\n".join(archive.read(name).decode("utf-8", "replace") for name in names)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    forbidden = _FILES.search(text) or _PLAIN_OPS_ON_FILES.search(text)
    if forbidden is not None:
        raise ModelFileError(
            f"its program calls {forbidden.group().rstrip('( ')}, which a network has no need of "
            "or no export knows",
            where=path,
            remedy="script or trace the network itself, before any optimisation for a backend",
        )


def _loaded(path: Path, data: bytes) -> Any:
    try:
        with _quiet():
            return torch.jit.load(  # type: ignore[no-untyped-call] # as torch has it
                io.BytesIO(data), map_location="cpu"
            )
    except Exception as error:  # torch's C++ raises whatever the bytes lead to
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"it cannot be loaded as a TorchScript program ({in_a_line(error)})",
        where=path,
        remedy="copy it again, or torch.jit.save it with a torch no newer than yours",
    )


def _exported(path: Path, program: Any, example: torch.Tensor) -> torch.export.ExportedProgram:
    try:
        with _quiet(), torch.no_grad():
            exported: torch.export.ExportedProgram = TS2EPConverter(program, (example,)).convert()
            return exported
    except Exception as error:  # the converter raises in any way for what it lacks
        raise ModelFileError(
            f"torch cannot turn this TorchScript program into one to export ({in_a_line(error)})",
            where=path,
            remedy="convert the module it was made from: ghostedge.convert(module, example), "
            "or --factory with its weights",
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's warnings of TorchScript's age and of its own tracing off the terminal."""
    with quiet_logger("torch", logging.ERROR), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
