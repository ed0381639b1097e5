from __future__ import annotations

import numpy as np

from ghostedge_convert.passes.use_flatten import use_flatten


def test_a_reshape_to_batch_and_rest_is_a_flatten(graph, apply, ops):
    model = graph("out = Reshape(input, shape)", shape=np.array([8, 3072], np.int64))
    result, note = apply(use_flatten, model)
    assert ops(result) == ["Flatten"]
    assert note.edits == 1
    assert not result.graph.initializer


def test_a_chain_of_reshapes_is_one_flatten(graph, apply, ops):
    model = graph(
        "p = GlobalAveragePool(input) a = Squeeze(p, axes) b = Unsqueeze(a, axes)"
        " out = Reshape(b, s)",
        axes=np.array([2, 3], np.int64),
        s=np.array([8, -1], np.int64),
    )
    result, _ = apply(use_flatten, model)
    assert ops(result) == ["GlobalAveragePool", "Flatten"]


def test_a_link_that_is_read_elsewhere_stays(graph, apply, ops):
    model = graph(
        "a = Reshape(input, s) b = Reshape(a, t) c = ReduceSum<keepdims=0>(a, axes)"
        " out = Add(b, c)",
        s=np.array([8, 3, 1024], np.int64),
        t=np.array([8, 3072], np.int64),
        axes=np.array([0, 1, 2], np.int64),
    )
    result, _ = apply(use_flatten, model)
    assert sorted(ops(result)) == ["Add", "Flatten", "ReduceSum", "Reshape"]


def test_a_reshape_that_mixes_the_batch_in_is_left(graph, apply, ops):
    model = graph("out = Reshape(input, s)", s=np.array([24, 1024], np.int64))
    result, note = apply(use_flatten, model)
    assert ops(result) == ["Reshape"]
    assert note.edits == 0


def test_a_flatten_is_left(graph, apply, ops):
    assert apply(use_flatten, graph("out = Flatten(input)"))[1].edits == 0
