from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert.passes.fold_conv_bias import fold_conv_bias


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (4, 1, 1), (1,), ()])
def test_a_constant_per_channel_becomes_the_bias(graph, apply, ops, weights, shape):
    model = graph(
        "c = Conv(input, w, b) out = Add(c, s)",
        w=weights(4, 3, 3, 3),
        b=weights(4, seed=1),
        s=weights(*shape, seed=2),
    )
    result, note = apply(fold_conv_bias, model)
    assert ops(result) == ["Conv"]
    assert note.edits == 1


def test_the_constant_may_stand_first(graph, apply, ops, weights):
    model = graph("c = Conv(input, w) out = Add(s, c)", w=weights(4, 3, 3, 3), s=np.float32(2))
    assert ops(apply(fold_conv_bias, model)[0]) == ["Conv"]


def test_a_conv_without_bias_gets_one(graph, apply, ops, weights):
    model = graph("c = Conv(input, w) out = Add(c, s)", w=weights(4, 3, 3, 3), s=np.float32(2))
    result, _ = apply(fold_conv_bias, model)
    assert [len(node.input) for node in result.graph.node] == [3]


@pytest.mark.parametrize("shape", [(1, 1, 30, 1), (30,), (8, 4, 1, 1)])
def test_a_constant_that_varies_elsewhere_is_left(graph, apply, ops, weights, shape):
    model = graph("c = Conv(input, w) out = Add(c, s)", w=weights(4, 3, 3, 3), s=weights(*shape))
    result, note = apply(fold_conv_bias, model)
    assert ops(result) == ["Conv", "Add"]
    assert note.edits == 0


def test_two_branches_added_are_left(graph, apply, ops, weights):
    model = graph("c = Conv(input, w) r = Relu(c) out = Add(c, r)", w=weights(4, 3, 3, 3))
    assert ops(apply(fold_conv_bias, model)[0]) == ["Conv", "Relu", "Add"]


def test_a_transposed_conv_gets_one_as_well(graph, apply, ops, weights):
    model = graph(
        "c = ConvTranspose<strides=[2,2]>(input, w) out = Add(c, s)",
        w=weights(3, 4, 3, 3),
        s=weights(1, 4, 1, 1),
    )
    assert ops(apply(fold_conv_bias, model)[0]) == ["ConvTranspose"]
