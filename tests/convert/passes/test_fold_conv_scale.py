from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.fold_conv_scale import fold_conv_scale


@pytest.mark.parametrize("body", ["out = Mul(c, s)", "out = Mul(s, c)", "out = Div(c, s)"])
@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (4, 1, 1), (1,), ()])
def test_a_factor_per_channel_becomes_part_of_the_conv(graph, apply, ops, weights, *, body, shape):
    model = graph(
        f"c = Conv(input, w, b) {body}",
        w=weights(4, 3, 3, 3),
        b=weights(4, seed=1),
        s=weights(*shape, seed=2) + np.float32(4),
    )
    assert ops(apply(fold_conv_scale, model)[0]) == ["Conv"]


@pytest.mark.parametrize("body", ["out = Div(s, c)", "m = Mul(c, s) out = Add(c, m)"])
def test_a_conv_that_others_see_unscaled_is_left(graph, apply, ops, weights, body):
    model = graph(
        f"c = Conv(input, w, b) {body}",
        w=weights(4, 3, 1, 1),
        b=weights(4) + np.float32(90),
        s=np.float32(3000),
    )
    result, note = apply(fold_conv_scale, model)
    assert note.edits == 0
    assert ops(result) == ops(model)


def test_a_factor_per_pixel_is_left(graph, apply, ops, weights):
    model = graph("c = Conv(input, w) out = Mul(c, s)", w=weights(4, 3, 3, 3), s=weights(30, 1))
    assert ops(apply(fold_conv_scale, model)[0]) == ["Conv", "Mul"]
