"""ARM code computes this machine's int8 logits: run as two processors that `emulate.py` set up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# In the engine's interpreter folder on the board; the Python on this machine, by variable.
WRAPPERS = {
    "ai-edge-litert": "python",
    "onnxruntime": "python-onnxruntime",
    "tflite-runtime": "python-tflite-runtime",
    "tflite-runtime reference kernels": "python-tflite-runtime",
}
PROCESSORS = {"cortex-a72": ("Cortex-A72", []), "cortex-a76": ("Cortex-A76", ["dotprod", "fp16"])}


def emulated(board: Path, engine: str) -> Path:
    python = board / WRAPPERS[engine]
    if not python.is_file():
        pytest.skip("no aarch64 wheel of tflite-runtime 2.14 for that system's Python")
    return python


def native(engine: str) -> str:
    if not engine.startswith("tflite-runtime"):
        return sys.executable
    python = os.environ.get("GHOSTEDGE_TFLITE_RUNTIME_PYTHON")
    if not python:
        pytest.skip(
            "needs tflite-runtime 2.14: set GHOSTEDGE_TFLITE_RUNTIME_PYTHON to a Python that has it"
        )
    return python


def test_an_emulated_board_knows_its_processor(board: Path) -> None:
    """And so does a process that its Python starts, as `ghostedge bench` does for every model."""
    code = """
import json, subprocess, sys
from ghostedge_runtime.machine.facts import machine_facts
child = [sys.executable, "-c", "import platform; print(platform.machine())"]
facts = machine_facts()
print(json.dumps([
    facts.machine, facts.cpu, facts.features,
    subprocess.run(child, capture_output=True, text=True, check=True).stdout.strip(),
]))
"""
    done = subprocess.run(
        [board / "python", "-c", code], capture_output=True, text=True, check=True
    )
    cpu, features = PROCESSORS[board.name]
    assert json.loads(done.stdout) == ["aarch64", cpu, features, "aarch64"]


@pytest.mark.parametrize(
    "engine", ["ai-edge-litert", "onnxruntime", "tflite-runtime reference kernels"]
)
def test_int8_logits_are_x86s_within_one_step(
    board: Path, int8: Any, engine: str, tmp_path: Path
) -> None:
    """One step of the int8 output: its scale, 1 in the integers that are compared."""
    there = int8.logits(engine, emulated(board, engine), tmp_path / "there.npy")
    here = int8.logits(engine, native(engine), tmp_path / "here.npy")
    assert abs(there - here).max() <= 1
    assert (there.argmax(1) == here.argmax(1)).all()
    assert len(set(there.argmax(1))) > 30  # of 36 glyphs: not one answer for all


def test_tflite_runtimes_own_kernels_name_the_same_glyphs(
    board: Path, int8: Any, tmp_path: Path
) -> None:
    """Its int8 convolutions round now and then to the other neighbour on ARM than on x86.

    The layers after make several steps of that one; the same wheel's reference kernels do not.
    """
    engine = "tflite-runtime"
    there = int8.logits(engine, emulated(board, engine), tmp_path / "there.npy")
    here = int8.logits(engine, native(engine), tmp_path / "here.npy")
    assert abs(there - here).mean() < 1
    assert (there.argmax(1) == here.argmax(1)).all()
