"""Outputs that are whole numbers: labels of pixels, indices and a mask, through the main job."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ghostedge
from ghostedge_runtime import Model

TYPES = {"labels": "int64", "mask": "bool", "places": "int64", "scores": "float32"}
SHAPES = {"labels": (1, 8, 8), "mask": (1, 1, 8, 8), "places": (1, 2, 8, 8), "scores": (1, 5, 8, 8)}


class Segmenter(nn.Module):
    """Five classes for each block of pixels, and what is made of their scores."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 5, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = self.head(torch.relu(self.stem(x)))
        best, places = torch.topk(scores, 2, dim=1)
        mask = best[:, :1] - best[:, 1:] > 0.1
        return {"labels": scores.argmax(1), "mask": mask, "places": places, "scores": scores}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(6):
        coarse = Image.fromarray(rng.integers(0, 256, (3, 3, 3), np.uint8))
        coarse.resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module", params=["float32", "int8"])
def converted(request, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    manifest = ghostedge.convert(
        Segmenter().eval(),
        (1, 3, 16, 16),
        name="net",
        output=folder / "out",
        int8=True,
        calib=photos,
        output_type=request.param,
    )
    return manifest, folder / "out", request.param


def test_they_are_whole_numbers_in_every_file(converted, photos):
    manifest, folder, output_type = converted
    for artefact in manifest.artefacts:
        with Model(folder / artefact.file) as model:
            got = model.predict(photos / "0.png")
            values = model.values(photos / "0.png")
        wanted = dict(TYPES)
        if artefact.precision == "int8":
            wanted["scores"] = output_type
        assert {name: array.dtype.name for name, array in got.items()} == wanted
        assert got["labels"].shape == SHAPES["labels"]
        assert {array.dtype.name for array in values.values()} == {"float32"}


def test_they_are_compared_by_the_share_of_unequal_ones(converted):
    manifest, _, _ = converted
    for artefact in manifest.artefacts:
        gaps = {each.name: each for each in artefact.parity.outputs}
        assert gaps.keys() == TYPES.keys()
        assert all(gaps[name].max_abs_diff < 0.2 for name in ("labels", "mask", "places"))
        if artefact.precision == "float32":
            assert {gaps[name].max_abs_diff for name in ("labels", "mask", "places")} == {0.0}
