from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ghostedge_quantize.codes import (
    BIAS_MAX,
    MIN_MULTIPLIER,
    MIN_SPAN,
    ZERO_TENSOR_SPAN,
    Range,
    affine,
    channel_scales,
    clipped_scales,
    hull,
    quantize_array,
    quantize_weights,
)
from ghostedge_quantize.ranges.calibrate import Ranges
from ghostedge_runtime.errors import InputError

ends = st.builds(
    lambda low, high: hull([Range(-low, high)]),
    st.floats(0, 1e6, width=32),
    st.floats(0, 1e6, width=32),
)


def test_a_relu_range_uses_every_code() -> None:
    assert affine(Range(0.0, 2.55)) == (np.float32(0.01), -128)


def test_a_negative_range_ends_at_the_highest_code() -> None:
    assert affine(Range(-2.55, 0.0)) == (np.float32(0.01), 127)


@settings(deadline=None, max_examples=200)
@given(ends)
def test_zero_is_exact_and_values_inside_are_within_one_step(values: Range) -> None:
    params = affine(values)
    points = np.linspace(values.low, values.high, 97, dtype=np.float32)
    codes = quantize_array(np.append(points, np.float32(0)), params)
    real = (codes.astype(np.float64) - params.zero_point) * params.scale
    assert real[-1] == 0
    # Half a step by rounding the value, half by rounding the zero point (at an end), float32's own.
    assert np.abs(real[:-1] - points).max() <= params.scale * 1.001


def test_codes_round_half_to_even_and_saturate_as_onnx_does() -> None:
    codes = quantize_array(
        np.array([0.5, 1.5, 2.5, -0.5, 1e6, -1e6], np.float32), affine(Range(-128.0, 127.0))
    )
    assert codes.tolist() == [0, 2, 2, 0, 127, -128]


def test_the_hull_holds_zero_and_all_ranges() -> None:
    assert hull([Range(1.0, 2.0), Range(-3.0, -1.0)]) == Range(-3.0, 2.0)


@pytest.mark.parametrize("high", [0.0, MIN_SPAN / 2])
def test_a_tensor_that_was_always_zero_gets_a_usable_range(high: float) -> None:
    assert hull([Range(0.0, high)]) == Range(0.0, ZERO_TENSOR_SPAN)
    assert affine(hull([Range(0.0, high)])).scale > 0


def test_a_constant_tensor_is_represented_exactly() -> None:
    params = affine(hull([Range(0.0, 3.7)]))
    (code,) = quantize_array(np.array([3.7], np.float32), params)
    assert (int(code) - params.zero_point) * params.scale == pytest.approx(3.7, rel=1e-6)


def test_ranges_are_frozen() -> None:
    ranges = Ranges("auto", 1, {"x": Range(0, 1)}, {"x": "mse"})
    with pytest.raises(TypeError):
        ranges.tensors["x"] = Range(0, 2)  # type: ignore[index]  # the point of the test
    with pytest.raises(TypeError):
        ranges.chosen["x"] = "minmax"  # type: ignore[index]  # the point of the test


def test_ranges_need_not_say_which_method_each_tensor_took() -> None:
    assert Ranges("minmax", 1, {"x": Range(0, 1)}).chosen == {}


@pytest.mark.parametrize(
    "bad", [Range(0.5, 1.0), Range(-1.0, float("inf")), Range(float("nan"), 0)]
)
def test_a_range_without_zero_or_without_ends_is_refused(bad: Range) -> None:
    with pytest.raises(InputError, match="x: "):
        Ranges("minmax", 1, {"x": bad})


ONE = np.float32(1)
normal = st.floats(-1e3, 1e3, width=32, allow_subnormal=False)
layers = array_shapes(min_dims=2, max_dims=4, max_side=5).flatmap(
    lambda shape: st.tuples(
        arrays(np.float32, shape, elements=normal),
        arrays(np.float32, shape[0], elements=normal),
    )
)


