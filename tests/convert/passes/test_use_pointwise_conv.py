from __future__ import annotations

import pytest

from ghostedge_convert.passes.cancel_transposes import cancel_transposes
from ghostedge_convert.passes.use_pointwise_conv import use_pointwise_conv

LAST = "Transpose <perm=[0, 2, 3, 1]>"
FIRST = "Transpose <perm=[0, 3, 1, 2]>"


def test_a_dense_layer_over_a_channels_last_image_is_a_convolution(graph, apply, ops, weights):
    model = graph(f"x = {LAST}(input) y = MatMul(x, w) out = {FIRST}(y)", w=weights(3, 5))
    result, note = apply(use_pointwise_conv, model)
    assert note.edits == 1
    assert ops(apply(cancel_transposes, result)[0]) == ["Conv"]


@pytest.mark.parametrize(
    "body", ["out = MatMul(input, m)", "out = MatMul(w, input)", "out = MatMul(input, input)"]
)
def test_another_product_is_left(graph, apply, ops, weights, body):
    model = graph(body, w=weights(32, 32), m=weights(1, 1, 32, 4))
    assert ops(apply(use_pointwise_conv, model)[0]) == ["MatMul"]
