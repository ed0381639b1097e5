from __future__ import annotations

import numpy as np

from ghostedge_convert.passes.fold_constants import fold_constants


def test_what_does_not_depend_on_the_input_is_computed(graph, apply, ops, weights):
    model = graph(
        "n = Neg(w) s = Shape(w) t = Cast<to=1>(s) u = ReduceSum<keepdims=0>(t)"
        " c = Conv(input, n) out = Mul(c, u)",
        w=weights(4, 3, 3, 3),
    )
    result, note = apply(fold_constants, model)
    assert ops(result) == ["Conv", "Mul"]
    assert note.edits == 4


def test_constant_nodes_become_initializers(graph, apply, ops):
    model = graph("k = Constant<value_float=2.5>() out = Mul(input, k)")
    result, _ = apply(fold_constants, model)
    assert ops(result) == ["Mul"]
    assert [i.float_data or np.frombuffer(i.raw_data, "<f4") for i in result.graph.initializer] == [
        2.5
    ]


def test_a_graph_without_constants_to_fold_is_left(graph, apply):
    assert apply(fold_constants, graph("out = Relu(input)"))[1].edits == 0


def test_the_amounts_of_a_padding_that_torchs_older_exporter_computes_are_known(graph, apply, ops):
    model = graph(
        "f = ConstantOfShape(four) z = Cast<to=7>(f) a = Concat<axis=0>(z, stated)"
        " out = Pad(input, a)",
        four=np.array([4]),
        stated=np.array([0, 0, 1, 2]),
    )
    result, _ = apply(fold_constants, model)
    assert ops(result) == ["Pad"]


def test_a_fill_of_many_elements_is_left_to_the_runtime(graph, apply, ops):
    model = graph(
        "z = ConstantOfShape(shape) t = ReduceSum<keepdims=0>(z) out = Add(input, t)",
        shape=np.array([2**10, 2**10]),
    )
    result, _ = apply(fold_constants, model)
    assert "ConstantOfShape" in ops(result)
