"""From a path to what reads it: by the format of a model file, else as a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ghostedge.formats.format import NO_FLAGS, Building, Inspection, LayerReader
from ghostedge.formats.table import TARGETS, Target, resolve
from ghostedge.records.image_fit import NO_NORMS, ImageFit
from ghostedge_runtime.errors import InputError, MissingDependencyError, ModelFileError
from ghostedge_runtime.folders import list_images
from ghostedge_runtime.formats.table import format_of
from ghostedge_runtime.metadata import Preprocessing

_KERAS = (".keras", ".h5", ".hdf5")
_INSPECTS_CHECKPOINT = "ghostedge.unbuilt:inspect_checkpoint"
_BUILDS = "ghostedge.unbuilt:open_unbuilt"
_INSPECTS_IMAGES = "ghostedge.unbuilt:inspect_images"
_KEEPS_NORMS = "onnx"
"""The one format whose files may hold batch norms as they were trained."""


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
        MissingDependencyError: Reading this kind needs an extra.
    """
    if path.suffix.lower() in _KERAS or (path / "saved_model.pb").is_file():
        raise ModelFileError(
            "it is a Keras model or a SavedModel, which only `ghostedge convert` reads",
            where=path,
            remedy="convert it, and inspect the .onnx or .tflite",
        )
    target = _target_of(path)
    for value, flag in ((key_prefix, "--key-prefix"), (arch, "--arch")):
        if value is not None and target is not None:
            raise InputError(
                "MODEL is no checkpoint, so this has no effect on it",
                where=flag,
                remedy="leave it out",
            )
    if not path.is_file():
        what = "it is a folder, not a file" if path.is_dir() else "there is no such file"
        raise ModelFileError(what, where=path, remedy="give the path of a model file")
    try:
        if target is not None:
            inspection: Inspection = resolve(target.inspects)(path)
        else:
            inspection = resolve(_INSPECTS_CHECKPOINT)(
                path, ema=ema, unsafe_pickle=unsafe_pickle, key_prefix=key_prefix, arch=arch
            )
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"inspecting this kind of file needs {error.name}, which is not installed",
            where=path,
            remedy=_install_line(target),
        ) from error
    return inspection


def inspect_with_images(path: Path, building: Building, calib: Path, most: int) -> Inspection:
    """Inspect a network and hold images against what it remembers of its training.

    Args:
        path: A model file or anything that `ghostedge convert` builds a network of.
        building: How it does.
        calib: A folder of images, at any depth.
        most: Look at no more than so many.

    Raises:
        InputError: It cannot be used.
        ImageError: There is no such folder, or no image in it.
        MissingDependencyError: Reading it needs an extra.
    """
    target = None if building.factory else _target_of(path)
    if target is not None and target.format.name != _KEEPS_NORMS:
        images = len(list_images(calib))
        inspection = inspect_file(path, key_prefix=building.key_prefix, arch=building.arch)
        fit = ImageFit(min(images, most), str(calib), not_checked=(NO_NORMS,))
        return replace(inspection, image_fit=fit)
    try:
        inspected: Inspection = resolve(_INSPECTS_IMAGES)(path, building, calib, most)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"holding images against a network needs {error.name}, which is not installed",
            where=path,
            remedy=_install_line(target),
        ) from error
    return inspected


def open_layer_reader(
    path: Path, building: Building = NO_FLAGS, *, preprocessing: Preprocessing | None = None
) -> LayerReader:
    """Open a network; the suffix decides what reads it.

    Args:
        path: A model file or anything that `ghostedge convert` builds a network of.
        building: How it does.
        preprocessing: For a file that carries none.

    Raises:
        InputError: It cannot be used.
        MissingDependencyError: Reading it needs an extra.
    """
    target = None if building.factory else _target_of(path)
    try:
        reader: LayerReader | None = None
        if target is not None:
            reader = resolve(target.reads_layers)(path, preprocessing)
        if reader is not None:
            return _as_it_is(reader, building)
        built: LayerReader = resolve(_BUILDS)(path, building, preprocessing)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"looking into this kind of file needs {error.name}, which is not installed",
            where=path,
            remedy=f"{_install_line(target)}; a .tflite needs nothing more",
        ) from error
    return built


def _target_of(path: Path) -> Target | None:
    fmt = format_of(path)
    return None if fmt is None else TARGETS.get(fmt.name)


def _install_line(target: Target | None) -> str:
    return "pip install 'ghostedge[convert]'" if target is None else target.install_line


def _as_it_is(reader: LayerReader, building: Building) -> LayerReader:
    """Refuse flags that would do nothing."""
    for flag in building.stated():
        raise InputError(
            f"{reader.path.name} is a network already, nothing is left to choose",
            where=flag,
            remedy="leave it out",
        )
    return reader
