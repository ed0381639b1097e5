from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.use_global_average_pool import use_global_average_pool


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2]])
def test_a_mean_over_height_and_width_is_a_global_average_pool(graph, apply, ops, axes):
    model = graph("out = ReduceMean(input, axes)", axes=np.array(axes, np.int64))
    result, note = apply(use_global_average_pool, model)
    assert ops(result) == ["GlobalAveragePool"]
    assert note.edits == 1
    assert not result.graph.initializer


def test_axes_as_an_attribute_of_older_opsets_are_read(graph, apply, ops):
    model = graph("out = ReduceMean<axes=[2, 3]>(input)", opset=13)
    assert ops(apply(use_global_average_pool, model)[0]) == ["GlobalAveragePool"]


@pytest.mark.parametrize("axes", [[1], [1, 2], [2], [1, 2, 3]])
def test_a_mean_over_other_axes_is_left(graph, apply, ops, axes):
    model = graph("m = ReduceMean(input, axes) out = Mul(m, m)", axes=np.array(axes, np.int64))
    result, note = apply(use_global_average_pool, model)
    assert ops(result) == ["ReduceMean", "Mul"]
    assert note.edits == 0


def test_a_mean_that_drops_its_axes_is_flattened_after(graph, apply, ops):
    model = graph("out = ReduceMean<keepdims=0>(input, axes)", axes=np.array([2, 3], np.int64))
    assert ops(apply(use_global_average_pool, model)[0]) == ["GlobalAveragePool", "Flatten"]
