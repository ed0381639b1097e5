"""``--unsafe-pickle`` as a person types it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ghostedge
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_convert.checkpoint.sandbox.landlock import landlock_version
from ghostedge_convert.checkpoint.sandbox.seccomp import has_filter
from ghostedge_runtime.errors import CheckpointError

needs_walls = pytest.mark.skipif(
    sys.platform != "linux" or not has_filter(os.uname().machine) or not landlock_version(),
    reason="this machine cannot confine a process, and the option says so",
)


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ghostedge", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def whole_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GhostNet saved whole, as ``torch.save(model, path)`` does."""
    path = tmp_path_factory.mktemp("whole") / "whole.pt"
    torch.manual_seed(0)
    torch.save(GhostNet(width=0.5, num_classes=4).eval(), path)
    return path


def test_a_pickled_module_is_refused_with_the_option_named(whole_module: Path) -> None:
    done = run("inspect", whole_module, cwd=whole_module.parent)
    assert done.returncode == 2
    assert "a whole pickled module" in done.stderr
    assert "add --unsafe-pickle" in done.stderr
    assert "Traceback" not in done.stderr


@needs_walls
def test_with_the_option_it_is_inspected_and_the_option_says_what_it_is(whole_module: Path) -> None:
    done = run("inspect", "--unsafe-pickle", whole_module, cwd=whole_module.parent)
    assert done.returncode == 0, done.stderr
    assert "runs code from the file in a confined process" in done.stderr
    assert "ghostnet_050" in done.stdout


@needs_walls
def test_a_missing_class_is_a_message_and_nothing_is_written(tmp_path: Path) -> None:
    source = tmp_path / "own_net.py"
    source.write_text("import torch\n\nclass Net(torch.nn.Linear):\n    pass\n")
    code = "import torch, own_net; torch.save(own_net.Net(2, 2), 'net.pt')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    done = run("convert", "--unsafe-pickle", "net.pt", "-o", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "it needs own_net.Net, which cannot be imported here" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@needs_walls
def test_the_function_takes_the_option_too(whole_module: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="a whole pickled module"):
        ghostedge.convert(whole_module, output=tmp_path / "out")
    manifest = ghostedge.convert(
        whole_module, output=tmp_path / "out", unsafe_pickle=True, input_size=(64, 64)
    )
    assert any("ran in a confined process" in note for note in manifest.notes)
    assert {each.file for each in manifest.artefacts} == {"whole.onnx", "whole.tflite"}
    assert not manifest.missed
