"""`inspect` and `convert` on a RepGhostNet and a G-Ghost RegNet with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from ghostedge_convert.architectures.gghost_regnet import GGhostRegNet
from ghostedge_convert.architectures.repghost import RepGhostNet, Variant

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``repghost.pth.tar``, wrapped as its authors do, and ``gghost.pth``."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    trained = RepGhostNet(width=0.58, num_classes=12).state_dict()
    torch.save({"epoch": 300, "state_dict": trained}, folder / "repghost.pth.tar")
    torch.save(GGhostRegNet(member=2, num_classes=12).state_dict(), folder / "gghost.pth")
    return folder


@pytest.mark.parametrize(
    ("file", "name", "parameters"),
    [
        ("repghost.pth.tar", "repghostnet_058", 1_272_108),
        ("gghost.pth", "g_ghost_regnetx_002", 1_460_868),
    ],
)
def test_inspect_tells_the_member_and_the_deployed_cost(
    in_process: Command, weights: Path, file: str, name: str, parameters: int
) -> None:
    done = in_process("inspect", weights / file, "--json", cwd=weights)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["facts"]["architecture"] == name
    assert found["facts"]["classes"] == "12"
    assert found["parameters"] == parameters


@pytest.mark.parametrize(
    ("file", "name"),
    [("repghost.pth.tar", "repghostnet_058"), ("gghost.pth", "g_ghost_regnetx_002")],
)
def test_convert_writes_float_and_int8_files(
    in_process: Command, *, weights: Path, pictures: Path, tmp_path: Path, file: str, name: str
) -> None:
    """Without the slow steps of int8: random weights' accuracy is nothing to be kept."""
    done = in_process(
        "convert", weights / file, "--int8", "--calib", pictures, "--calib-images", 16,
        "--input-size", 64, "--no-equalize", "--bias-correction", "none", "--ranges", "minmax",
        "--json", "-o", tmp_path / "out", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["metadata"]["architecture"]["name"] == name
    parities = {(a["format"], a["precision"]): a["parity"] for a in manifest["artefacts"]}
    assert parities["onnx", "float32"]["within_budget"]
    assert parities["tflite", "float32"]["within_budget"]
    assert parities["tflite", "int8"]["agreement_pct"] >= 80


def test_a_wrong_width_is_refused_without_a_traceback(
    in_process: Command, weights: Path, tmp_path: Path
) -> None:
    done = in_process("convert", weights / "repghost.pth.tar", "--width", "1.0", cwd=tmp_path)
    assert done.returncode == 2
    assert "width 1.0 is given, at which" in done.stderr
    assert "width 0.58" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_keys_cannot_tell_is_printed_and_arch_tells_it(
    in_process: Command, tmp_path: Path
) -> None:
    made = RepGhostNet(width=0.5, num_classes=4, variant=Variant(shortcuts=False)).eval()
    torch.save(made.state_dict(), tmp_path / "wo.pt")
    flags = ("--input-size", 64, "--json", "-o", tmp_path / "out")
    done = in_process("convert", tmp_path / "wo.pt", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    fact = next(each for each in manifest["inferred"] if each["name"] == "architecture")
    assert fact["value"] == "repghostnet_050"
    assert "repghostnet_wo_050 too: --arch says which" in fact["origin"]
    assert any("--arch repghostnet_wo_050" in note for note in manifest["notes"])
    named = ("--arch", "repghostnet_wo_050")
    done = in_process("inspect", tmp_path / "wo.pt", *named, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["facts"]["architecture"] == "repghostnet_wo_050"
    done = in_process("convert", tmp_path / "wo.pt", *named, *flags, cwd=tmp_path)
    manifest = json.loads(done.stdout)
    assert manifest["metadata"]["architecture"]["name"] == "repghostnet_wo_050"
    assert not any("cannot tell" in note for note in manifest["notes"])
