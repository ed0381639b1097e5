from __future__ import annotations

import numpy as np

from ghostedge_convert.passes.join_reshapes import join_reshapes


def test_a_reshape_of_a_reshape_reads_the_first_ones_source(graph, apply, ops):
    model = graph(
        "r = Relu(input) a = Reshape(r, p) b = Flatten(a) out = Reshape(b, q)",
        p=np.array([8, 32, 96]),
        q=np.array([8, 1024, 3]),
    )
    assert ops(apply(join_reshapes, model)[0]) == ["Relu", "Reshape"]


def test_one_back_to_where_it_began_goes(graph, apply, ops):
    model = graph(
        "m = GlobalAveragePool(input) f = Flatten(m) u = Unsqueeze(f, axes) out = Mul(input, u)",
        axes=np.array([2, 3]),
    )
    assert ops(apply(join_reshapes, model)[0]) == ["GlobalAveragePool", "Mul"]


def test_a_reshape_that_others_read_stays_for_them(graph, apply, ops):
    model = graph(
        "f = Flatten(input) u = Reshape(f, p) r = Relu(u) g = Reshape(r, q) out = Add(f, g)",
        p=np.array([8, 96, 32]),
        q=np.array([8, 3072]),
    )
    assert ops(apply(join_reshapes, model)[0]) == ["Flatten", "Reshape", "Relu", "Reshape", "Add"]


def test_a_graph_of_reshapes_alone_keeps_its_input_and_output_apart(graph, apply, ops):
    model = graph("f = Flatten(input) out = Reshape(f, p)", p=np.array([8, 3, 32, 32]))
    result, _ = apply(join_reshapes, model)
    assert ops(result) == ["Reshape"]
