"""What the first batch norm sees follows from the responses to each colour alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper

from ghostedge_convert.statistics.stem import measure_stem
from ghostedge_runtime.metadata import ColorOrder, Preprocessing

Pixels = npt.NDArray[np.uint8]
Stems = Callable[..., onnx.ModelProto]
SIDE = 32


def _pixels(images: int, channels: int) -> Pixels:
    random = np.random.default_rng(1)
    return random.integers(0, 256, (images, SIDE, SIDE, channels), np.uint8)


def _weights(channels: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(2).standard_normal((4, channels, 3, 3)).astype(np.float32)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("batch", [1, 4])
def test_it_gives_the_moments_that_running_the_network_gives(
    stem_of: Stems, channels: int, order: ColorOrder, batch: int
) -> None:
    model = stem_of(_weights(channels), np.ones(4), np.full(4, 2.0), batch)
    pixels = _pixels(3, channels)
    measured = measure_stem(model, [pixels[:2], pixels[2:]])
    assert measured is not None
    scale, shift = np.linspace(0.5, 4, channels), np.linspace(-2, 1, channels)
    layer = measured.under(scale, shift, order)
    turned = pixels[..., [2, 1, 0, 3][:channels]] if order == "BGR" and channels > 1 else pixels
    inputs = (turned / 255 * scale + shift).astype(np.float32).transpose(0, 3, 1, 2)
    seen = _seen(model, inputs)
    np.testing.assert_allclose(layer.mean, seen.mean((2, 3)), atol=1e-5)
    np.testing.assert_allclose(layer.square, (seen**2).mean((2, 3)), rtol=1e-4)
    assert layer.name == "stem/norm"
    np.testing.assert_array_equal(layer.running_var, np.full(4, 2.0))


def _seen(model: onnx.ModelProto, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    free = onnx.ModelProto()
    free.CopyFrom(model)
    del free.graph.node[1:], free.graph.initializer[1:]
    free.graph.output[0].name = "seen"
    for value in (*free.graph.input, *free.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    session = onnxruntime.InferenceSession(free.SerializeToString())
    return session.run(None, {"input": inputs})[0].astype(np.float64)  # type: ignore[no-any-return]


def test_nothing_can_be_told_where_the_image_is_bent_before_the_first_batch_norm(
    stem_of: Stems,
) -> None:
    model = stem_of(_weights(3), np.ones(4), np.ones(4))
    model.graph.node.insert(0, helper.make_node("Relu", ["input"], ["bent"]))
    model.graph.node[1].input[0] = "bent"
    assert measure_stem(model, [_pixels(2, 3)]) is None


@pytest.mark.parametrize("kind", ["no batch norm", "never trained", "five channels", "no images"])
def test_nothing_can_be_told_of(stem_of: Stems, kind: str) -> None:
    channels = 5 if kind == "five channels" else 3
    var = np.ones(4) if kind == "never trained" else np.full(4, 2.0)
    model = stem_of(_weights(channels), np.zeros(4), var)
    if kind == "no batch norm":
        del model.graph.node[1]
        model.graph.node[1].input[0] = "seen"
    images = 0 if kind == "no images" else 2
    assert measure_stem(model, [_pixels(images, channels)]) is None


def test_it_is_told_of_a_model_that_is_left_as_it_was(
    stem_wanting: Callable[[Preprocessing], onnx.ModelProto],
) -> None:
    model = stem_wanting(Preprocessing(input_size=(SIDE, SIDE)))
    before = model.SerializeToString()
    assert measure_stem(model, [_pixels(1, 3)]) is not None
    assert model.SerializeToString() == before
