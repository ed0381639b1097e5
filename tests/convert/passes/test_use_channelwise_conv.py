# ruff: noqa: PLR0917 - fixtures arrive by name
"""A factor per channel that stands alone is a depthwise convolution."""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.use_channelwise_conv import use_channelwise_conv


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ("m = Mul(input, factor) out = Add(m, term)", ["Conv"]),
        ("m = Mul(factor, input) out = Add(term, m)", ["Conv"]),
        ("out = Mul(input, factor)", ["Conv"]),
        ("m = Mul(input, factor) r = Relu(m) out = Add(r, m)", ["Conv", "Relu", "Add"]),
        ("m = Mul(input, half) out = Add(m, term)", ["Conv"]),
        ("out = Mul(input, half)", ["Mul"]),
        ("out = Mul(input, wide)", ["Mul"]),
        ("p = GlobalAveragePool(input) out = Mul(p, wide)", ["GlobalAveragePool", "Mul"]),
    ],
)
def test_a_factor_per_channel_is_a_depthwise_convolution(graph, apply, ops, weights, body, kinds):
    known = {
        "factor": weights(3, 1, 1),
        "term": weights(1, 3, 1, 1, seed=1),
        "half": np.float32(0.5),
        "wide": weights(1, 1, 32, 32),
    }
    model = graph(body, **{name: array for name, array in known.items() if name in body})
    assert ops(apply(use_channelwise_conv, model)[0]) == kinds


@pytest.mark.parametrize(
    ("total", "left"),
    [
        ("s = Mul(input, input) v = GlobalAveragePool(s)", True),
        ("s = Pow(input, two) v = GlobalAveragePool(s)", True),
        ("v = ReduceSum(input, space)", True),
        ("v = GlobalAveragePool(input)", False),
        ("s = Mul(input, two) v = GlobalAveragePool(s)", False),
    ],
)
def test_a_variance_times_a_factor_is_no_convolution(graph, apply, ops, total, left):
    known = {"two": np.float32(2), "space": np.array([2, 3])}
    model = graph(
        f"{total} m = Mul(v, half) out = Add(m, half)",
        half=np.float32(0.5),
        **{name: array for name, array in known.items() if name in total},
    )
    assert ("Conv" in ops(apply(use_channelwise_conv, model)[0])) is not left
