"""Keras models, written by TensorFlow in a process of its own; what it answers beside them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ghostedge_runtime.images import list_images, prepare
from ghostedge_runtime.metadata import Preprocessing

Answers = dict[str, npt.NDArray[np.float32]]
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def needs_tensorflow() -> None:
    """Skip where the extra is not installed; nothing is imported here."""
    missing = [n for n in ("keras", "tensorflow") if importlib.util.find_spec(n) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}: pip install 'ghostedge[keras]'")


@pytest.fixture(scope="session")
def keras_models(
    needs_tensorflow: None, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder that ``make_models.py`` fills."""
    folder = tmp_path_factory.mktemp("keras")
    files = list_images(pictures)[:4]
    sizes = {"64x64": (64, 64), "48x32": (48, 32)}
    pixels = {
        name: np.stack([prepare(f, Preprocessing(input_size=size, crop_pct=1.0)) for f in files])
        for name, size in sizes.items()
    }
    np.savez(folder / "images.npz", **pixels)
    done = subprocess.run(
        [sys.executable, HERE / "make_models.py", folder, folder / "images.npz"],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def answers(keras_models: Path) -> Callable[[str], Answers]:
    """A model's images and outputs, TensorFlow's and its TFLite conversion's, maps NCHW."""

    def load(name: str) -> Answers:
        found = dict(np.load(keras_models / f"{name}.npz"))
        return {k: v.transpose(0, 3, 1, 2) if v.ndim == 4 else v for k, v in found.items()}

    return load
