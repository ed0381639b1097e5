from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from ghostedge_convert.passes.use_gemm import use_gemm


def gemm_of(model):
    (node,) = [n for n in model.graph.node if n.op_type == "Gemm"]
    weight = next(i for i in model.graph.initializer if i.name == node.input[1])
    return node, onnx.numpy_helper.to_array(weight)


@pytest.mark.parametrize("added", ["p, b", "b, p"])
def test_a_matmul_and_its_bias_are_one_gemm_of_out_by_in(graph, apply, ops, weights, added):
    w, b = weights(3072, 5), weights(5)
    model = graph(f"f = Flatten(input) p = MatMul(f, w) out = Add({added})", w=w, b=b)
    result, note = apply(use_gemm, model)
    assert ops(result) == ["Flatten", "Gemm"]
    node, weight = gemm_of(result)
    np.testing.assert_array_equal(weight, w.T)
    assert len(node.input) == 3
    assert note.edits > 0


def test_a_matmul_alone_is_a_gemm_without_bias(graph, apply, ops, weights):
    model = graph("f = Flatten(input) out = MatMul(f, w)", w=weights(3072, 5))
    result, _ = apply(use_gemm, model)
    assert ops(result) == ["Flatten", "Gemm"]
    assert len(gemm_of(result)[0].input) == 2


def test_a_gemm_of_out_by_in_is_left(graph, apply, weights):
    model = graph("f = Flatten(input) out = Gemm<transB=1>(f, w)", w=weights(5, 3072))
    assert apply(use_gemm, model)[1].edits == 0


def test_weights_that_a_second_product_shares_stay(graph, apply, weights):
    model = graph(
        "f = Flatten(input) p = MatMul(f, w) g = Neg(f) q = MatMul(g, w) r = Relu(q)"
        " out = Add(p, r)",
        w=weights(3072, 5),
    )
    result, _ = apply(use_gemm, model)
    assert Counter(n.op_type for n in result.graph.node)["Gemm"] == 2


def test_a_product_of_higher_rank_is_left(graph, apply, ops, weights):
    model = graph("out = MatMul(input, w)", w=weights(32, 5))
    assert ops(apply(use_gemm, model)[0]) == ["MatMul"]
