from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_quantize.codes import MIN_SPAN, ZERO_TENSOR_SPAN, Range, affine, hull, quantize_array
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
