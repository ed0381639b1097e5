"""Scores against figures worked out by hand, and against a real data set's own counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostedge_runtime import Evaluation, Model, ModelMetadata, evaluate, evaluation
from ghostedge_runtime.errors import ImageError, InputError, ModelFileError
from ghostedge_runtime.evaluation import score_corrupted, score_logits
from ghostedge_runtime.folders import LabelledImages, list_labelled

Save = Callable[..., Path]
Describe = Callable[..., ModelMetadata]

RED, GREEN, BLUE = (200, 20, 20), (20, 200, 20), (20, 20, 200)


def paint(folder: Path, **classes: list[tuple[int, int, int]]) -> Path:
    for name, colours in classes.items():
        (folder / name).mkdir(parents=True)
        for index, colour in enumerate(colours):
            Image.new("RGB", (9, 9), colour).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture
def scored(int8_tflite: Path, tmp_path: Path) -> Evaluation:
    """Of red: two right, one called green. Of green: one right, one called red. No blue."""
    folder = paint(tmp_path / "set", red=[RED, RED, GREEN], green=[GREEN, RED])
    return evaluate(Model(int8_tflite), folder)


def test_top1_and_confusion_count_what_was_right_and_wrong(scored: Evaluation) -> None:
    assert scored.count == 5
    assert scored.top1 == pytest.approx(60.0)
    assert scored.confusion.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_predictions_are_in_the_folders_order(scored: Evaluation) -> None:
    assert scored.predictions.tolist() == [1, 0, 0, 0, 1]  # green's two, then red's three


def test_precision_recall_and_f1_are_per_class_in_percent(scored: Evaluation) -> None:
    red, green, blue = scored.per_class
    assert (red.label, red.support) == ("red", 3)
    assert red.precision == pytest.approx(200 / 3)
    assert red.recall == pytest.approx(200 / 3)
    assert red.f1 == pytest.approx(200 / 3)
    assert green.precision == green.recall == green.f1 == pytest.approx(50.0)
    assert (blue.precision, blue.recall, blue.f1, blue.support) == (None, None, None, 0)


def test_top5_of_three_classes_is_always_everything(scored: Evaluation) -> None:
    assert scored.top5 == 100.0


def test_top5_looks_at_five_and_no_more() -> None:
    """The right class is fifth best in the first row and sixth in the second."""
    names = tuple("abcdefg")
    images = LabelledImages((Path("1"), Path("2")), (2, 1), names)
    logits = np.float32([[0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6]])
    score = score_logits(logits, images)
    assert (score.top1, score.top5) == (0.0, 50.0)
    assert score.predictions.tolist() == [6, 6]


def test_of_equal_logits_the_first_class_wins() -> None:
    images = LabelledImages((Path("1"), Path("2")), (0, 5), tuple("abcdef"))
    score = score_logits(np.ones((2, 6), np.float32), images)
    assert score.predictions.tolist() == [0, 0]
    assert (score.top1, score.top5) == (50.0, 50.0)


def test_logits_scored_in_one_go_score_as_image_by_image(
    int8_tflite: Path, tmp_path: Path, scored: Evaluation
) -> None:
    model = Model(int8_tflite)
    listed = list_labelled(tmp_path / "set", ("red", "green", "blue"), 3)
    rows = np.concatenate([model.logits(model.preprocess(path)) for path in listed.paths])
    again = score_logits(rows, listed)
    assert again.to_dict() == {
        **scored.to_dict(),
        "latency": {"preprocessing": None, "inference": None},
    }


def test_logits_of_another_shape_are_refused() -> None:
    images = LabelledImages((Path("1"),), (0,), ("a", "b"))
    with pytest.raises(ValueError, match=r"\(1, 3\) for 1 images of 2 classes"):
        score_logits(np.zeros((1, 3), np.float32), images)


def test_the_pass_is_timed(scored: Evaluation) -> None:
    assert scored.latency.preprocessing is not None
    assert scored.latency.inference is not None
    assert scored.latency.preprocessing.count == scored.latency.inference.count == 5


def test_the_result_is_json(scored: Evaluation) -> None:
    document = json.loads(json.dumps(scored.to_dict()))
    assert document["confusion"][0] == [2, 1, 0]
    assert document["per_class"][2] == {
        "label": "blue",
        "precision": None,
        "recall": None,
        "f1": None,
        "support": 0,
    }
    assert document["latency"]["inference"]["count"] == 5
    assert "predictions" not in document


def test_progress_is_told_up_to_the_last_image(int8_tflite: Path, tmp_path: Path) -> None:
    folder = paint(tmp_path / "set", red=[RED] * 3)
    told: list[tuple[int, int]] = []
    evaluate(Model(int8_tflite), folder, progress=lambda *step: told.append(step))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_file_of_a_larger_batch_scores_alike(
    save_tflite: Save, metadata_for: Describe, int8_tflite: Path, tmp_path: Path
) -> None:
    folder = paint(tmp_path / "set", red=[RED, GREEN, BLUE], green=[GREEN], blue=[BLUE])
    by_four = evaluate(Model(save_tflite(batch=4, metadata=metadata_for("uint8"))), folder)
    singly = evaluate(Model(int8_tflite), folder)
    np.testing.assert_array_equal(by_four.predictions, singly.predictions)
    assert by_four.to_dict()["confusion"] == singly.to_dict()["confusion"]
    assert by_four.latency.inference is not None
    assert by_four.latency.inference.count == 2


def test_a_part_of_a_folder_can_be_scored(int8_tflite: Path, tmp_path: Path) -> None:
    folder = paint(tmp_path / "set", red=[RED, GREEN], green=[GREEN])
    listed = list_labelled(folder, ("red", "green", "blue"), 3)
    part = LabelledImages(listed.paths[:2], listed.targets[:2], listed.class_names)
    assert evaluate(Model(int8_tflite), part).predictions.tolist() == [1, 0]


def test_images_of_another_number_of_classes_are_refused(int8_tflite: Path, tmp_path: Path) -> None:
    folder = paint(tmp_path / "set", a=[RED], b=[GREEN])
    listed = list_labelled(folder, None, None)
    with pytest.raises(ModelFileError, match="3 classes apart, but the images are of 2"):
        evaluate(Model(int8_tflite), listed)


def test_a_folder_of_strange_classes_is_refused(int8_tflite: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="closest label: 'green'"):
        evaluate(Model(int8_tflite), paint(tmp_path / "set", greeen=[GREEN]))


def test_a_model_without_metadata_is_refused(save_tflite: Save, tmp_path: Path) -> None:
    folder = paint(tmp_path / "set", a=[RED], b=[RED], c=[RED])
    with pytest.raises(InputError, match="carries no ghostedge metadata"):
        evaluate(Model(save_tflite()), folder)


def test_a_damaged_image_in_the_folder_is_named(int8_tflite: Path, tmp_path: Path) -> None:
    folder = paint(tmp_path / "set", red=[RED])
    (folder / "red" / "0.png").write_bytes(b"no image")
    with pytest.raises(ImageError) as caught:
        evaluate(Model(int8_tflite), folder)
    assert caught.value.where == str(folder / "red" / "0.png")


def test_precision_recall_and_f1_hold_on_real_images(
    save_tflite: Save, metadata_for: Describe, cifar_test: Path
) -> None:
    """A hopeless classifier, but its bookkeeping must add up."""
    listed = list_labelled(cifar_test, None, 10)
    part = LabelledImages(
        listed.paths[::25], tuple(target % 3 for target in listed.targets[::25]), ("x", "y", "z")
    )
    score = evaluate(Model(save_tflite(metadata=metadata_for("uint8"))), part)
    assert score.confusion.sum() == score.count == 200
    assert score.top1 == pytest.approx(100 * np.trace(score.confusion) / 200)
    assert [c.support for c in score.per_class] == score.confusion.sum(axis=1).tolist()
    for index, one in enumerate(score.per_class):
        assert one.recall == pytest.approx(100 * score.confusion[index, index] / one.support)
        if one.precision and one.recall:
            harmonic = 2 / (1 / one.precision + 1 / one.recall)
            assert one.f1 == pytest.approx(harmonic)


@pytest.fixture
def colours(tmp_path: Path) -> LabelledImages:
    """Two red images that are rightly labelled, a green one that is called red."""
    folder = paint(tmp_path / "colours", red=[RED, RED, GREEN])
    return list_labelled(folder, ("red", "green", "blue"), 3)


def test_corrupted_images_are_scored_as_they_are_first_then_by_strength(
    int8_tflite: Path, float_onnx: Path, colours: LabelledImages
) -> None:
    told: list[tuple[int, int]] = []
    scores = score_corrupted(
        [Model(int8_tflite), Model(float_onnx)],
        colours,
        ("brightness", "blur"),
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    for of_model in scores:
        assert (of_model.images, of_model.of_images) == (3, 3)
        named = [(each.corruption, each.strength) for each in of_model.scores]
        assert named == [
            ("none", 0),
            *(("blur", strength) for strength in range(1, 6)),
            *(("brightness", strength) for strength in range(1, 6)),
        ]
        # Neither a blur nor light changes which colour a plain one is.
        assert [each.top1_pct for each in of_model.scores] == [pytest.approx(200 / 3)] * 11
        assert {each.hits for each in of_model.scores} == {"c0"}  # right, right, wrong
    assert scores[0].pixels_crc32 == scores[1].pixels_crc32


def test_what_no_contrast_is_left_of_is_given_to_every_model(
    int8_tflite: Path, colours: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A corruption that turns red into green turns the answer, and is made once an image."""
    made = []

    def green(pixels: np.ndarray, name: str, strength: int, *, color_order: str) -> np.ndarray:
        made.append((name, strength, color_order))
        return np.ascontiguousarray(pixels[..., [1, 0, 2]]) if strength > 3 else pixels

    monkeypatch.setattr(evaluation, "corrupt", green)
    first, second = score_corrupted([Model(int8_tflite)] * 2, colours, ("haze",), workers=2)
    assert [each.hits for each in first.scores] == ["c0", "c0", "c0", "c0", "20", "20"]
    assert first == second
    assert sorted(made) == sorted(
        ("haze", strength, "RGB") for strength in range(1, 6) for _ in range(3)
    )


def test_some_images_are_spread_over_the_classes(tmp_path: Path) -> None:
    folder = paint(tmp_path / "set", red=[RED] * 4, green=[GREEN] * 4, blue=[BLUE] * 2)
    every = list_labelled(folder, ("red", "green", "blue"), 3)
    some = every.spread(5)
    assert sorted(some.targets) == [0, 0, 1, 1, 2]
    pairs = set(zip(every.paths, every.targets, strict=True))
    assert set(zip(some.paths, some.targets, strict=True)) < pairs
    assert every.spread(100) == every


def test_a_file_without_metadata_scores_no_corrupted_images(
    make_tflite: Callable[..., bytes], colours: LabelledImages, tmp_path: Path
) -> None:
    file = tmp_path / "bare.tflite"
    file.write_bytes(make_tflite("float32", metadata=None))
    with pytest.raises(InputError, match="no ghostedge metadata"):
        score_corrupted([Model(file)], colours, ("noise",))
