from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.use_add import use_add


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("r = Relu(input) out = Sum(input, r)", ["Relu", "Add"]),
        ("r = Relu(input) out = Sum(r, row, input)", ["Relu", "Add", "Add"]),
        ("r = Relu(input) out = Mean(r, input, r)", ["Relu", "Add", "Add", "Mul"]),
        ("r = Relu(input) out = Sum(r)", ["Relu"]),
    ],
)
def test_several_are_added_one_after_the_other(graph, apply, ops, body, expected):
    """`apply` holds the function to what it was."""
    model = graph(body, row=np.ones((3, 1, 1), np.float32))
    result, note = apply(use_add, model)
    assert ops(result) == expected
    assert note.edits == 1
