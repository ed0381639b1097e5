"""From MODEL, whatever it is, to a network whose layers can be read."""

from __future__ import annotations

from pathlib import Path

from ghostedge.features.tap import Tap
from ghostedge_runtime.errors import MissingDependencyError
from ghostedge_runtime.metadata import Preprocessing


def open_tap(path: Path, *, ema: bool = False, preprocessing: Preprocessing | None = None) -> Tap:
    """Open a network; the suffix decides what reads it, and anything unknown is a checkpoint.

    Args:
        path: A ``.tflite``, an ``.onnx`` or anything that `ghostedge convert` builds a network of.
        ema: Of a checkpoint that holds both, the averaged weights.
        preprocessing: For a file that carries none.

    Raises:
        InputError: It cannot be used.
        MissingDependencyError: Reading it needs an extra.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".tflite":
            from ghostedge.features.tflite_tap import open_tflite

            return open_tflite(path, preprocessing)
        if suffix == ".onnx":
            from ghostedge.features.onnx_tap import open_onnx

            return open_onnx(path, preprocessing)
        from ghostedge.features.checkpoint_tap import open_checkpoint

        return open_checkpoint(path, ema=ema, preprocessing=preprocessing)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"looking into this kind of file needs {error.name}, which is not installed",
            where=path,
            remedy="pip install 'ghostedge[convert]'; a .tflite needs nothing more",
        ) from error
