from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.drop_expand import drop_expand

FULL = np.array([8, 3, 32, 32], np.int64)
NORM = "n = ReduceMean(input, axes) e = Expand(n, full) "
AXES = np.array([1], np.int64)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("operands", ["input, e", "e, input"])
def test_an_expand_before_arithmetic_goes(graph, apply, ops, op, operands):
    model = graph(f"{NORM} out = {op}({operands})", full=FULL, axes=AXES)
    result, note = apply(drop_expand, model)
    assert ops(result) == ["ReduceMean", op]
    assert note.edits == 1
    assert [weight.name for weight in result.graph.initializer] == ["axes"]


@pytest.mark.parametrize(
    "body",
    [
        NORM + "out = Relu(e)",
        NORM + "a = Add(e, input) b = Neg(e) out = Add(a, b)",
        "n = ReduceMean(input, axes) out = Expand(n, full)",
    ],
)
def test_an_expand_that_gives_a_shape_stays(graph, apply, ops, body):
    model = graph(body, full=FULL, axes=AXES)
    result, note = apply(drop_expand, model)
    assert ops(result) == ops(model)
    assert note.edits == 0
    assert "left e_node" in note.note or "left out_node" in note.note


def test_of_two_expands_that_are_added_one_stays(graph, apply, ops):
    model = graph(f"{NORM} f = Expand(n, full) out = Add(e, f)", full=FULL, axes=AXES)
    result, note = apply(drop_expand, model)
    assert ops(result) == ["ReduceMean", "Expand", "Add"]
    assert note.edits == 1
