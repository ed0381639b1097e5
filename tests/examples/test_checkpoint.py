"""The bundled checkpoint: small, loadable into our GhostNet, and right on images it never saw."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_runtime.metadata import Preprocessing

UNSEEN_SEED = 90_210  # neither the training's nor the demo's


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_it_is_float16_and_at_most_4_mb(example_checkpoint: Path) -> None:
    assert example_checkpoint.stat().st_size <= 4_000_000
    dtypes = {tensor.dtype for tensor in load_file(example_checkpoint).values()}
    assert dtypes == {torch.float16, torch.int64}  # batch norm counts its batches in int64


def test_its_keys_and_shapes_are_those_of_ghostnet_half_width(example_checkpoint: Path) -> None:
    state = load_file(example_checkpoint)
    network = GhostNet(width=0.5, num_classes=36)
    network.load_state_dict(state, strict=True)
    assert {k: v.shape for k, v in state.items()} == {
        k: v.shape for k, v in network.state_dict().items()
    }


def test_its_numbers_suit_folding_and_int8(example_checkpoint: Path) -> None:
    state = load_file(example_checkpoint)
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    variances = [v for k, v in state.items() if k.endswith("running_var")]
    assert min(float(v.min()) for v in variances) > 0
    largest = {k: float(v.abs().max()) for k, v in state.items() if v.is_floating_point()}
    assert max(largest.values()) < 1000, max(largest, key=lambda key: largest[key])


def test_its_config_follows_the_convention_and_agrees_with_the_generator(
    example_checkpoint: Path, generate: ModuleType, train: ModuleType
) -> None:
    config = json.loads((example_checkpoint.parent / "config.json").read_text())
    assert (config["architecture"], config["num_classes"]) == ("ghostnet_050", 36)
    pretrained = config["pretrained_cfg"]
    assert tuple(pretrained["label_names"]) == generate.LABELS
    assert pretrained["input_size"] == [3, train.SIZE, train.SIZE]
    Preprocessing(
        input_size=tuple(pretrained["input_size"][1:]),
        interpolation=pretrained["interpolation"],
        crop_pct=pretrained["crop_pct"],
        mean=tuple(pretrained["mean"]),
        std=tuple(pretrained["std"]),
    )


def test_it_names_at_least_95_percent_of_fresh_images(
    example_checkpoint: Path, train: ModuleType
) -> None:
    network = train.load(example_checkpoint)
    assert train.accuracy(network, count=600, seed=UNSEEN_SEED) >= 0.95


def test_saving_rounds_to_float16_and_loading_gives_the_same_network(
    train: ModuleType, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = train.new_network().eval()
    train.save(network, tmp_path)
    loaded = train.load(tmp_path / train.WEIGHTS)
    images = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        before, after = (net(train.to_input(images)) for net in (network, loaded))
    torch.testing.assert_close(after, before, rtol=0, atol=2e-3)


def test_augmentation_moves_and_recolours_but_keeps_the_pixels_in_range(train: ModuleType) -> None:
    images = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    images[:, 8, 8] = torch.tensor([10, 20, 30], dtype=torch.uint8)
    for seed in range(20):
        out = train.augment(images, 4, np.random.default_rng(seed))
        assert (out.dtype, out.shape) == (torch.uint8, images.shape)
        inverted = bool(out[0, 0, 0, 0] == 255)
        spot = (255 - out if inverted else out)[0].int()
        row, column = divmod(int(spot.sum(-1).argmax()), 16)
        assert sorted(spot[row, column].tolist()) == [10, 20, 30]
        assert max(abs(row - 8), abs(column - 8)) <= 4
