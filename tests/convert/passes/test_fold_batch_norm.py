from __future__ import annotations

import numpy as np
import onnx
import pytest

from ghostedge_convert.passes.fold_batch_norm import fold_batch_norm

NORM = "BatchNormalization(c, gamma, beta, mean, var)"


@pytest.fixture
def norm(weights):
    return {
        "gamma": weights(4, seed=1),
        "beta": weights(4, seed=2),
        "mean": weights(4, seed=3),
        "var": np.abs(weights(4, seed=4)) + 0.1,
    }


def initializer(model, name):
    return next(onnx.numpy_helper.to_array(i) for i in model.graph.initializer if i.name == name)


def test_a_batch_norm_after_a_conv_is_folded(graph, apply, ops, weights, norm):
    model = graph(
        "c = Conv(input, w) out = BatchNormalization<epsilon=0.01>(c, gamma, beta, mean, var)",
        w=weights(4, 3, 3, 3),
        **norm,
    )
    result, note = apply(fold_batch_norm, model)
    assert ops(result) == ["Conv"]
    assert note.edits == 1
    scale = norm["gamma"] / np.sqrt(norm["var"] + 0.01)
    expected = norm["beta"] - norm["mean"] * scale
    np.testing.assert_allclose(initializer(result, "w.bias"), expected, rtol=1e-6)
    assert {i.name for i in result.graph.initializer} == {"w", "w.bias"}


def test_the_convs_own_bias_goes_in(graph, apply, ops, weights, norm):
    model = graph(
        f"c = Conv(input, w, b) r = {NORM} out = Relu(r)",
        w=weights(4, 3, 1, 1),
        b=weights(4, seed=9),
        **norm,
    )
    result, _ = apply(fold_batch_norm, model)
    assert ops(result) == ["Conv", "Relu"]


def test_a_depthwise_conv_is_folded(graph, apply, ops, weights, norm):
    norm = {name: array[:3] for name, array in norm.items()}
    model = graph(
        f"c = Conv<group=3, pads=[1,1,1,1]>(input, w) out = {NORM}",
        w=weights(3, 1, 3, 3),
        **norm,
    )
    assert ops(apply(fold_batch_norm, model)[0]) == ["Conv"]


def test_weights_that_another_conv_shares_are_not_touched(graph, apply, ops, weights, norm):
    model = graph(
        "c = Conv(input, w) n = BatchNormalization(c, gamma, beta, mean, var)"
        " d = Conv(input, w) out = Add(n, d)",
        w=weights(4, 3, 3, 3),
        **norm,
    )
    result, note = apply(fold_batch_norm, model)
    assert ops(result) == ["Conv", "Conv", "Add"]
    assert note.edits == 1


def test_a_conv_that_is_read_elsewhere_keeps_its_batch_norm(graph, apply, ops, weights, norm):
    model = graph(
        "c = Conv(input, w) n = BatchNormalization(c, gamma, beta, mean, var) out = Add(n, c)",
        w=weights(4, 3, 3, 3),
        **norm,
    )
    result, note = apply(fold_batch_norm, model)
    assert ops(result) == ["Conv", "BatchNormalization", "Add"]
    assert note.edits == 0
    assert "n_node" in note.note


def test_a_batch_norm_after_something_else_is_left_and_named(graph, apply, ops, norm):
    model = graph(
        "r = Relu(input) out = BatchNormalization(r, gamma, beta, mean, var)",
        **{name: array[:3] for name, array in norm.items()},
    )
    result, note = apply(fold_batch_norm, model)
    assert ops(result) == ["Relu", "BatchNormalization"]
    assert "left out_node" in note.note


@pytest.mark.parametrize("groups", [1, 3])
def test_a_transposed_conv_is_folded_whatever_its_groups(graph, apply, weights, norm, groups):
    channels = 4 if groups == 1 else 3
    model = graph(
        f"c = ConvTranspose<group={groups}, strides=[2,2]>(input, w) out = {NORM}",
        w=weights(3, channels // groups, 2, 2),
        **{name: array[:channels] for name, array in norm.items()},
    )
    result, _ = apply(fold_batch_norm, model)
    assert [node.op_type for node in result.graph.node] == ["ConvTranspose"]
