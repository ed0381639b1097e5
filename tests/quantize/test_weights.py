from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ghostedge_quantize.weights import BIAS_MAX, MIN_MULTIPLIER, quantize_weights

ONE = np.float32(1)
normal = st.floats(-1e3, 1e3, width=32, allow_subnormal=False)


def test_each_channel_has_its_own_scale_and_reaches_127() -> None:
    weight = np.array([[1.0, -2.0], [0.01, 0.0025]], np.float32)
    integers = quantize_weights(weight, np.zeros(2, np.float32), ONE, ONE)
    assert integers.values.tolist() == [[64, -127], [127, 32]]
    assert integers.scale == pytest.approx([2 / 127, 0.01 / 127])
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
    array_shapes(min_dims=2, max_dims=4, max_side=5).flatmap(
        lambda shape: st.tuples(
            arrays(np.float32, shape, elements=normal),
            arrays(np.float32, shape[0], elements=normal),
        )
    ),
    st.floats(2.0**-20, 2.0**10, width=32),
    st.floats(2.0**-20, 2.0**10, width=32),
)
def test_weights_and_biases_come_back_within_half_a_step(
    layer: tuple[np.ndarray, np.ndarray], source: float, target: float
) -> None:
    weight, bias = layer
    integers = quantize_weights(weight, bias, np.float32(source), np.float32(target))
    scale = integers.scale.astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1))
    # Half a step, and float32's rounding of a quotient near 127.
    assert (np.abs(integers.values * scale - weight) <= scale * (0.5 + 1e-4)).all()
    assert integers.values.min() >= -127
    assert np.abs(integers.bias.astype(np.float64)).max() <= BIAS_MAX * 1.001
    step = integers.bias_scale.astype(np.float64)
    assert (np.abs(integers.bias * step - bias) <= step * 0.501).all()
