"""Which preprocessing holds where a config.json says all, some or nothing of it."""

from __future__ import annotations

import pytest

from ghostedge_convert import Checkpoint, CheckpointConfig, resolve_preprocessing
from ghostedge_runtime.metadata import ArchitectureInfo, Preprocessing, Source


def checkpoint_with(config: CheckpointConfig | None) -> Checkpoint:
    return Checkpoint({}, config, Source("model.pt", "0" * 64), ())


@pytest.mark.parametrize(
    ("name", "interpolation"),
    [("ghostnet", "bilinear"), ("ghostnetv2", "bicubic"), ("ghostnetv3", "bicubic")],
)
def test_each_family_resizes_as_its_authors_evaluate_it(name, interpolation):
    architecture = ArchitectureInfo(f"{name}_100", name, 1.0, 10)
    resolved = resolve_preprocessing(checkpoint_with(None), architecture)
    assert resolved.preprocessing == Preprocessing(interpolation=interpolation)
    assert resolved.origin == "family default"


def test_what_the_config_leaves_out_is_the_familys():
    config = CheckpointConfig(
        preprocessing=Preprocessing(input_size=(96, 96)),
        defaulted=("interpolation", "crop_pct", "mean", "std"),
    )
    architecture = ArchitectureInfo("ghostnetv2_100", "ghostnetv2", 1.0, 10)
    resolved = resolve_preprocessing(checkpoint_with(config), architecture)
    assert resolved.preprocessing == Preprocessing(input_size=(96, 96), interpolation="bicubic")
    assert resolved.defaulted == ("interpolation", "crop_pct", "mean", "std")


def test_what_the_config_says_holds_over_the_familys():
    config = CheckpointConfig(preprocessing=Preprocessing(interpolation="lanczos"))
    architecture = ArchitectureInfo("ghostnetv2_100", "ghostnetv2", 1.0, 10)
    resolved = resolve_preprocessing(checkpoint_with(config), architecture)
    assert resolved.preprocessing.interpolation == "lanczos"
    assert not resolved.inferred
