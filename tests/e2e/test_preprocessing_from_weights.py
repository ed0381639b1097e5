"""Weights that say how they want their images, through the commands as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ghostedge.records.manifest import manifest_of

Command = Callable[..., CompletedProcess[str]]
MEAN, STD = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)


@pytest.fixture(scope="module")
def glyph_images(glyphs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "glyphs"
    glyphs.write_images(folder, count=48, seed=2)
    return folder


@pytest.fixture(scope="module")
def of_plain_pixels(example_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled network, its first layers changed to take pixels / 255; no config.json.

    A convolution of ``(x - mean) / std`` is one of ``x`` by ``weight / std`` less a constant, which
    the batch norm behind it remembers; but for the border, where zeros stand for other colours.
    """
    weights = {
        name: value.astype(np.float32) for name, value in load_file(example_checkpoint).items()
    }
    scaled = weights["conv_stem.weight"] / STD[:, None, None]
    weights["conv_stem.weight"] = scaled
    weights["bn1.running_mean"] += np.einsum("oihw,i->o", scaled, MEAN)
    path = tmp_path_factory.mktemp("plain") / "plain.safetensors"
    save_file(weights, path)
    return path


def test_without_a_flag_convert_measures_the_preprocessing_and_writes_it_into_the_files(
    in_process: Command, of_plain_pixels: Path, glyph_images: Path, tmp_path: Path
) -> None:
    done = in_process(
        "convert", of_plain_pixels, "--input-size", 64, "--crop-pct", 1, "--calib", glyph_images,
        "--format", "onnx", "--strict", "-o", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "preprocessing measured on 48 images of --calib: 0 to 1, RGB (misfit" in done.stderr
    assert "mean: 0, 0, 0 (measured on 48 images: misfit" in done.stderr
    document = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert document["metadata"]["preprocessing"]["mean"] == [0.0, 0.0, 0.0]
    assert document["metadata"]["preprocessing"]["std"] == [1.0, 1.0, 1.0]
    manifest = manifest_of(document, tmp_path / "out" / "manifest.json")
    assert manifest.image_fit is not None
    assert manifest.image_fit.preprocessing is not None
    assert manifest.image_fit.preprocessing.replaced == ("mean", "std")


def test_what_is_stated_stays_and_strict_counts_the_doubt_as_missed(
    in_process: Command, example_checkpoint: Path, glyph_images: Path, tmp_path: Path
) -> None:
    done = in_process(
        "convert", example_checkpoint, "--mean", "0,0,0", "--std", "1,1,1", "--eval", glyph_images,
        "--format", "onnx", "--strict", "-o", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "preprocessing does not fit: on 48 images of --eval ImageNet's mean" in done.stderr
    assert "! preprocessing does not fit" in done.stdout
    document = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert document["metadata"]["preprocessing"]["std"] == [1.0, 1.0, 1.0]
    assert document["missed"] == document["image_fit"]["doubts"]


def test_inspect_shows_it_without_converting(
    in_process: Command, example_checkpoint: Path, glyph_images: Path
) -> None:
    done = in_process("inspect", example_checkpoint, "--calib", glyph_images, "--json")
    assert done.returncode == 0, done.stderr
    inspection = json.loads(done.stdout)
    assert inspection["kind"] == "checkpoint"
    assert inspection["image_fit"]["preprocessing"]["verdict"] == "fits"
    assert len(inspection["image_fit"]["layers"]) > 50


def test_inspect_takes_what_is_stated_as_convert_does(
    in_process: Command, of_plain_pixels: Path, glyph_images: Path
) -> None:
    done = in_process(
        "inspect", of_plain_pixels, "--calib", glyph_images, "--input-size", 64,
        "--mean", "0,0,0", "--std", "1,1,1", "--color-order", "RGB", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    preprocessing = json.loads(done.stdout)["image_fit"]["preprocessing"]
    assert preprocessing["verdict"] == "fits"
    assert preprocessing["in_use"]["std"] == [1.0, 1.0, 1.0]
    without = in_process("inspect", of_plain_pixels, "--mean", "0,0,0")
    assert without.returncode == 2
    assert "--mean is for --calib, which is not given" in without.stderr


def test_inspect_says_of_a_folded_network_that_it_cannot_be_told(
    in_process: Command, example_checkpoint: Path, glyph_images: Path, tmp_path: Path
) -> None:
    in_process("convert", example_checkpoint, "--name", "net", "-o", tmp_path / "out")
    for file in ("net.onnx", "net.tflite"):
        done = in_process("inspect", tmp_path / "out" / file, "--calib", glyph_images)
        assert done.returncode == 0, done.stderr
        assert "it cannot be told, for no batch norm remembers training" in done.stdout


def test_inspect_names_images_that_cannot_be_decoded(
    in_process: Command, example_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    done = in_process("inspect", example_checkpoint, "--calib", tmp_path)
    assert done.returncode == 2
    assert "1 of 1 images cannot be used" in done.stderr
    assert "broken.jpg" in done.stderr
    assert "replace or remove them" in done.stderr
    assert "--skip-bad-images" not in done.stderr


def test_convert_names_the_folder_where_no_image_can_be_used(
    in_process: Command, example_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    done = in_process(
        "convert",
        example_checkpoint,
        "--calib",
        tmp_path,
        "--skip-bad-images",
        "-o",
        tmp_path / "o",
    )
    assert done.returncode == 2
    assert f"--calib {tmp_path}: none of its 1 images can be used" in done.stderr
    assert "broken.jpg" in done.stderr
