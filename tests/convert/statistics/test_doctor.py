"""Fitting images are left alone, and each ailment is named on a set made for it.

On the bundled network, which tells 36 glyphs apart; how often a finding is wrong or missed on
photographs, ``benchmarks/calibration_findings.py`` measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from PIL import Image, ImageFilter

from ghostedge_convert import build, detect_architecture, load_checkpoint, resolve_preprocessing
from ghostedge_convert.export import export_onnx
from ghostedge_convert.statistics.doctor import Finding, examine_images, unlike_bound
from ghostedge_convert.statistics.measure import measure_norms
from ghostedge_convert.statistics.trials import ExaminedImages
from ghostedge_runtime.metadata import Preprocessing

COUNT = 40


@pytest.fixture(scope="module")
def network(example_checkpoint: Path) -> tuple[onnx.ModelProto, Preprocessing]:
    """The bundled network, and how it takes its images."""
    checkpoint = load_checkpoint(example_checkpoint)
    architecture = detect_architecture(checkpoint).architecture
    preprocessing = resolve_preprocessing(checkpoint, architecture).preprocessing
    module = build(checkpoint, architecture)
    graph = export_onnx(module, input_size=preprocessing.input_size, batch=8)
    return graph, preprocessing


@pytest.fixture(scope="module")
def images(glyphs: ModuleType) -> list[Image.Image]:
    """Images like those of training."""
    return [glyphs.draw_image(seed=40, index=index, size=64) for index in range(COUNT)]


@pytest.fixture(scope="module")
def findings(network: tuple[onnx.ModelProto, Preprocessing]) -> Callable[..., list[Finding]]:
    """findings(images, crop_pct=…, is_classifier=…) → what is wrong with them."""
    graph, stated = network

    def examine(
        images: Sequence[Image.Image | Path], crop_pct: float = 1.0, **known: bool
    ) -> list[Finding]:
        preprocessing = replace(stated, crop_pct=crop_pct)
        examined = ExaminedImages.prepared(images, preprocessing)
        statistics = measure_norms(graph, examined.batches(lambda pixels: pixels))
        assert statistics is not None
        return list(examine_images(graph, examined, statistics, **known))

    return examine


def _kinds(findings: Sequence[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def _noisy(image: Image.Image, sigma: float) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, sigma, (64, 64, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def test_nothing_is_found_in_images_like_those_of_training(findings, images) -> None:
    assert findings(images) == []


def test_few_images_are_found_few_and_repeated_ones_do_not_count(findings, images) -> None:
    repeated, few = findings([*images[:6], images[0], images[1]])
    assert (repeated.kind, few.kind) == ("repeated", "too few")
    assert repeated.evidence == "2 of 8 images repeat the pixels of another"
    assert few.evidence.startswith("6 different images")


def test_blank_images_are_named_by_their_files(findings, images, tmp_path) -> None:
    for index in range(4):
        Image.new("RGB", (50, 70), (60 * index, 9, 9)).save(tmp_path / f"lens_cap_{index}.png")
    (blank,) = findings([*images, *sorted(tmp_path.iterdir())])
    assert blank.kind == "blank"
    assert blank.evidence == (
        "4 of 44 images are of one colour: lens_cap_0.png, lens_cap_1.png, lens_cap_2.png and "
        "1 more"
    )


def test_an_image_like_none_of_training_is_named_where_the_others_are_like_it(
    findings, images, tmp_path
) -> None:
    pixels = np.full((64, 64, 3), 128, np.uint8)
    pixels[:, 32:] = 140
    Image.fromarray(pixels).save(tmp_path / "wall.png")
    (odd,) = findings([*images, tmp_path / "wall.png"])
    assert odd.kind == "odd"
    assert "1 of 41 images" in odd.evidence
    assert odd.evidence.endswith(": wall.png")


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (Image.Transpose.ROTATE_90, "on their side: turned by 270°"),
        (Image.Transpose.ROTATE_180, "upside down: turned by 180°"),
    ],
)
def test_images_the_wrong_way_up_are_found_by_how_sure_the_answers_are(
    findings, images, turn, words
) -> None:
    (turned,) = findings([image.transpose(turn) for image in images])
    assert turned.kind == "turned"
    assert words in turned.evidence


def test_what_is_no_classifier_is_not_asked_how_sure_it_is(findings, images) -> None:
    turned = [image.transpose(Image.Transpose.ROTATE_180) for image in images]
    assert "turned" not in _kinds(findings(turned, is_classifier=False))


def test_what_undoes_an_ailment_names_it(findings, images) -> None:
    assert _kinds(findings([_noisy(image, 50) for image in images])) == ["noisy"]
    blurred = [image.filter(ImageFilter.GaussianBlur(2)) for image in images]
    assert _kinds(findings(blurred))[0] in {"blurred", "unlike"}  # training blurs some, too
    (crop,) = findings(images, crop_pct=0.5)
    assert crop.kind == "crop"
    assert "instead of 0.5" in crop.evidence


def test_another_domain_is_unlike_training_by_more_than_fitting_sets_ever_are(
    findings, pictures
) -> None:
    (unlike,) = findings(sorted(pictures.iterdir())[:COUNT])
    assert unlike.kind == "unlike"
    assert f"at most {unlike_bound(COUNT):.2g} where images fit" in unlike.evidence


def test_training_is_not_compared_with_where_the_preprocessing_is_not_its_own(
    findings, images
) -> None:
    assert findings(images, crop_pct=0.5, is_network_known=False) == []
