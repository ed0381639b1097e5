from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from ghostedge_quantize import Range, Ranges, calibrate, quantize
from ghostedge_quantize.codes import affine, quantize_array
from ghostedge_quantize.graph.raw_input import shift_range
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import Preprocessing

Toy = Callable[..., onnx.ModelProto]
Run = Callable[..., np.ndarray]
SHIFTED = "image_shifted_dequantized"


def stem(
    toy: Toy, side: int, weight: np.ndarray | None = None, **attributes: Any
) -> onnx.ModelProto:
    """One 3×3 convolution at stride 2 with padding 1, as GhostNet begins."""
    weight = np.random.default_rng(0).normal(0, 0.2, (16, 3, 3, 3)) if weight is None else weight
    body = "logits = Conv<pads=[1,1,1,1], strides=[2,2]>(input, w, b)"
    half = (side + 1) // 2
    return toy(
        body,
        {"w": weight, "b": np.linspace(-1, 1, len(weight))},
        shape=(1, 3, side, side),
        output=(1, len(weight), half, half),
    )


def scalar(model: onnx.ModelProto, name: str) -> float:
    return float(next(numpy_helper.to_array(i) for i in model.graph.initializer if i.name == name))


def broad(model: onnx.ModelProto) -> Ranges:
    return Ranges("minmax", 1, {"input": Range(-3, 3), "logits": Range(-8, 8)})


def test_the_graph_takes_raw_pixels_and_the_float_input_is_gone(toy: Toy) -> None:
    model = quantize(stem(toy, 8), broad(stem(toy, 8)), preprocessing=Preprocessing())
    (image,) = model.graph.input
    assert image.name == "image"
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [1, 8, 8, 3]
    assert [node.op_type for node in model.graph.node if "image" in node.name] == [
        "DequantizeLinear",  # of the constant mean
        "Transpose",
        "DequantizeLinear",
        "QuantizeLinear",
        "DequantizeLinear",
        "Add",
        "QuantizeLinear",
        "DequantizeLinear",
    ]


def test_every_pixel_value_enters_int8_exactly(toy: Toy, run: Run) -> None:
    model = quantize(stem(toy, 16), broad(stem(toy, 16)), preprocessing=Preprocessing())
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    unit = run(model, [pixels], outputs=["image_unit_dequantized"])
    assert unit[0, 0].reshape(-1) == pytest.approx(np.arange(256) / 255, abs=1e-6)


def test_the_shift_constant_runs_along_the_width(toy: Toy) -> None:
    model = quantize(stem(toy, 8), broad(stem(toy, 8)), preprocessing=Preprocessing())
    constant = next(
        numpy_helper.to_array(i)
        for i in model.graph.initializer
        if i.name == "image_minus_mean_quantized"
    )
    assert constant.dtype == np.int8
    assert constant.shape == (1, 3, 1, 8)
    assert (constant == constant[..., :1]).all()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0.05, 0.95), min_size=3, max_size=3))
def test_the_shift_is_nearer_than_a_third_of_a_pixel(mean: list[float]) -> None:
    values = -np.asarray(mean, np.float32)
    params = affine(shift_range(-values))
    real = (quantize_array(values, params).astype(float) - params.zero_point) * params.scale
    assert np.abs(real - values).max() < 1 / 3 / 255


@pytest.mark.parametrize("mean", [(0.0, 0.0, 0.0), (0.5, 0.0, 0.2), (-0.1, 0.2, 0.3)])
def test_means_that_are_not_all_positive_work_too(
    toy: Toy, run: Run, mean: Sequence[float]
) -> None:
    preprocessing = Preprocessing(mean=tuple(mean))
    model = quantize(stem(toy, 8), broad(stem(toy, 8)), preprocessing=preprocessing)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    shifted = run(model, [pixels], outputs=[SHIFTED])
    expected = (pixels / 255 - np.asarray(mean)).transpose(0, 3, 1, 2)
    assert np.abs(shifted - expected).max() <= scalar(model, "image_shifted_scale")


def test_pictures_are_shifted_within_one_step_everywhere(
    toy: Toy, run: Run, pictures: Path, images: type
) -> None:
    preprocessing = Preprocessing()
    data = images(sorted(pictures.glob("*.JPEG")), preprocessing)
    model = quantize(stem(toy, 224), broad(stem(toy, 224)), preprocessing=preprocessing)
    step = scalar(model, "image_shifted_scale")
    worst = 0.0
    for pixels in data.raw:
        expected = (pixels / 255 - np.asarray(preprocessing.mean)).transpose(0, 3, 1, 2)
        worst = max(worst, np.abs(run(model, [pixels], outputs=[SHIFTED]) - expected).max())
    assert worst <= step
    assert step < 1.1 / 255


