"""The shift that brings a layer's mean output back, and what it must not follow."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.tuning.bias import (
    FEWEST,
    POSITIONS,
    Tail,
    bias_shift,
    mean_shift,
    sample_positions,
    tails,
)

Toy = Callable[..., onnx.ModelProto]
RELU = Tail(low=0.0)
RELU6 = Tail(low=0.0, high=6.0)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@settings(deadline=None, max_examples=50)
@given(
    hnp.arrays(np.float32, st.integers(1, 5), elements=st.floats(-8, 8, width=16)),
    st.integers(1, 6),
    st.integers(1, 9),
)
def test_a_constant_shift_is_found_exactly(away: np.ndarray, count: int, side: int) -> None:
    target = normal(count, len(away), side, side)
    present = target - away[:, None, None]
    shift = bias_shift(target, present, Tail())
    assert shift.dtype == np.float32
    assert shift == pytest.approx(away, rel=1e-4, abs=1e-5)


def test_a_dense_layers_output_has_no_positions() -> None:
    target = normal(20, 4)
    away = np.array([-2, 0, 0.5, 3], np.float32)
    assert bias_shift(target, target - away, Tail()) == pytest.approx(away, abs=1e-5)


@pytest.mark.parametrize("tail", [RELU, RELU6])
@pytest.mark.parametrize("away", [-0.5, 0.3, 0.7])
def test_a_constant_shift_is_found_behind_a_clip_too(tail: Tail, away: float) -> None:
    target = normal(50, 3, 16, 16) * 2 + 1
    shift = bias_shift(target, target - np.float32(away), tail)
    assert shift == pytest.approx(np.full(3, away), rel=0.03)


def test_what_a_relu_drops_is_ignored() -> None:
    target = normal(50, 1, 16, 16)
    target += np.sign(target)  # nothing near zero
    present = np.where(target > 0, target - np.float32(0.25), target - 40)
    assert bias_shift(target, present, RELU) == pytest.approx([0.25], rel=0.01)
    assert abs(bias_shift(target, present, Tail())[0]) > 10


def test_what_lies_beyond_an_upper_bound_is_ignored() -> None:
    target = np.full((40, 1, 4, 4), 3, np.float32)
    target[:, :, 2:] = 9
    present = np.where(target > 6, target * 100, target - np.float32(0.5))
    assert bias_shift(target, present, RELU6) == pytest.approx([0.5], rel=1e-4)


def test_an_error_of_one_image_in_many_is_no_shift() -> None:
    target = normal(100, 1, 4, 4)
    present = target + normal(100, 1, 4, 4, seed=1) * np.float32(1e-3)
    present[17] -= 10
    assert (target - present).mean() == pytest.approx(0.1, rel=0.01)
    assert abs(bias_shift(target, present, Tail())[0]) < 2e-3


def test_the_same_mean_error_in_every_image_is_one() -> None:
    target = normal(100, 1, 4, 4)
    present = target - np.float32(0.1) + normal(100, 1, 4, 4, seed=1) * np.float32(0.1)
    assert bias_shift(target, present, Tail()) == pytest.approx([0.1], rel=0.05)


def test_a_channel_that_hardly_ever_passes_is_left_alone() -> None:
    target = np.full((100, 2, 4, 4), -1, np.float32)
    target[: FEWEST - 1, 0, 0, 0] = target[:FEWEST, 1, 0, 0] = 3
    dead, alive = bias_shift(target, np.where(target > 0, np.float32(2), target), RELU)
    assert dead == 0
    assert alive > 0.5


@pytest.mark.filterwarnings("error")
def test_errors_that_cancel_give_no_shift_and_no_warning() -> None:
    target = np.zeros((2, 1, 2, 2), np.float32)
    present = target.copy()
    present[0], present[1] = 1e6, -1e6
    assert bias_shift(target, present, Tail()) == pytest.approx([0.0], abs=0)


def test_a_large_output_is_judged_by_evenly_spread_values() -> None:
    ramp = np.linspace(0, 1, 4 * POSITIONS, dtype=np.float32).reshape(1, 1, 512, -1)
    sample = sample_positions([ramp, ramp])
    assert sample.shape == (2, 1, POSITIONS // 2)
    assert sample.mean() == pytest.approx(0.5, rel=1e-3)


def test_a_small_output_is_judged_by_all_its_values() -> None:
    batches = [normal(1, 3, 4, 5, seed=seed) for seed in range(2)]
    assert np.array_equal(sample_positions(batches), np.concatenate(batches).reshape(2, 3, 20))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1000))
def test_the_mean_shift_of_a_pointwise_layer_is_its_true_mean_error(
    groups: int, each: int, outputs: int, seed: int
) -> None:
    inputs = normal(4, groups * each, 5, 6, seed=seed)
    seen = np.rint(inputs * 2) / np.float32(2)
    weight = normal(groups * outputs, each, 1, 1, seed=seed + 1)
    rounded = np.rint(weight)

    def output(w: np.ndarray, x: np.ndarray) -> np.ndarray:
        parts = x.reshape(4, groups, each, 5, 6)
        rows = w.reshape(groups, outputs, each)
        return np.asarray(np.einsum("goi,ngihw->ngohw", rows, parts)).reshape(4, -1, 5, 6)

    error = (output(weight, inputs) - output(rounded, seen)).mean(axis=(0, 2, 3), dtype=float)
    shift = mean_shift(weight, rounded, inputs, seen)
    assert shift.dtype == np.float32
    assert shift == pytest.approx(error, abs=1e-5)


def test_the_mean_shift_of_a_dense_layer_is_its_true_mean_error() -> None:
    inputs, weight = normal(30, 7), normal(4, 7, seed=1)
    seen, rounded = np.rint(inputs), np.rint(weight * 4) / np.float32(4)
    error = (inputs @ weight.T - seen @ rounded.T).mean(axis=0)
    assert mean_shift(weight, rounded, inputs, seen) == pytest.approx(error, abs=1e-5)


def test_the_mean_shift_of_a_wide_kernel_counts_every_tap() -> None:
    weight = normal(3, 1, 3, 3)
    inputs = np.broadcast_to(np.array([1, 2, -4], np.float32)[:, None, None], (2, 3, 6, 6))
    shift = mean_shift(weight, np.zeros_like(weight), inputs, inputs)
    assert shift == pytest.approx(weight.sum(axis=(1, 2, 3)) * [1, 2, -4], rel=1e-5)


def test_a_tail_is_the_activation_that_alone_reads_a_layer(ghost: onnx.ModelProto) -> None:
    graph = canonical_ir(ghost).graph
    behind = {
        str(node.outputs[0].name): tails(graph)[str(node.name)]
        for node in graph
        if str(node.name) in tails(graph)
    }
    assert behind == {
        "s": RELU,
        "p": RELU,
        "c": RELU,
        "r": RELU,
        "e": RELU6,
        "linear": Tail(),
        "logits": Tail(),
    }
    assert Tail() == Tail(-math.inf, math.inf)


def test_a_layer_that_something_else_reads_too_has_no_tail(toy: Toy) -> None:
    model = toy(
        "c = Conv(input, w) r = Relu(c) logits = Add(c, r)",
        {"w": normal(3, 3, 1, 1)},
        output=(1, 3, 8, 8),
    )
    assert list(tails(canonical_ir(model).graph).values()) == [Tail()]
