"""What kind of Keras model a path is, by its content; no framework is imported here."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ghostedge_runtime.errors import CheckpointError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_CONFIG = "config.json"
_SAVED_MODEL = "saved_model.pb"
_MOST_CONFIG_BYTES = 64 << 20


class Kind(str, Enum):
    """The forms in which Keras models are saved."""

    KERAS = ".keras"
    H5 = ".h5"
    SAVED_MODEL = "SavedModel"


def is_keras(path: Path) -> bool:
    """Whether a path looks like a Keras model: a cheap question, for choosing the way in."""
    if path.is_dir():
        return (path / _SAVED_MODEL).is_file() or (path / "saved_model.pbtxt").is_file()
    if path.name.lower().endswith((".keras", ".h5", ".hdf5")):
        return True
    return path.is_file() and _starts_with(path, _HDF5)


def kind_of(path: Path) -> Kind:
    """The kind of model that a path holds.

    Raises:
        CheckpointError: There is none, or it holds something else.
    """
    if path.is_dir():
        if (path / _SAVED_MODEL).is_file():
            return Kind.SAVED_MODEL
        raise CheckpointError(
            f"the folder holds no {_SAVED_MODEL}",
            where=path,
            remedy="pass the SavedModel's own folder, the one that holds it and variables/",
        )
    if not path.is_file():
        raise CheckpointError("no such file", where=path, remedy="check the path")
    if _starts_with(path, _HDF5):
        return Kind.H5
    if zipfile.is_zipfile(path):
        config_of(path)
        return Kind.KERAS
    raise CheckpointError(
        "it is neither a .keras archive nor an HDF5 file, or a cut one",
        where=path,
        remedy="save it again with model.save('model.keras')",
    )


@dataclass(frozen=True)
class Config:
    """What a ``.keras`` archive says of its model.

    Attributes:
        model: The tree of layers, as Keras serialises it.
        keras_version: Which Keras wrote it, empty where it does not say.
    """

    model: dict[str, Any]
    keras_version: str


def config_of(path: Path) -> Config:
    """Read the architecture in a ``.keras`` archive.

    Raises:
        CheckpointError: It is no such archive, or a damaged one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            model = _json(archive, _CONFIG)
            about = _json(archive, "metadata.json") if "metadata.json" in archive.namelist() else {}
    except KeyError as error:
        raise CheckpointError(
            f"it is a zip without Keras's {_CONFIG}",
            where=path,
            remedy="pass a file that model.save('model.keras') wrote",
        ) from error
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(
            f"the .keras archive is damaged ({error})", where=path, remedy="save or copy it again"
        ) from error
    return Config(model, str(about.get("keras_version", "")))


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    if archive.getinfo(name).file_size > _MOST_CONFIG_BYTES:
        raise ValueError(f"its {name} unpacks to more than {_MOST_CONFIG_BYTES >> 20} MiB")
    found = json.loads(archive.read(name))
    if not isinstance(found, dict):
        raise ValueError(f"its {name} is no JSON object")
    return found


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; of a SavedModel, of its files' names and contents in order."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if file is not path:
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
