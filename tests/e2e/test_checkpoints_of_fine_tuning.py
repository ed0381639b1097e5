"""Files as fine-tuning leaves them: other heads, prefixes, pairs, pruned, of grey images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from ghostedge_convert.architectures.family import set_channels
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_runtime.model import Model

Command = Callable[..., CompletedProcess[str]]
SIZE = 64


def network(seed: int = 0, channels: int = 3) -> GhostNet:
    """A small GhostNet whose every value counts in its output."""
    with torch.device("meta"):
        made = GhostNet(width=0.1, num_classes=4)
        set_channels(made, channels)
    made.to_empty(device="cpu")
    torch.manual_seed(seed)
    for module in made.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.reset_parameters()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            module.momentum = None
    with torch.no_grad():
        made.train()(torch.randn(16, channels, SIZE, SIZE))
    return made.eval()


def under(prefix: str, module: nn.Module) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in module.state_dict().items()}


def converted(command: Command, folder: Path, content: object, *flags: str) -> tuple[Path, dict]:
    torch.save(content, folder / "w.pt")
    done = command("convert", folder / "w.pt", "--input-size", str(SIZE), *flags, "--json",
                   "-o", folder / "out", cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "out", json.loads(done.stdout)


def assert_computes(folder: Path, made: nn.Module, channels: int = 3) -> None:
    """Both files compute what the network does."""
    ramp = np.linspace(-2, 2, channels * SIZE * SIZE, dtype=np.float32)
    image = ramp.reshape(1, channels, SIZE, SIZE)
    with torch.no_grad():
        wanted = made(torch.from_numpy(image)).numpy()
    for suffix, batch in (("onnx", image), ("tflite", image.transpose(0, 2, 3, 1))):
        with Model(folder / f"w.{suffix}") as model:
            found = model.logits(np.ascontiguousarray(batch))
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_backbone_with_a_pruned_head_beside_it_converts(
    in_process: Command, tmp_path: Path
) -> None:
    made = network()
    head = prune.l1_unstructured(nn.Linear(1280, 4), "weight", amount=0.5)
    trunk = {k: v for k, v in under("model.backbone.", made).items() if ".classifier." not in k}
    state = {**trunk, **under("model.head.1.", head)}
    made.classifier = head
    folder, manifest = converted(in_process, tmp_path, {"state_dict": state, "epoch": 3})
    assert_computes(folder, made)
    notes = " ".join(manifest["notes"])
    assert "pruning" in notes
    assert "took the network under 'backbone.'" in notes
    assert "took head.1 for the classifier: it is 4 × 1280, with a bias" in notes


def test_of_a_pair_the_flag_chooses(in_process: Command, tmp_path: Path) -> None:
    student, teacher = network(0), network(1)
    content = {**under("student.", student), **under("teacher.", teacher)}
    folder, manifest = converted(in_process, tmp_path, content, "--key-prefix", "teacher")
    assert_computes(folder, teacher)
    assert any("took the network under 'teacher.'" in note for note in manifest["notes"])
    done = in_process("inspect", tmp_path / "w.pt", "--json", cwd=tmp_path)
    assert "--key-prefix teacher takes that" in done.stdout
    done = in_process("inspect", tmp_path / "w.pt", "--key-prefix", "other", cwd=tmp_path)
    assert done.returncode == 2
    assert "pass one of student, teacher" in done.stderr
    for file, flags in (("w.onnx", ("--key-prefix", "x")), ("w.tflite", ("--arch", "ghostnet"))):
        done = in_process("inspect", folder / file, *flags, cwd=tmp_path)
        assert done.returncode == 2
        assert "has no effect" in done.stderr


@pytest.mark.parametrize(
    ("trained", "mean", "origin"),
    [
        ({"input_size": [1, 64, 64], "mean": [0.4], "std": [0.2]}, "0.4", "from config.json"),
        (
            {"input_size": [3, 64, 64], "mean": [0.3, 0.4, 0.5], "std": [0.2, 0.2, 0.2]},
            "0.4",
            "from config.json: the average of its 3, as timm takes it",
        ),
    ],
)
def test_a_config_of_grey_images_is_taken(
    in_process: Command, tmp_path: Path, trained: dict, mean: str, origin: str
) -> None:
    made = network(channels=1)
    (tmp_path / "config.json").write_text(json.dumps({"in_chans": 1, "pretrained_cfg": trained}))
    folder, manifest = converted(in_process, tmp_path, made.state_dict())
    assert_computes(folder, made, channels=1)
    fact = next(each for each in manifest["inferred"] if each["name"] == "mean")
    assert (fact["value"], fact["origin"]) == (mean, origin)


def test_a_head_of_two_layers_is_refused_before_anything_is_written(
    in_process: Command, tmp_path: Path
) -> None:
    state = {k: v for k, v in network().state_dict().items() if not k.startswith("classifier.")}
    layers = nn.Sequential(nn.Linear(1280, 64), nn.ReLU(), nn.Linear(64, 4))
    torch.save({**state, **under("classifier.", layers)}, tmp_path / "w.pt")
    done = in_process("convert", tmp_path / "w.pt", "-o", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "more than one dense layer" in done.stderr
    assert "--factory FILE.py:FUNCTION" in done.stderr
    assert not (tmp_path / "out").exists()
