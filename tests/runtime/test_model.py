"""What a loaded model answers, refuses and remembers."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostedge_runtime import Model, ModelMetadata, TensorInfo
from ghostedge_runtime.errors import ImageError, InputError, ModelFileError
from ghostedge_runtime.latency import WINDOW
from ghostedge_runtime.metadata import InputSpec, Preprocessing, QuantizationInfo

Save = Callable[..., Path]
Describe = Callable[..., ModelMetadata]

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (12, 9)) -> np.ndarray:
    return np.full((*size, 3), colour, np.uint8)


@pytest.fixture(params=["int8_tflite", "float_tflite", "float_onnx"])
def model(request: pytest.FixtureRequest) -> Model:
    """The colour classifier in each of the forms a file can take."""
    return Model(request.getfixturevalue(request.param))


@pytest.mark.parametrize("name", COLOURS)
def test_an_image_is_classified_with_the_labels_of_the_file(model: Model, name: str) -> None:
    best, *others = model.classify(plain(COLOURS[name]))
    assert best.label == name
    assert best.index == list(COLOURS).index(name)
    assert math.isclose(best.score + sum(other.score for other in others), 1.0)
    assert best.score > others[0].score >= others[1].score


def test_scores_are_the_softmax_of_the_logits(float_tflite: Path) -> None:
    # Mean channel values 200 and 20 are (v / 255 - 0.5) / 0.25 after normalising, times ten.
    logits = [10 * (value / 255 - 0.5) / 0.25 for value in (200, 20, 20)]
    powers = [math.exp(x - max(logits)) for x in logits]
    best = Model(float_tflite).classify(plain(COLOURS["red"]), top_k=1)
    assert len(best) == 1
    assert best[0].score == pytest.approx(powers[0] / sum(powers), rel=1e-4)


def test_every_kind_of_image_gets_the_same_answer(model: Model, tmp_path: Path) -> None:
    pixels = plain(COLOURS["blue"])
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, "PNG")
    path = tmp_path / "blue.png"
    path.write_bytes(file.getvalue())
    answers = {model.classify(x) for x in (path, str(path), file.getvalue(), image)}
    assert answers == {model.classify(pixels)}


def test_equal_scores_come_in_the_order_of_the_classes(int8_tflite: Path) -> None:
    guesses = Model(int8_tflite).classify(plain((90, 90, 90)))
    assert [guess.index for guess in guesses] == [0, 1, 2]


def test_top_k_bounds_the_answer_and_must_be_positive(int8_tflite: Path) -> None:
    model = Model(int8_tflite)
    assert len(model.classify(plain(COLOURS["red"]), top_k=2)) == 2
    assert len(model.classify(plain(COLOURS["red"]), top_k=99)) == 3
    with pytest.raises(InputError, match="top_k must be at least 1"):
        model.classify(plain(COLOURS["red"]), top_k=0)


def test_a_bad_image_is_named(int8_tflite: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        Model(int8_tflite).classify(tmp_path / "absent.jpg")
    assert caught.value.where == str(tmp_path / "absent.jpg")


def test_preprocessing_follows_the_kind_of_input(
    int8_tflite: Path, float_tflite: Path, float_onnx: Path
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    normalised = (pixels / 255 - 0.5) / 0.25
    np.testing.assert_array_equal(Model(int8_tflite).preprocess(pixels)[0], pixels)
    np.testing.assert_allclose(Model(float_tflite).preprocess(pixels)[0], normalised, atol=1e-6)
    np.testing.assert_allclose(
        Model(float_onnx).preprocess(pixels)[0], normalised.transpose(2, 0, 1), atol=1e-6
    )


def test_a_float_input_that_takes_raw_pixels_gets_them(
    save_tflite: Save, metadata_for: Describe
) -> None:
    raw = metadata_for("float32", input=InputSpec("NHWC", "float32", normalized=False))
    batch = Model(save_tflite("float32", metadata=raw)).preprocess(plain((7, 8, 9)))
    assert batch.dtype == np.float32
    assert batch[0, 0, 0].tolist() == [7, 8, 9]


def test_int8_logits_are_dequantized(save_tflite: Save, metadata_for: Describe) -> None:
    file = save_tflite(outputs=slice(1, 2), metadata=metadata_for("uint8"))
    model = Model(file)
    raw = model.predict(model.preprocess(plain((51, 102, 153))))
    assert raw.dtype == np.int8
    assert raw.tolist() == [[-60, -20, 20]]  # ten times 0.2, 0.4, 0.6 in steps of 0.05 above -100
    logits = model.logits(model.preprocess(plain((51, 102, 153))))
    np.testing.assert_allclose(logits, [[2, 4, 6]], rtol=1e-6)


def test_int8_logits_of_onnx_take_their_scale_from_the_metadata(
    save_onnx: Save, metadata_for: Describe
) -> None:
    quantized = QuantizationInfo("minmax", 1, "int8", 0.05, -100)
    model = Model(
        save_onnx(
            int8_output=True, metadata=metadata_for("float32", "NCHW", quantization=quantized)
        )
    )
    assert model.io.outputs == (TensorInfo("scores", (1, 3), "int8", 0.05, -100),)
    constant = np.tile(np.float32([0.2, 0.4, 0.6]).reshape(1, 3, 1, 1), (1, 1, 8, 8))
    np.testing.assert_allclose(model.logits(constant), [[2, 4, 6]], rtol=1e-6)


def test_int8_logits_without_a_scale_are_refused_with_the_way_out(
    save_onnx: Save, metadata_for: Describe
) -> None:
    model = Model(save_onnx(int8_output=True, metadata=metadata_for("float32", "NCHW")))
    with pytest.raises(ModelFileError, match="nothing in the file tells the scale") as caught:
        model.classify(plain(COLOURS["red"]))
    assert "predict()" in (caught.value.remedy or "")


def test_the_io_is_typed(save_tflite: Save) -> None:
    io_ = Model(save_tflite(outputs=slice(0, 2))).io
    assert io_.input == TensorInfo("image", (1, 8, 8, 3), "uint8", pytest.approx(1 / 255), 0)
    logits, scores = io_.outputs
    assert logits == TensorInfo("logits", (1, 3), "float32", None, None)
    assert scores == TensorInfo("scores", (1, 3), "int8", pytest.approx(0.05), -100)


def test_several_outputs_come_as_a_dict_by_name(save_tflite: Save) -> None:
    model = Model(save_tflite("float32", outputs=slice(0, 2)))
    result = model.predict(np.full((1, 8, 8, 3), 0.5, np.float32))
    assert isinstance(result, dict)
    assert list(result) == ["logits", "mean"]
    np.testing.assert_allclose(result["logits"], 5)
    np.testing.assert_allclose(result["mean"], 0.5)
    with pytest.raises(ModelFileError, match="not a classifier"):
        model.logits(np.zeros((1, 8, 8, 3), np.float32))


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_any_number_of_images_runs_in_chunks(save_tflite: Save, size: int, count: int) -> None:
    batch = np.random.default_rng(2).normal(size=(count, 8, 8, 3)).astype(np.float32)
    result = Model(save_tflite("float32", batch=size)).predict(batch)
    np.testing.assert_allclose(result, 10 * batch.mean(axis=(1, 2)), atol=1e-5)


def test_chunks_of_several_outputs_line_up(save_tflite: Save) -> None:
    batch = np.random.default_rng(2).normal(size=(5, 8, 8, 3)).astype(np.float32)
    result = Model(save_tflite("float32", batch=2, outputs=slice(0, 2))).predict(batch)
    assert isinstance(result, dict)
    np.testing.assert_allclose(result["logits"], 10 * result["mean"], atol=1e-5)
    np.testing.assert_allclose(result["mean"], batch.mean(axis=(1, 2)), atol=1e-5)


def test_an_open_batch_runs_at_once(save_onnx: Save) -> None:
    model = Model(save_onnx(batch="N"))
    batch = np.random.default_rng(2).normal(size=(6, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(model.predict(batch), 10 * batch.mean(axis=(2, 3)), atol=1e-5)
    assert model.latency.inference is not None
    assert model.latency.inference.count == 1
    assert model.io.input.shape == (None, 3, 8, 8)


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), "float32 [1, 8, 8, 3]"),
        (np.zeros((1, 3, 8, 8), np.uint8), "uint8 [1, 3, 8, 8]"),
        (np.zeros((8, 8, 3), np.float32), "float32 [8, 8, 3]"),
        (np.zeros((0, 8, 8, 3), np.uint8), "uint8 [0, 8, 8, 3]"),
        ([[1, 2]], "a list"),
    ],
)
def test_a_wrong_batch_is_refused_naming_both_sides(
    int8_tflite: Path, batch: np.ndarray, got: str
) -> None:
    with pytest.raises(InputError) as caught:
        Model(int8_tflite).predict(batch)
    assert caught.value.what.endswith(f"takes uint8 [1, 8, 8, 3], got {got}")
    assert caught.value.where == str(int8_tflite)


def test_the_callers_arrays_are_neither_changed_nor_shared(int8_tflite: Path) -> None:
    model = Model(int8_tflite)
    bright = np.full((1, 8, 8, 3), 250, np.uint8)
    first = model.predict(bright)
    kept = first.copy()
    model.predict(np.zeros((1, 8, 8, 3), np.uint8))
    np.testing.assert_array_equal(first, kept)
    assert (bright == 250).all()


def test_a_strided_view_runs_like_its_copy(float_tflite: Path) -> None:
    model = Model(float_tflite)
    wide = np.random.default_rng(3).normal(size=(1, 8, 16, 3)).astype(np.float32)
    view = wide[:, :, ::2]
    np.testing.assert_array_equal(model.predict(view), model.predict(view.copy()))


def test_an_array_that_is_equal_but_not_plain_runs_like_a_plain_one(
    float_tflite: Path, tmp_path: Path
) -> None:
    """A memory-mapped array, and one whose dtype is a copy as unpickling makes it."""
    model = Model(float_tflite)
    batch = np.random.default_rng(5).normal(size=(1, 8, 8, 3)).astype(np.float32)
    np.save(tmp_path / "batch.npy", batch)
    for twin in (np.load(tmp_path / "batch.npy", mmap_mode="r"), pickle.loads(pickle.dumps(batch))):
        np.testing.assert_array_equal(model.predict(twin), model.predict(batch))
    with pytest.raises(InputError, match="got >f4"):
        model.predict(batch.astype(">f4"))


def test_without_metadata_predict_works_and_classify_is_refused(save_tflite: Save) -> None:
    model = Model(save_tflite())
    assert model.metadata is None
    assert model.predict(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 3)
    with pytest.raises(InputError, match="carries no ghostedge metadata") as caught:
        model.classify(plain(COLOURS["red"]))
    assert "predict()" in (caught.value.remedy or "")


def test_without_labels_the_index_is_the_label(save_tflite: Save, metadata_for: Describe) -> None:
    model = Model(save_tflite(metadata=metadata_for("uint8", labels=None)))
    assert model.classify(plain(COLOURS["green"]), top_k=1)[0].label == "1"


def test_labels_of_another_number_than_the_classes_are_refused(
    save_tflite: Save, metadata_for: Describe
) -> None:
    model = Model(save_tflite(metadata=metadata_for("uint8", labels=("a", "b"))))
    with pytest.raises(ModelFileError, match="2 labels, but it tells 3 classes apart"):
        model.classify(plain(COLOURS["red"]))


@pytest.mark.parametrize(
    "change",
    [
        {"input": InputSpec("NHWC", "float32", normalized=True)},
        {"input": InputSpec("NCHW", "uint8", normalized=False)},
        {"input": InputSpec("NHWC", "uint8", normalized=True)},
        {"preprocessing": Preprocessing((9, 8))},
    ],
    ids=["dtype", "layout", "normalised bytes", "size"],
)
def test_metadata_that_does_not_fit_the_graph_is_refused(
    save_tflite: Save, metadata_for: Describe, change: dict[str, object]
) -> None:
    model = Model(save_tflite(metadata=metadata_for("uint8", **change)))
    with pytest.raises(ModelFileError, match=r"its metadata describes .* but its input takes"):
        model.classify(plain(COLOURS["red"]))


def test_numbers_that_are_none_are_refused(float_tflite: Path) -> None:
    with pytest.raises(ModelFileError, match="NaN"):
        Model(float_tflite).logits(np.full((1, 8, 8, 3), np.nan, np.float32))


def test_many_threads_get_the_answers_one_would(model: Model) -> None:
    generator = np.random.default_rng(4)
    pictures = [generator.integers(0, 256, (10, 10, 3)).astype(np.uint8) for _ in range(60)]
    serial = [model.classify(picture) for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(model.classify, pictures)) == serial
    assert model.latency.inference is not None
    assert model.latency.inference.count == 120


def test_latency_keeps_preprocessing_and_inference_apart(int8_tflite: Path) -> None:
    model = Model(int8_tflite)
    assert model.latency.preprocessing is None
    assert model.latency.inference is None
    assert model.first_inference_ms is None
    batch = model.preprocess(plain(COLOURS["red"]))
    for _ in range(3):
        model.predict(batch)
    preprocessing, inference = model.latency.preprocessing, model.latency.inference
    assert preprocessing is not None
    assert inference is not None
    assert (preprocessing.count, inference.count) == (1, 3)
    assert 0 < inference.min_ms <= inference.p50_ms <= inference.p90_ms <= inference.p99_ms
    assert model.first_inference_ms > 0


def test_latency_memory_is_bounded(int8_tflite: Path) -> None:
    model = Model(int8_tflite)
    batch = np.zeros((1, 8, 8, 3), np.uint8)
    for _ in range(WINDOW + 10):
        model.predict(batch)
    inference = model.latency.inference
    assert inference is not None
    assert (inference.count, inference.window) == (WINDOW + 10, WINDOW)


def test_a_closed_model_says_so(model: Model) -> None:
    with model as opened:
        opened.classify(plain(COLOURS["red"]))
    for call in (
        lambda: model.classify(plain(COLOURS["red"])),
        lambda: model.predict(np.zeros((1, 8, 8, 3), np.uint8)),
    ):
        with pytest.raises(InputError, match="the model is closed"):
            call()
    model.close()
    assert model.metadata is not None


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_threads_must_be_a_positive_whole_number(int8_tflite: Path, threads: int) -> None:
    with pytest.raises(InputError, match="threads must be a whole number"):
        Model(int8_tflite, threads=threads)


def test_more_threads_give_the_same_answer(int8_tflite: Path, float_onnx: Path) -> None:
    for path in (int8_tflite, float_onnx):
        one, two = Model(path), Model(path, threads=2)
        picture = plain(COLOURS["green"])
        assert [x.index for x in one.classify(picture)] == [x.index for x in two.classify(picture)]
        assert two.threads == 2


def test_the_repr_tells_what_it_is(int8_tflite: Path) -> None:
    text = repr(Model(int8_tflite))
    assert "uint8 [1, 8, 8, 3] → float32 [1, 3]" in text
    assert str(int8_tflite) in text


def test_a_row_of_numbers_that_are_no_scores_is_not_classified(
    save_tflite: Save, metadata_for: Describe
) -> None:
    path = save_tflite(metadata=metadata_for("uint8", labels=None, classifies=False))
    model = Model(path)
    assert not model.is_classifier
    with pytest.raises(ModelFileError, match="not a classifier: its outputs are logits") as caught:
        model.classify(plain((255, 0, 0)))
    assert "values()" in (caught.value.remedy or "")
    assert model.values(plain((255, 0, 0)))["logits"].shape == (1, 3)


def test_one_row_of_scores_is_a_classifiers_and_two_outputs_are_not(save_tflite: Save) -> None:
    assert Model(save_tflite("float32")).is_classifier
    assert not Model(save_tflite("float32", outputs=slice(0, 2))).is_classifier


def test_probabilities_that_the_network_gives_are_its_scores(
    save_tflite: Save, metadata_for: Describe
) -> None:
    kept = Model(save_tflite(metadata=metadata_for("uint8", probabilities=True)))
    values = kept.values(plain(COLOURS["red"]))["logits"][0]
    scores = {each.index: each.score for each in kept.classify(plain(COLOURS["red"]))}
    assert [scores[i] for i in range(3)] == pytest.approx(values.tolist())
