"""Which kind of file is it?

From MODEL, whatever it is, to a network whose layers can be read.
"""

from __future__ import annotations

from pathlib import Path

from ghostedge.formats.format import NO_FLAGS, Building, Inspection, Tap
from ghostedge_runtime.errors import InputError, MissingDependencyError, ModelFileError
from ghostedge_runtime.metadata import Preprocessing

_KERAS = (".keras", ".h5", ".hdf5")


def inspect_file(
    path: Path,
    *,
    ema: bool = False,
    unsafe_pickle: bool = False,
    key_prefix: str | None = None,
    arch: str | None = None,
) -> Inspection:
    """Inspect a model file of any kind; the suffix decides which.

    Args:
        path: The file.
        ema: Of a checkpoint, the averaged weights.
        unsafe_pickle: Let a checkpoint run code, confined.
        key_prefix: Of a checkpoint, what the keys of the wanted network begin with.
        arch: What architecture a checkpoint is said to be of.

    Raises:
        InputError: The file is missing, damaged or of no known kind.
        MissingDependencyError: Reading this kind needs the ``convert`` extra.
    """
    suffix = path.suffix.lower()
    if suffix in _KERAS or (path / "saved_model.pb").is_file():
        raise ModelFileError(
            "it is a Keras model or a SavedModel, which only `ghostedge convert` reads",
            where=path,
            remedy="convert it, and inspect the .onnx or .tflite",
        )
    for value, flag in ((key_prefix, "--key-prefix"), (arch, "--arch")):
        if value is not None and suffix in (".tflite", ".onnx"):
            raise InputError(
                "MODEL is no checkpoint, so this has no effect on it",
                where=flag,
                remedy="leave it out",
            )
    if not path.is_file():
        what = "it is a folder, not a file" if path.is_dir() else "there is no such file"
        raise ModelFileError(what, where=path, remedy="give the path of a model file")
    try:
        if suffix == ".tflite":
            from ghostedge.formats.tflite import inspect_tflite

            return inspect_tflite(path)
        if suffix == ".onnx":
            from ghostedge.formats.onnx import inspect_onnx

            return inspect_onnx(path)
        from ghostedge.formats.unbuilt import inspect_checkpoint

        return inspect_checkpoint(
            path, ema=ema, unsafe_pickle=unsafe_pickle, key_prefix=key_prefix, arch=arch
        )
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"inspecting this kind of file needs {error.name}, which is not installed",
            where=path,
            remedy="pip install 'ghostedge[convert]'",
        ) from error


def open_tap(
    path: Path, building: Building = NO_FLAGS, *, preprocessing: Preprocessing | None = None
) -> Tap:
    """Open a network; the suffix decides what reads it.

    Args:
        path: A ``.tflite``, an ``.onnx`` or anything that `ghostedge convert` builds a network of.
        building: How it does.
        preprocessing: For a file that carries none.

    Raises:
        InputError: It cannot be used.
        MissingDependencyError: Reading it needs an extra.
    """
    suffix = "" if building.factory else path.suffix.lower()
    try:
        if suffix == ".tflite":
            from ghostedge.formats.tflite import open_tflite

            return _as_it_is(open_tflite(path, preprocessing), building)
        if suffix == ".onnx":
            from ghostedge.formats.onnx import open_onnx

            tap = open_onnx(path, preprocessing)
            if tap is not None:
                return _as_it_is(tap, building)
        from ghostedge.formats.unbuilt import open_by_door

        return open_by_door(path, building, preprocessing)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"looking into this kind of file needs {error.name}, which is not installed",
            where=path,
            remedy="pip install 'ghostedge[convert]'; a .tflite needs nothing more",
        ) from error


def _as_it_is(tap: Tap, building: Building) -> Tap:
    """Refuse flags that would do nothing."""
    for flag in building.stated():
        raise InputError(
            f"{tap.path.name} is a network already, nothing is left to choose",
            where=flag,
            remedy="leave it out",
        )
    return tap
