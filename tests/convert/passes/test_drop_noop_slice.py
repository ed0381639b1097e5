from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.drop_noop_slice import drop_noop_slice

CUT = "r = Relu(input) s = Slice(r, starts, ends, axes, steps) out = Neg(s)"


def bounds(starts, ends, axes, steps):
    names = ("starts", "ends", "axes", "steps")
    values = (starts, ends, axes, steps)
    return {name: np.array(value, np.int64) for name, value in zip(names, values, strict=True)}


@pytest.mark.parametrize(
    "cut",
    [
        ([0], [3], [1], [1]),
        ([0], [2**62], [1], [1]),
        ([0, 0], [3, 32], [1, -1], [1, 1]),
        ([-3], [100], [-3], [1]),
    ],
)
def test_a_slice_that_keeps_everything_goes(graph, apply, ops, cut):
    result, note = apply(drop_noop_slice, graph(CUT, **bounds(*cut)))
    assert ops(result) == ["Relu", "Neg"]
    assert note.edits == 1
    assert not result.graph.initializer


@pytest.mark.parametrize(
    "cut",
    [
        ([0], [2], [1], [1]),
        ([1], [3], [1], [1]),
        ([0], [32], [2], [2]),
        ([-1], [-100], [1], [-1]),
        ([0, 0], [3, 31], [1, 3], [1, 1]),
    ],
)
def test_a_slice_that_cuts_is_left_and_named(graph, apply, ops, cut):
    result, note = apply(drop_noop_slice, graph(CUT, **bounds(*cut)))
    assert ops(result) == ["Relu", "Slice", "Neg"]
    assert note.edits == 0
    assert "left s_node" in note.note


def test_a_slice_without_axes_and_steps_is_understood(graph, apply, ops):
    ends = np.array([8, 3], np.int64)
    model = graph(
        "r = Relu(input) out = Slice(r, starts, ends)", starts=np.zeros(2, np.int64), ends=ends
    )
    result, _ = apply(drop_noop_slice, model)
    assert ops(result) == ["Relu"]
    assert result.graph.node[0].output[0] == "out"


def test_a_slice_of_the_input_itself_is_left(graph, apply, ops):
    model = graph("out = Slice(input, starts, ends, axes, steps)", **bounds([0], [3], [1], [1]))
    assert ops(apply(drop_noop_slice, model)[0]) == ["Slice"]
