"""From MODEL, whatever it is, to a network whose layers can be read."""

from __future__ import annotations

from pathlib import Path

from ghostedge.features.tap import NO_FLAGS, Building, Tap
from ghostedge_runtime.errors import InputError, MissingDependencyError
from ghostedge_runtime.metadata import Preprocessing


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
            from ghostedge.features.tflite_tap import open_tflite

            return _as_it_is(open_tflite(path, preprocessing), building)
        if suffix == ".onnx":
            from ghostedge.features.onnx_tap import open_onnx

            tap = open_onnx(path, preprocessing)
            if tap is not None:
                return _as_it_is(tap, building)
        from ghostedge.features.door_tap import open_by_door

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