def lost(rows: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """float64: squared error of each row, coded in [-127, 127] at its scale."""
    steps = scale.astype(np.float64)[:, None]
    codes = np.clip(np.rint(rows / steps), -127, 127)
    return np.asarray(((codes * steps - rows) ** 2).sum(axis=1))


def test_each_channel_has_its_own_scale_and_reaches_127() -> None:
    weight = np.array([[64.0, -127.0], [0.0127, 0.0032]], np.float32)
    integers = quantize_weights(weight, np.zeros(2, np.float32), ONE, ONE)
    assert integers.values.tolist() == [[64, -127], [127, 32]]
    assert integers.scale == pytest.approx([1, 0.0127 / 127])
    assert integers.values.dtype == np.int8
    assert integers.scale.dtype == np.float32


def test_halves_round_to_even() -> None:
    weight = np.array([[127.0, 0.5, 1.5, 2.5, -2.5]], np.float32)
    assert quantize_weights(weight, np.zeros(1, np.float32), ONE, ONE).values.tolist() == [
        [127, 0, 2, 2, -2]
    ]


def test_the_bias_has_the_scale_of_the_products() -> None:
    weight = np.array([[127.0]], np.float32)
    integers = quantize_weights(weight, np.array([3.2], np.float32), np.float32(0.5), ONE)
    assert integers.bias_scale.tolist() == [0.5]
    assert integers.bias.tolist() == [6]
    assert integers.bias.dtype == np.int32


def test_a_bias_too_large_for_int32_widens_its_channel_alone() -> None:
    weight = np.array([[1e-8], [1.0]], np.float32)
    integers = quantize_weights(weight, np.array([5.0, 5.0], np.float32), np.float32(1e-3), ONE)
    assert integers.bias * integers.bias_scale.astype(np.float64) == pytest.approx([5, 5], rel=1e-4)
    assert integers.scale[0] > 1e-8 / 127
    assert integers.scale[1] == np.float32(1 / 127)


def test_a_channel_of_zeros_keeps_its_bias_and_a_factor_that_kernels_take() -> None:
    weight = np.zeros((2, 3, 1, 1), np.float32)
    source, target = np.float32(0.02), np.float32(0.1)
    integers = quantize_weights(weight, np.array([-1.5, 0], np.float32), source, target)
    assert not integers.values.any()
    assert integers.bias * integers.bias_scale.astype(np.float64) == pytest.approx([-1.5, 0])
    assert (source * integers.scale / target >= MIN_MULTIPLIER * 0.999).all()


@settings(deadline=None, max_examples=100)
@given(
    layers,
    st.floats(2.0**-20, 2.0**10, width=32),
    st.floats(2.0**-20, 2.0**10, width=32),
)
def test_weights_that_fit_and_biases_come_back_within_half_a_step(
    layer: tuple[np.ndarray, np.ndarray], source: float, target: float
) -> None:
    weight, bias = layer
    integers = quantize_weights(weight, bias, np.float32(source), np.float32(target))
    scale = integers.scale.astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1))
    held = np.clip(weight, -127 * scale, 127 * scale)
    # Half a step, and float32's rounding of a quotient near 127.
    assert (np.abs(integers.values * scale - held) <= scale * (0.5 + 1e-4)).all()
    assert integers.values.min() >= -127
    assert np.abs(integers.bias.astype(np.float64)).max() <= BIAS_MAX * 1.001
    step = integers.bias_scale.astype(np.float64)
    assert (np.abs(integers.bias * step - bias) <= step * 0.501).all()


def test_a_rare_large_weight_is_clipped_and_its_channel_alone() -> None:
    weight = np.random.default_rng(0).normal(size=(2, 100_000)).astype(np.float32)
    weight[0] = np.round(weight[0] * 20)
    weight[0, 0] = 127
    weight[1, 0] = 8
    scale = clipped_scales(weight, np.zeros(2, np.float32))
    # Whole numbers up to 127 are exact at a scale of one; nothing else can be.
    assert scale[0] == 1
    assert 0.69 * 8 / 127 < scale[1] < 0.9 * 8 / 127
    assert lost(weight, scale)[1] < 0.9 * lost(weight, channel_scales(weight))[1]
    codes = quantize_weights(weight, np.zeros(2, np.float32), ONE, ONE).values
    assert (codes[1, 0], np.abs(codes[1, 1:]).max() < 127) == (127, True)


@settings(deadline=None, max_examples=100)
@given(layers, st.booleans(), st.floats(0, 2))
def test_clipping_never_raises_the_squared_error(
    layer: tuple[np.ndarray, np.ndarray], per_channel: bool, lowest: float
) -> None:
    rows = layer[0].reshape(len(layer[0]) if per_channel else 1, -1)
    floor = np.full(len(rows), max(lowest, 1e-30), np.float32)
    unclipped = np.maximum(channel_scales(rows), floor)
    scale = clipped_scales(layer[0], floor)
    assert (floor <= scale).all()
    assert (scale <= unclipped).all()
    # float32 decides; what it cannot tell apart is its own rounding of the weights.
    noise = rows.shape[1] * (np.abs(rows).max(axis=1) * 1e-6) ** 2
    assert (lost(rows, scale) <= lost(rows, unclipped) * (1 + 1e-4) + noise).all()


def test_one_scale_for_the_tensor_loses_least_over_all_channels_together() -> None:
    weight = np.random.default_rng(0).normal(size=(8, 10_000)).astype(np.float32)
    weight[0, 0] = 9
    integers = quantize_weights(weight, np.zeros(8, np.float32), ONE, ONE, per_channel=False)
    tries = np.linspace(0.6, 1, 200) * 9 / 127
    least = min(float(lost(weight.reshape(1, -1), scale[None])[0]) for scale in tries)
    assert integers.scale.shape == ()
    assert integers.scale < 0.9 * 9 / 127
    assert lost(weight.reshape(1, -1), integers.scale[None])[0] < 1.01 * least
