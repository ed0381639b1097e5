"""Images for networks of one and four channels, and for numbers of channels that no image has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostedge_runtime import Model, ModelMetadata
from ghostedge_runtime.errors import ImageError, InputError, ModelFileError
from ghostedge_runtime.images import normalize, open_image, prepare
from ghostedge_runtime.metadata import InputSpec, Preprocessing

GREY = Preprocessing((4, 6), crop_pct=1.0, mean=(0.5,), std=(0.25,))
RGBA = Preprocessing((4, 6), crop_pct=1.0, mean=(0.5, 0.4, 0.3, 0.2), std=(0.5, 0.25, 0.2, 0.1))
ORANGE, CLEAR = (200, 100, 50), (200, 100, 50, 40)


def plain(color: tuple[int, ...] | int, mode: str) -> Image.Image:
    return Image.new(mode, (6, 4), color)


def test_a_grey_network_sees_the_luma_of_a_colour_image() -> None:
    pixels = prepare(plain(ORANGE, "RGB"), GREY)
    assert pixels.shape == (4, 6, 1)
    assert pixels[0, 0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1)])
def test_a_grey_array_is_taken_as_it_is(shape: tuple[int, ...]) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(shape)
    np.testing.assert_array_equal(prepare(array, GREY), array.reshape(4, 6, 1))


def test_transparency_is_the_fourth_channel_and_opaque_where_there_is_none() -> None:
    assert prepare(plain(CLEAR, "RGBA"), RGBA)[0, 0].tolist() == list(CLEAR)
    assert prepare(plain(ORANGE, "RGB"), RGBA)[0, 0].tolist() == [*ORANGE, 255]
    array = np.full((4, 6, 4), CLEAR, np.uint8)
    np.testing.assert_array_equal(prepare(array, RGBA), array)


def test_bgr_with_transparency_turns_only_the_colours_round() -> None:
    pixels = prepare(plain(CLEAR, "RGBA"), replace(RGBA, color_order="BGR"))
    assert pixels[0, 0].tolist() == [50, 100, 200, 40]


def test_every_channel_has_a_mean_and_std_of_its_own() -> None:
    values = normalize(np.full((1, 1, 4), 255, np.uint8), RGBA)
    np.testing.assert_allclose(values[0, 0], [1, 2.4, 3.5, 8], rtol=1e-6)


@pytest.mark.parametrize(
    ("mode", "shape"), [("L", (4, 6, 2)), ("RGB", (4, 6)), ("RGB", (4, 6, 4)), ("RGBA", (4, 6))]
)
def test_arrays_of_other_channels_are_refused(mode: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="an image array must be uint8"):
        open_image(np.zeros(shape, np.uint8), mode)


def test_no_image_is_prepared_for_seven_channels() -> None:
    chosen = Preprocessing((4, 6), mean=(0.5,) * 7, std=(0.25,) * 7)
    with pytest.raises(ImageError, match="7 channels"):
        prepare(plain(ORANGE, "RGB"), chosen)


Mean = Callable[..., Path]


@pytest.fixture
def mean_of(tmp_path: Path) -> Mean:
    """A model that gives the mean of each input channel, for raw or normalised pixels."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper

    def save(preprocessing: Preprocessing, *, copies: int = 1) -> Path:
        channels = len(preprocessing.mean)
        outputs = [f"mean_{index}" for index in range(copies)]
        float32 = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            [helper.make_node("ReduceMean", ["x"], [o], axes=[2, 3], keepdims=0) for o in outputs],
            "means",
            [helper.make_tensor_value_info("x", float32, [1, channels, 4, 6])],
            [helper.make_tensor_value_info(o, float32, [1, channels]) for o in outputs],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
        metadata = ModelMetadata(preprocessing, InputSpec("NCHW", "float32", normalized=True))
        helper.set_model_props(model, {"ghostedge": metadata.to_json()})
        path = tmp_path / f"{channels}.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return save


@pytest.mark.parametrize(("preprocessing", "channels"), [(GREY, 1), (RGBA, 4)])
def test_predict_takes_an_image_of_any_kind(
    mean_of: Mean, tmp_path: Path, preprocessing: Preprocessing, channels: int
) -> None:
    image = plain(CLEAR, "RGBA")
    path = tmp_path / "image.png"
    image.save(path)
    model = Model(mean_of(preprocessing))
    expected = model.predict(model.preprocess(image))
    assert isinstance(expected, np.ndarray)
    assert expected.shape == (1, channels)
    for source in (path, str(path), path.read_bytes(), image):
        np.testing.assert_array_equal(model.predict(source), expected)
    bare = np.asarray(image.convert("L") if channels == 1 else image)
    np.testing.assert_array_equal(model.predict(bare), expected)


def test_several_outputs_of_an_image_come_by_name(mean_of: Mean) -> None:
    model = Model(mean_of(GREY, copies=2))
    found = model.predict(plain(255, "L"))
    assert isinstance(found, dict)
    assert {name: float(value[0, 0]) for name, value in found.items()} == {"mean_0": 2, "mean_1": 2}


def test_values_are_by_name_for_one_output_too(mean_of: Mean) -> None:
    found = Model(mean_of(GREY)).values(plain(0, "L"))
    assert {name: float(value[0, 0]) for name, value in found.items()} == {"mean_0": -2}


def test_an_image_for_a_file_of_seven_channels_is_refused_but_arrays_run(mean_of: Mean) -> None:
    model = Model(mean_of(Preprocessing((4, 6), mean=(0.5,) * 7, std=(0.25,) * 7)))
    with pytest.raises(ModelFileError, match="7 channels, which no image has") as caught:
        model.predict(plain(ORANGE, "RGB"))
    assert "predict()" in (caught.value.remedy or "")
    assert model.values(np.ones((1, 7, 4, 6), np.float32))["mean_0"].shape == (1, 7)


def test_a_float_array_is_never_taken_for_an_image(mean_of: Mean) -> None:
    with pytest.raises(InputError, match=r"float32 \[4, 6, 1\]"):
        Model(mean_of(GREY)).predict(np.zeros((4, 6, 1), np.float32))