def test_real_photos_leave_the_stem_within_one_step_borders_included(
    trained_deploy: onnx.ModelProto, run: Run, photos: Path, images: type
) -> None:
    """Only the input is quantized here: its shifted values go through the float stem.

    Rounding to int8 moves a pixel by up to half a step, whatever the code. On a flat patch all taps
    move alike, so the loudest channel may pass one step of its own, up to the sum of its weights.
    """
    preprocessing = Preprocessing()
    first = trained_deploy.graph.node[0]
    constants = {i.name: numpy_helper.to_array(i) for i in trained_deploy.graph.initializer}
    weight, bias = constants[first.input[1]], constants[first.input[2]]
    assert first.op_type == "Conv"

    def stem_of(weights: np.ndarray) -> onnx.ModelProto:
        node = onnx.NodeProto()
        node.CopyFrom(first)
        node.input[:], node.output[:] = ["input", "w", "b"], ["out"]
        end = onnx.helper.make_node("Relu", ["out"], ["logits"])
        value = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [node, end],
            "stem",
            [value("input", onnx.TensorProto.FLOAT, [1, 3, 224, 224])],
            [value("logits", onnx.TensorProto.FLOAT, [1, len(bias), 112, 112])],
            [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
        )
        return onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8
        )

    data = images(sorted(photos.glob("*.JPEG"))[::6], preprocessing)
    model = stem_of(weight)
    ranges = calibrate(model, data, method="minmax")
    int8 = quantize(model, ranges, preprocessing=preprocessing)
    shifted = run(int8, list(data.raw), outputs=[SHIFTED], optimise=False)
    std = np.asarray(preprocessing.std, np.float32).reshape(1, 3, 1, 1)
    actual = run(stem_of(weight / std), list(shifted[:, None]))
    expected = run(model, list(data))
    error = np.abs(actual - expected) / scalar(int8, "logits_scale")
    borders = [error[..., 0, :], error[..., -1, :], error[..., :, 0], error[..., :, -1]]
    assert max(border.max() for border in borders) <= 1
    assert (error > 1).mean() < 1e-5
    half_step = 0.55 * scalar(int8, "image_shifted_scale")  # the mean's own error included
    loudest = np.abs(weight / std).sum(axis=(1, 2, 3)).max()
    assert error.max() <= half_step * loudest / scalar(int8, "logits_scale")
    assert expected.max() > 50 * scalar(int8, "logits_scale")


def test_the_pixels_of_a_depthwise_first_layer_are_scaled_per_channel(toy: Toy, run: Run) -> None:
    body = "logits = Conv<group=3>(input, w)"
    model = toy(body, {"w": np.ones((6, 1, 1, 1))}, output=(1, 6, 8, 8))
    ranges = Ranges("minmax", 1, {"input": Range(-3, 3), "logits": Range(-3, 3)})
    int8 = quantize(model, ranges, preprocessing=Preprocessing())
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    mean, std = np.asarray(Preprocessing().mean), np.asarray(Preprocessing().std)
    expected = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2).repeat(2, axis=1)
    assert run(int8, [pixels]) == pytest.approx(expected, abs=2 * 6 / 255)


@pytest.mark.parametrize("std", [(0.25, 0.25, 0.25), (0.3, 0.2, 0.25)])
def test_what_is_no_convolution_reads_the_normalised_image_too(
    toy: Toy, run: Run, std: tuple[float, ...]
) -> None:
    """A max pool beside the first convolution: all channels' std in the codes, or one Mul."""
    body = """
        made = Conv<pads=[1,1,1,1]>(input, w, b)
        kept = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(input)
        logits = Concat<axis=1>(made, kept)
    """
    random = np.random.default_rng(0)
    weights = {"w": random.normal(0, 0.2, (5, 3, 3, 3)), "b": np.linspace(-1, 1, 5)}
    model = toy(body, weights, output=(1, 8, 8, 8))
    preprocessing = Preprocessing(mean=(0.5, 0.4, 0.45), std=std)
    pixels = random.integers(0, 256, (4, 1, 8, 8, 3), np.uint8)
    normalised = list(((pixels / 255 - preprocessing.mean) / std).transpose(0, 1, 4, 2, 3))
    floats = [image.astype(np.float32) for image in normalised]
    int8 = quantize(model, calibrate(model, floats, method="minmax"), preprocessing=preprocessing)
    error = np.abs(run(int8, list(pixels)) - run(model, floats))
    step = scalar(int8, next(n.input[1] for n in int8.graph.node if "logits" in n.output))
    assert error[:, 5:].max() <= 1.5 * step
    assert error.max() <= 3 * step
    assert ("Mul" in [node.op_type for node in int8.graph.node]) == (len(set(std)) > 1)


def test_a_graph_without_any_convolution_takes_raw_pixels(toy: Toy, run: Run) -> None:
    body = "z = Flatten(input) logits = Gemm<transB=1>(z, w, b)"
    random = np.random.default_rng(0)
    model = toy(body, {"w": random.normal(0, 0.1, (10, 192)), "b": np.zeros(10)})
    preprocessing = Preprocessing()
    pixels = random.integers(0, 256, (1, 8, 8, 3), np.uint8)
    image = ((pixels / 255 - preprocessing.mean) / preprocessing.std).transpose(0, 3, 1, 2)
    image = image.astype(np.float32)
    int8 = quantize(model, calibrate(model, [image], method="minmax"), preprocessing=preprocessing)
    expected = run(model, [image])
    assert run(int8, [pixels]) == pytest.approx(expected, abs=0.02 * float(np.abs(expected).max()))


def test_preprocessing_for_other_channels_is_refused(toy: Toy) -> None:
    with pytest.raises(InputError, match="3 channels, the preprocessing has 1"):
        quantize(
            stem(toy, 8),
            broad(stem(toy, 8)),
            preprocessing=Preprocessing(mean=(0.5,), std=(0.5,)),
        )
