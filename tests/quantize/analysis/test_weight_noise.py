"""What is known of the weights' error from the codes alone, or beside the float weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from ghostedge_quantize.analysis.qdq_graph import Codes
from ghostedge_quantize.analysis.weight_noise import fit, rounding_step


@pytest.mark.parametrize("lost_bits", [0, 3, 5])
def test_codes_that_skip_values_have_a_longer_rounding_step(lost_bits: int) -> None:
    codes = np.random.default_rng(0).integers(-3, 4, (4, 8)).astype(np.int8) << lost_bits
    stored = Codes(codes, np.float32(1).reshape(()), np.int8(0).reshape(()), 0)
    assert rounding_step(stored) == 2**lost_bits


@settings(deadline=None, max_examples=40)
@given(
    groups=st.integers(1, 3),
    outputs=st.integers(1, 4),
    inputs=st.integers(1, 4),
    taps=st.integers(2, 3),
    seed=st.integers(0, 2**16),
)
def test_rescaled_channels_are_found_again(
    groups: int, outputs: int, inputs: int, taps: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    weights = random.normal(size=(groups * outputs, inputs, taps, taps))
    rows = 8 ** random.uniform(-1, 1, (groups * outputs, 1, 1, 1))
    columns = np.repeat(8 ** random.uniform(-1, 1, (groups, inputs)), outputs, axis=0)
    scaled = weights * rows * columns[:, :, None, None]
    scale = np.abs(scaled).max((1, 2, 3)) / 127
    values = np.rint(scaled / scale[:, None, None, None]).astype(np.int8)
    codes = Codes(values, scale.astype(np.float32), np.zeros(len(scale), np.int8), 0)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=groups)
    fitted = fit(codes, node, weights.astype(np.float32))
    assert fitted is not None
    half_a_step = np.broadcast_to(scale[:, None, None, None], scaled.shape) * 0.51
    assert (np.abs(fitted - codes.real) <= 3 * half_a_step).all()
    assert np.square(fitted - scaled).sum() <= np.square(codes.real - scaled).sum() + 1e-9
