"""A Keras model's file before any framework is imported: its kind, and its configuration.

The configuration is checked and mended before Keras builds anything from it. Refused: layers that
hold code (Lambda), or that only old Keras or TensorFlow can build. Mended: what Keras 2 wrote and
Keras 3 reads otherwise or not at all, and reduced precision, which is a matter of training speed
and not of the function.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Set
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ghostedge_runtime.errors import CheckpointError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_CONFIG = "config.json"
_SAVED_MODEL = "saved_model.pb"
_MOST_CONFIG_BYTES = 64 << 20

HARD_SIGMOID_2 = "keras2_hard_sigmoid"
"""What ``hard_sigmoid`` is called where Keras 2 wrote it: ``clip(0.2 x + 0.5, 0, 1)`` there."""

_CODE = ("Lambda",)
_TENSORFLOW = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "TFSMLayer")
_CONTAINERS = ("Functional", "Model", "Sequential")
_SEPARABLE = ("kernel_initializer", "kernel_regularizer", "kernel_constraint")
_UNKNOWN_TO_3 = {
    "Conv2DTranspose": ("groups",),
    "DepthwiseConv2D": ("groups",),
    "SeparableConv2D": ("groups", *_SEPARABLE),
}
"""What Keras 2 writes of layers that Keras 3 does not take, and that never meant anything there."""
_REDUCED = ("float16", "bfloat16")


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
    document = json.loads(archive.read(name))
    if not isinstance(document, dict):
        raise ValueError(f"its {name} is no JSON object")
    return document


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


@dataclass(frozen=True)
class Mended:
    """A configuration that Keras 3 can build.

    Attributes:
        model: The tree.
        notes: What was changed, a line each.
    """

    model: dict[str, Any]
    notes: tuple[str, ...]


def layers_of(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every layer's entry, nested models' included, the model's own first."""
    yield config
    inside = config.get("config")
    if not isinstance(inside, dict):
        return
    children = [*inside.get("layers", ()), inside.get("layer"), inside.get("backward_layer")]
    for child in children:
        if isinstance(child, dict) and "class_name" in child:
            yield from layers_of(child)


def refuse_unsafe(config: dict[str, Any], path: Path) -> None:
    """Refuse layers whose code would have to be run, or that Keras 3 does not have.

    Raises:
        CheckpointError: There is one; it is named.
    """
    for layer in layers_of(config):
        kind = str(layer.get("class_name"))
        inside = layer.get("config")
        own = inside.get("name") if isinstance(inside, dict) else None
        name = str(layer.get("name") or own or "?")
        if kind in _CODE:
            raise CheckpointError(
                f"its layer {name!r} is a {kind}: Python code stored in the file, which is not run",
                where=path,
                remedy="rebuild the model with a layer class of your own in its place and pass "
                "--custom-objects FILE.py, or save it as a SavedModel with model.export(folder)",
            )
        if kind in _TENSORFLOW:
            raise CheckpointError(
                f"its layer {name!r} is a {kind}, a TensorFlow function that Keras 3 cannot build",
                where=path,
                remedy="save it as a SavedModel (model.export(folder), or tf.saved_model.save with "
                "Keras 2) and convert that folder",
            )


def refuse_other_kernels(config: dict[str, Any], path: Path) -> None:
    """Refuse what Keras's torch backend computes otherwise than TensorFlow and cannot be mended.

    Bicubic weights have a = -0.75 in torch and a = -0.5 in TensorFlow.

    Raises:
        CheckpointError: There is such a layer; it is named.
    """
    for layer in layers_of(config):
        inside = layer.get("config")
        if isinstance(inside, dict) and inside.get("interpolation") == "bicubic":
            raise CheckpointError(
                f"its layer {inside.get('name')!r} interpolates by bicubic weights, which Keras "
                "takes from torch here and from TensorFlow there, and which differ",
                where=path,
                remedy="save it as a SavedModel, model.export(folder), and convert that folder; or "
                "use interpolation='bilinear'",
            )


def refuse_unknown(config: dict[str, Any], builtin: Set[str], custom: Set[str], path: Path) -> None:
    """Refuse classes that neither Keras nor the custom objects have.

    Args:
        config: The tree.
        builtin: Layer classes of Keras itself.
        custom: Names under which classes of the user's are at hand.
        path: Of the file.

    Raises:
        CheckpointError: There are some; all are named.
    """
    missing: list[str] = []
    for layer in layers_of(config):
        kind = str(layer.get("class_name"))
        names = (kind, kind.rpartition(">")[2], str(layer.get("registered_name")))
        if not _is_keras(layer, builtin) and custom.isdisjoint(names) and kind not in missing:
            missing.append(kind)
    if missing:
        words = ", ".join(repr(name) for name in missing)
        raise CheckpointError(
            f"it is built of classes that are not Keras's own: {words}",
            where=path,
            remedy="pass --custom-objects FILE.py with the Python file that defines "
            f"{'it' if len(missing) == 1 else 'them'}, or --factory FILE.py:FUNCTION",
        )


def _is_keras(layer: dict[str, Any], builtin: Set[str]) -> bool:
    """Whether a class is Keras's: by its module, which HDF5 files of Keras 2 do not state."""
    module, kind = layer.get("module"), layer.get("class_name")
    if module:
        return str(module).split(".")[0] == "keras"
    return not layer.get("registered_name") and (kind in builtin or kind in _CONTAINERS)


def mended(config: dict[str, Any], *, keras_version: str) -> Mended:
    """The configuration as Keras 3 understands it.

    Args:
        config: The tree; untouched.
        keras_version: Which Keras wrote it.
    """
    old = keras_version.startswith("2.")
    notes: list[str] = []
    model = _mend(config, old=old, notes=notes)
    return Mended(model, tuple(dict.fromkeys(notes)))


def _mend(value: Any, *, old: bool, notes: list[str], key: str = "") -> Any:
    if isinstance(value, list):
        return [_mend(item, old=old, notes=notes, key=key) for item in value]
    if key == "dtype" and _is_reduced(value):
        notes.append("its reduced precision (mixed_float16 or the like) is computed in float32")
        return "float32"
    if old and key.endswith("activation") and _function(value) == "hard_sigmoid":
        notes.append("its hard_sigmoid is Keras 2's, clip(0.2 x + 0.5, 0, 1)")
        return HARD_SIGMOID_2
    if not isinstance(value, dict):
        return value
    result = {k: _mend(v, old=old, notes=notes, key=k) for k, v in value.items()}
    inside = result.get("config")
    if old and isinstance(inside, dict):
        for name in _UNKNOWN_TO_3.get(str(result.get("class_name")), ()):
            inside.pop(name, None)
    return result


def _is_reduced(value: Any) -> bool:
    if isinstance(value, dict):
        inside = value.get("config")
        value = inside.get("name") if isinstance(inside, dict) else None
    return isinstance(value, str) and value.removeprefix("mixed_") in _REDUCED


def _function(value: Any) -> str | None:
    """The name of an activation, plain or serialised as an object."""
    if isinstance(value, dict):
        value = value.get("config") or value.get("class_name")
    return value if isinstance(value, str) else None
