"""`inspect` and `convert` on a GhostNetV2 and a GhostNetV3 with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from ghostedge_convert.architectures.ghostnetv2 import GhostNetV2
from ghostedge_convert.architectures.ghostnetv3 import GhostNetV3

Command = Callable[..., CompletedProcess[str]]
FILES = [("ck_ghostnetv2_10.pth.tar", "ghostnetv2_050"), ("ghostnetv3.pth.tar", "ghostnetv3_050")]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a V2 as Huawei wraps it, counters of thop inside, and a V3 with averages."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    second = GhostNetV2(width=0.5, num_classes=12).state_dict()
    counted = {**second, "blocks.0.0.ghost1.total_ops": torch.zeros(1)}
    torch.save({"epoch": 450, "state_dict": counted}, folder / FILES[0][0])
    third = GhostNetV3(width=0.5, num_classes=12).state_dict()
    torch.save({"state_dict": third, "state_dict_ema": third}, folder / FILES[1][0])
    return folder


@pytest.mark.parametrize(
    ("file", "name", "parameters"), [(*FILES[0], 1_592_208), (*FILES[1], 1_577_444)]
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


@pytest.mark.parametrize(("file", "name"), FILES)
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
    assert manifest["metadata"]["preprocessing"]["interpolation"] == "bicubic"
    parities = {(a["format"], a["precision"]): a["parity"] for a in manifest["artefacts"]}
    assert parities["onnx", "float32"]["within_budget"]
    assert parities["tflite", "float32"]["within_budget"]
    assert parities["tflite", "int8"]["agreement_pct"] >= 80


def test_logits_of_some_hundreds_are_held_to_a_share_of_their_scale(
    in_process: Command, tmp_path: Path
) -> None:
    """Large gains make float32's rounding large too: by absolute bounds the files would differ."""
    torch.manual_seed(0)
    network = GhostNetV3(width=0.5, num_classes=12)
    for layer in network.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            layer.weight.data *= 1.3
    torch.save(network.state_dict(), tmp_path / "m.pth")
    done = in_process("convert", tmp_path / "m.pth", "--input-size", 64, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for artefact in json.loads(done.stdout)["artefacts"]:
        parity = artefact["parity"]
        assert parity["max_abs_diff"] > 1e-4
        assert parity["max_relative_diff"] < 1e-3
        assert parity["within_budget"]


def test_an_input_too_small_to_be_halved_is_refused_without_a_traceback(
    in_process: Command, weights: Path, tmp_path: Path
) -> None:
    done = in_process("convert", weights / FILES[0][0], "--input-size", "32", cwd=tmp_path)
    assert done.returncode == 2
    assert "the attention halves a map of 1 × 1, which is too small" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_wrong_family_is_refused_without_a_traceback(
    in_process: Command, weights: Path, tmp_path: Path
) -> None:
    done = in_process("convert", weights / FILES[1][0], "--arch", "ghostnetv2_050", cwd=tmp_path)
    assert done.returncode == 2
    assert "these are weights of a GhostNetV3" in done.stderr
    assert "but arch says GhostNetV2" in done.stderr
    assert "Traceback" not in done.stderr
