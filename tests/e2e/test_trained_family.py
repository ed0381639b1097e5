"""A trained RepGhostNet, converted from its training form: int8 keeps what it learned.

The weights are the repository's, the images of CIFAR-10 are not: where they are absent these tests
skip. ``benchmarks/family.py`` measures with 500 calibration images; here it is 100.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import ghostedge
from ghostedge.records.manifest import Manifest

REPO = Path(__file__).resolve().parents[2]
CHECKPOINT = REPO / "examples" / "cifar10" / "repghostnet" / "model.safetensors"
INT8 = ("model_int8.onnx", "model_int8.tflite")


@pytest.fixture(scope="module")
def cifar_family(
    cifar_calib: Path, cifar_test: Path, tmp_path_factory: pytest.TempPathFactory
) -> Manifest:
    return ghostedge.convert(
        CHECKPOINT,
        int8=True,
        calib=cifar_calib,
        calib_images=100,
        eval=cifar_test,
        output=tmp_path_factory.mktemp("repghostnet") / "out",
    )


def _top1(manifest: Manifest, file: str) -> float:
    accuracy = manifest.artefact(file).accuracy
    assert accuracy is not None
    return accuracy.top1_pct


def test_it_was_trained_until_int8_means_something(cifar_family: Manifest) -> None:
    assert _top1(cifar_family, "model.onnx") >= 75


@pytest.mark.parametrize("file", INT8)
def test_int8_loses_at_most_0_3_points(cifar_family: Manifest, file: str) -> None:
    drop = _top1(cifar_family, "model.onnx") - _top1(cifar_family, file)
    assert round(drop, 2) <= 0.3  # of 5,000 images one is 0.02 points


@pytest.mark.parametrize("file", INT8)
def test_int8_keeps_the_answer_on_98_5_percent(cifar_family: Manifest, file: str) -> None:
    agreement = cifar_family.artefact(file).float_agreement_pct
    assert agreement is not None
    assert agreement >= 98.5


def test_every_file_is_within_its_budget_of_the_one_it_was_made_from(
    cifar_family: Manifest,
) -> None:
    assert cifar_family.missed == ()
    assert [a.file for a in cifar_family.artefacts] == ["model.onnx", "model.tflite", *INT8]
    assert all(a.parity.within_budget for a in cifar_family.artefacts)
