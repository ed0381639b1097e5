"""One number that parts two classes is a classifier's; one number that nobody explains is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostedge_runtime import Model, ModelMetadata, evaluate
from ghostedge_runtime.bench.session import Session
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.model import softmax, two_classes
from ghostedge_runtime.record import Case

Save = Callable[..., Path]
Describe = Callable[..., ModelMetadata]
LABELS = ("dark", "red")


def picture(red: int) -> Image.Image:
    return Image.new("RGB", (8, 8), (red, 0, 0))


@pytest.fixture
def model_file(save_tflite: Save, metadata_for: Describe) -> Path:
    """Its logit is ten times (red / 255 - 0.5) / 0.25: above zero for a red of 128 and more."""
    said = metadata_for("float32", labels=LABELS, binary=True)
    return save_tflite("float32", columns=1, metadata=said)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three of each class, one of them on the wrong side of the threshold."""
    for label, reds in {"dark": (0, 100, 140), "red": (130, 200, 255)}.items():
        (tmp_path / "set" / label).mkdir(parents=True)
        for red in reds:
            picture(red).save(tmp_path / "set" / label / f"{red}.png")
    return tmp_path / "set"


def test_the_scores_of_two_classes_put_the_threshold_at_logit_0_and_probability_a_half() -> None:
    logits = np.array([[-2.0], [0.0], [2.0]], np.float32)
    scores = two_classes(logits, probabilities=False)
    assert scores.argmax(1).tolist() == [0, 0, 1]
    assert softmax(scores[2])[1] == pytest.approx(1 / (1 + np.exp(-2)))
    probabilities = np.array([[0.2], [0.5], [0.51]], np.float32)
    scores = two_classes(probabilities, probabilities=True)
    assert scores.argmax(1).tolist() == [0, 0, 1]
    assert scores.sum(1) == pytest.approx(1)


def test_both_labels_are_named_with_the_sigmoid_as_score(model_file: Path) -> None:
    model = Model(model_file)
    assert model.is_classifier
    assert model.num_classes == 2
    first, second = model.classify(picture(130))
    assert (first.label, first.index, second.label) == ("red", 1, "dark")
    logit = 10 * (130 / 255 - 0.5) / 0.25
    assert first.score == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-5)
    assert first.score + second.score == pytest.approx(1)
    assert model.classify(picture(120))[0].label == "dark"
    assert model.values(picture(130))["logits"].shape == (1, 1)  # as the file has it


def test_a_probability_from_inside_the_graph_is_the_second_classs(
    save_tflite: Save, metadata_for: Describe
) -> None:
    said = metadata_for("float32", labels=LABELS, binary=True, probabilities=True)
    model = Model(save_tflite("float32", columns=1, metadata=said))
    value = float(model.values(picture(130))["logits"][0, 0])
    scores = {each.label: each.score for each in model.classify(picture(130))}
    assert scores == pytest.approx({"red": value, "dark": 1 - value}, abs=1e-6)


def test_accuracy_counts_both_sides_of_the_threshold(model_file: Path, photos: Path) -> None:
    found = evaluate(Model(model_file), photos)
    assert found.confusion.tolist() == [[2, 1], [0, 3]]
    assert found.top1 == pytest.approx(500 / 6)


def test_bench_scores_it_on_a_folder_for_each_class(model_file: Path, photos: Path) -> None:
    session = Session(str(model_file), Case(str(model_file), "0", 1, "litert", 1))
    session.open(lambda *_: None)
    assert session.score(lambda *_: None, str(photos), [])["top1_pct"] == pytest.approx(500 / 6)


def test_one_number_that_nothing_explains_is_no_classifier(
    save_tflite: Save, metadata_for: Describe
) -> None:
    for said in (None, metadata_for("float32", labels=None)):
        model = Model(save_tflite("float32", columns=1, metadata=said))
        assert not model.is_classifier
        with pytest.raises(ModelFileError, match="not a classifier"):
            model.logits(np.zeros((1, 8, 8, 3), np.float32))


def test_only_binary_metadata_is_of_the_version_that_older_readers_refuse(
    metadata_for: Describe,
) -> None:
    plain, binary = metadata_for("float32"), metadata_for("float32", binary=True)
    assert json.loads(plain.to_json())["schema_version"] == 1
    assert "binary" not in json.loads(plain.to_json())
    assert json.loads(binary.to_json())["schema_version"] == 2
    assert ModelMetadata.from_json(plain.to_json()) == plain
    assert ModelMetadata.from_json(binary.to_json()) == binary
