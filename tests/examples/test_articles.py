"""The scripts that train the articles' networks: their pictures, their input, their training."""

from __future__ import annotations

import importlib
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from ghostedge_convert.checkpoint.config import read_config
from ghostedge_runtime.images import normalize

FOLDER = str(Path(__file__).resolve().parents[2] / "examples" / "articles")


def _script(name: str) -> ModuleType:
    sys.path.insert(0, FOLDER)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(FOLDER)


@pytest.fixture(scope="module")
def cifar() -> ModuleType:
    return _script("cifar")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three classes of four, the second a deeper folder of JPEG, one picture of another size."""
    for number, label in enumerate(("ant", "deep/bee", "cat")):
        folder = tmp_path / "pictures" / label
        folder.mkdir(parents=True)
        for index in range(4):
            size = (48, 40) if (number, index) == (2, 3) else (32, 32)
            picture = Image.new("RGB", size, (80 * number, 60 * index, 7))
            picture.save(folder / f"{index}.{'jpg' if number == 1 else 'PNG'}", quality=100)
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    return tmp_path / "pictures"


def test_a_picture_is_labelled_by_its_folder(cifar: ModuleType, pictures: Path) -> None:
    found = cifar.read(pictures)
    assert found.labels == ("ant", "bee", "cat")
    assert found.images.shape == (12, 32, 32, 3)
    assert found.images.dtype == np.uint8
    assert found.targets.tolist() == [0] * 4 + [2] * 4 + [1] * 4  # "cat" before "deep/bee"
    assert found.images[2, 5, 5].tolist() == [0, 120, 7]


def test_a_zip_reads_like_the_folder_in_it(
    cifar: ModuleType, pictures: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "pictures.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in pictures.rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    one, other = cifar.read(pictures), cifar.read(packed)
    assert one.labels == other.labels
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.targets, other.targets)


def test_a_limit_takes_as_many_of_each_class(cifar: ModuleType, pictures: Path) -> None:
    found = cifar.read(pictures, limit=6)
    assert np.bincount(found.targets).tolist() == [2, 2, 2]
    assert found.labels == ("ant", "bee", "cat")
    assert len(cifar.read(pictures, limit=99).images) == 12


def test_a_folder_without_pictures_is_refused(cifar: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no PNG or JPEG"):
        cifar.read(tmp_path)


def test_the_config_tells_the_converter_the_networks_own_input(
    cifar: ModuleType, pictures: Path, tmp_path: Path
) -> None:
    images = cifar.read(pictures).images
    cifar.write_config(tmp_path, ("ant", "bee", "cat"))
    config = read_config(tmp_path / "config.json")
    assert config is not None
    assert config.labels == ("ant", "bee", "cat")
    assert config.preprocessing is not None
    assert config.preprocessing.input_size == (32, 32)
    found = normalize(images, config.preprocessing)
    np.testing.assert_allclose(found, cifar.normalised(images), atol=1e-6)


def test_the_attention_weighs_the_pooled_stream_and_leaves_the_other() -> None:
    networks = _script("torch_networks")
    torch.manual_seed(0)
    module = networks.AttentiveGhost(4, 6).eval()
    x = torch.randn(2, 4, 8, 8)
    with torch.inference_mode():
        made, kept = module.conv(x), module.pool(x)
        weights = module.attention(torch.cat([made, kept], 1))
        streams = module(x) - module.projection(x)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 8, 8))
    torch.testing.assert_close(streams[:, :6], made, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(streams[:, 6:], kept * weights, atol=1e-5, rtol=1e-5)


def test_training_learns_the_pictures_and_repeats_itself(
    cifar: ModuleType, cifar_calib: Path
) -> None:
    training, networks = _script("train_torch"), _script("torch_networks")
    torch.set_num_threads(1)
    pictures = cifar.read(cifar_calib, 128)
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        network = networks.AttentiveNet(width=8)
        before = training.accuracy_pct(network.eval(), pictures)
        training.train(network, pictures, epochs=6, batch=16)
        assert training.accuracy_pct(network, pictures) > max(before, 10.0) + 15
        weights.append(network.head[2].weight)
    torch.testing.assert_close(weights[0], weights[1], atol=0, rtol=0)
