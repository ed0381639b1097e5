"""The boards that `emulate.py` set up, and an int8 model in both formats with images for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import ghostedge

INFER = Path(__file__).with_name("infer.py")


@pytest.fixture(scope="session", params=["cortex-a72", "cortex-a76"])
def board(request: pytest.FixtureRequest, arm_board: Callable[[str], Path]) -> Path:
    """The folder with this board's interpreters."""
    return arm_board(request.param)


@dataclass(frozen=True)
class Int8:
    """One network in int8 with int8 logits, so that one quantization step is a difference of 1.

    Attributes:
        tflite: The model file.
        onnx: The same integers in QDQ form.
        images: ``.npy``, uint8 (36, 64, 64, 3): a drawing of every glyph.
    """

    tflite: Path
    onnx: Path
    images: Path

    def logits(self, engine: str, python: str | Path, target: Path) -> npt.NDArray[np.int64]:
        """The logits, (36, 36), that an engine of `infer.py` gives under a Python."""
        model = self.onnx if engine == "onnxruntime" else self.tflite
        command = [python, INFER, engine, model, self.images, target]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        logits = np.load(target)
        assert (logits.dtype, logits.shape) == (np.dtype(np.int8), (36, 36))
        return logits.astype(np.int64)


@pytest.fixture(scope="session")
def int8(example_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Int8:
    folder = tmp_path_factory.mktemp("int8")
    generate = example_checkpoint.with_name("generate.py")
    command = [sys.executable, generate, folder / "glyphs", "--images", "36", "--seed", "3"]
    subprocess.run([*command, "--format", "png"], check=True, capture_output=True)
    drawings = [np.asarray(Image.open(p)) for p in sorted((folder / "glyphs").rglob("*.png"))]
    np.save(folder / "glyphs.npy", np.stack(drawings))
    manifest = ghostedge.convert(
        example_checkpoint,
        precision=("int8",),
        calib=folder / "glyphs",
        output_type="int8",
        # Neither changes how the network runs; both take long.
        equalize=False,
        bias_correction="none",
        output=folder / "out",
    )
    onnx, tflite = (manifest.folder / f"{manifest.name}_int8.{kind}" for kind in ("onnx", "tflite"))
    return Int8(tflite, onnx, folder / "glyphs.npy")
