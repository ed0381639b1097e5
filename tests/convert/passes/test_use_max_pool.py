from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.use_max_pool import use_max_pool


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("out = GlobalMaxPool(input)", ["MaxPool"]),
        ("out = ReduceMax(input, axes)", ["MaxPool"]),
        ("out = ReduceMax <keepdims=0> (input, axes)", ["MaxPool", "Flatten"]),
    ],
)
def test_a_maximum_over_the_image_is_one_window(graph, apply, ops, body, expected):
    model = graph(body, axes=np.array([-1, 2]))
    assert ops(apply(use_max_pool, model)[0]) == expected


@pytest.mark.parametrize("axes", [[1], [2], [1, 2, 3]])
def test_a_maximum_over_other_axes_is_left(graph, apply, ops, axes):
    model = graph("m = ReduceMax(input, axes) out = Mul(m, m)", axes=np.array(axes))
    result, note = apply(use_max_pool, model)
    assert ops(result) == ["ReduceMax", "Mul"]
    assert note.edits == 0
