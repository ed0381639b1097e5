# ruff: noqa: PLR0917 - hypothesis hands over every drawn value as an argument
"""Resizes compute what ONNX Runtime computes, by TFLite's operators or constant matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ghostedge_convert.lower import lower_to_tflite
from ghostedge_runtime.errors import UnsupportedOpError

sampled = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 2**31 - 1)
images = st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
MODES = ["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"]
ROUNDINGS = ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]
TRANSFORMS = ["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"]
scales = st.floats(0.3, 3.3)
SCALE, ZERO = 0.027, 5


def behind_conv(network, shape, seed):
    """An input of this shape that is channels-last because a 1×1 convolution made it."""
    x = network.input(shape)
    if len(shape) != 4:
        return x
    weights = np.random.default_rng(seed).standard_normal((shape[1], shape[1], 1, 1))
    return network.add("Conv", x, weights.astype(np.float32))


def resized(network, x, shape, factors, **attributes):
    """A Resize by scales, of an image that keeps at least one pixel.

    Where float32's rounding of a size times its scale decides (5 × 1.8 is 9, or 8.9999998), ONNX's
    shape inference and ONNX Runtime give the result another size; such a file is none to compare.
    """
    wanted = np.asarray([1, 1, *factors], np.float32)
    sizes = np.floor(wanted * np.asarray(shape, np.float32))
    assume(sizes.min() >= 1)
    assume(np.array_equal(sizes, np.floor(wanted.astype(np.float64) * shape)))
    return network.add("Resize", x, "", wanted, **attributes)


def quantized_input(network, shape, name="x", scale=SCALE, zero=ZERO):
    return network.pair(network.input(shape, name), scale, zero)


@sampled
@given(images, st.integers(1, 9), st.integers(1, 9), st.sampled_from(MODES), seeds)
def test_bilinear_resize(net, agree, shape, height, width, mode, seed):
    network = net()
    out = np.asarray([*shape[:2], height, width], np.int64)
    y = network.add(
        "Resize",
        network.input(shape),
        "",
        "",
        out,
        mode="linear",
        coordinate_transformation_mode=mode,
    )
    agree(network.model(y), network.feeds(seed))


@sampled
@given(
    images,
    st.integers(1, 3),
    st.sampled_from([("asymmetric", "floor"), ("half_pixel", "round_prefer_ceil")]),
    st.booleans(),
    seeds,
)
def test_nearest_resize(net, agree, shape, factor, modes, by_scale, seed):
    network = net()
    out = np.asarray([*shape[:2], shape[2] * factor, shape[3] * 2], np.int64)
    size = ("", np.float32(out / shape)) if by_scale else ("", "", out)
    y = network.add(
        "Resize",
        network.input(shape),
        *size,
        mode="nearest",
        coordinate_transformation_mode=modes[0],
        nearest_mode=modes[1],
    )
    agree(network.model(y), network.feeds(seed))


@sampled
@given(
    images,
    st.floats(0.3, 3.3),
    st.floats(0.3, 3.3),
    st.sampled_from(["linear", *ROUNDINGS]),
    st.sampled_from(MODES),
    seeds,
)
def test_resize_by_any_scale(net, agree, shape, down, across, mode, transform, seed):
    """Whatever no kernel of TFLite's samples is a product of matrices."""
    network = net()
    modes = {"mode": "linear"} if mode == "linear" else {"nearest_mode": mode}
    y = resized(
        network,
        behind_conv(network, shape, seed),
        shape,
        (down, across),
        coordinate_transformation_mode=transform,
        **modes,
    )
    agree(network.model(y), network.feeds(seed))


@sampled
@given(
    images,
    scales,
    scales,
    st.sampled_from([*TRANSFORMS, "half_pixel_symmetric"]),
    st.sampled_from([-0.75, -0.5]),
    st.booleans(),
    seeds,
)
def test_cubic(net, agree, shape, down, across, transform, coefficient, excludes, seed):
    network = net()
    y = resized(
        network,
        network.input(shape),
        shape,
        (down, across),
        mode="cubic",
        coordinate_transformation_mode=transform,
        cubic_coeff_a=coefficient,
        exclude_outside=int(excludes),
    )
    agree(network.model(y), network.feeds(seed))


@pytest.mark.xfail(strict=True, reason="ONNX's shape inference says 8 columns, ONNX Runtime 9")
def test_a_size_that_float32s_rounding_decides(net, agree):
    network = net()
    wanted = np.asarray([1, 1, 1, 1.8], np.float32)
    y = network.add("Resize", network.input((1, 1, 1, 5)), "", wanted, mode="linear")
    agree(network.model(y), network.feeds(0))


@sampled
@given(images, scales, scales, st.sampled_from(["linear", "cubic"]), st.booleans(), seeds)
def test_antialiased(net, agree, shape, down, across, mode, excludes, seed):
    network = net()
    modes = {"mode": mode, "antialias": 1, "exclude_outside": int(excludes)}
    y = resized(network, network.input(shape), shape, (down, across), **modes)
    agree(network.model(y), network.feeds(seed))


@sampled
@given(st.integers(1, 3), st.integers(1, 9), scales, st.sampled_from(["linear", "nearest"]), seeds)
def test_along_one_axis(net, agree, channels, length, scale, mode, seed):
    network = net()
    shape = (2, channels, length)
    y = resized(network, network.input(shape), shape, (scale,), mode=mode)
    agree(network.model(y), network.feeds(seed), tolerance=1e-4)


@sampled
@given(
    images,
    scales,
    scales,
    st.sampled_from(TRANSFORMS),
    st.sampled_from(["ceil", "round_prefer_floor"]),
    seeds,
)
def test_any_nearest_on_integers(net, agree, shape, down, across, transform, rounding, seed):
    network = net()
    x = network.pair(network.input(shape), 0.03, 7)
    modes = {"coordinate_transformation_mode": transform, "nearest_mode": rounding}
    y = resized(network, x, shape, (down, across), **modes)
    model = network.model(network.quantize(y, 0.03, 7), dtype=np.int8)
    assert "DEQUANTIZE" not in agree(model, network.feeds(seed), steps=0)


def test_cubic_between_integers_is_float(net, agree):
    network = net()
    x = network.pair(network.input((1, 4, 5, 6)), 0.03, 7)
    y = resized(network, x, (1, 4, 5, 6), (2, 2), mode="cubic")
    model = network.model(network.quantize(y, 0.04, 3), dtype=np.int8)
    found = agree(model, network.feeds(0))
    assert found == {"QUANTIZE": 2, "DEQUANTIZE": 1, "BATCH_MATMUL": 2, "RESHAPE": found["RESHAPE"]}


@sampled
@given(images, st.integers(1, 5), st.integers(1, 5), seeds)
def test_whole_multiples_are_repeated_pixels_and_stay_in_xnnpack(
    net, open_tflite, left_outside_xnnpack, shape, down, across, seed
):
    network = net()
    y = resized(network, network.input(shape), shape, (down, across), mode="nearest")
    data = lower_to_tflite(network.model(y)).data
    assert not left_outside_xnnpack(data)
    interpreter = open_tflite(data, "xnnpack")
    image = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    last = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], last)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert np.array_equal(found, last.repeat(down, 1).repeat(across, 2))


@pytest.mark.parametrize(("sizes", "left"), [((3, 7), 0), ((1, 6), 1), ((9, 14), 1)])
def test_a_few_slices_are_joined_and_many_are_one_op(net, agree, left_outside_xnnpack, sizes, left):
    network = net()
    before, after = sizes
    out = np.asarray([1, 4, after, after], np.int64)
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    image = network.input((1, 4, before, before))
    y = network.add("Resize", image, "", "", out, nearest_mode="floor", **attributes)
    model = network.model(y)
    agree(model, network.feeds(0))
    assert sum(left_outside_xnnpack(lower_to_tflite(model).data).values()) == left


def test_cubic_stays_in_xnnpack(net, left_outside_xnnpack):
    network = net()
    shape = (1, 8, 6, 5)
    y = resized(network, network.input(shape), shape, (2, 2), mode="cubic")
    assert not left_outside_xnnpack(lower_to_tflite(network.model(y)).data)


def test_a_crop_is_refused(net):
    network = net()
    corners = np.asarray([0, 0, 0.1, 0.1, 1, 1, 0.9, 0.9], np.float32)
    scale = np.asarray([1, 1, 2, 2], np.float32)
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize"}
    y = network.add("Resize", network.input((1, 1, 4, 4)), corners, scale, **crop)
    with pytest.raises(UnsupportedOpError, match="tf_crop_and_resize"):
        lower_to_tflite(network.model(y))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_keeps_parameters(net, agree, mode):
    network = net()
    x = quantized_input(network, (1, 3, 4, 5))
    size = np.asarray([1, 3, 8, 10], np.int64)
    y = network.add(
        "Resize",
        x,
        "",
        "",
        size,
        mode=mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    q = network.quantize(y, SCALE, ZERO)
    assert agree(network.model(q, dtype=np.int8), network.feeds(3))["QUANTIZE"] == 1
