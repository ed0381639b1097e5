# ruff: noqa: PLR0917 - fixtures arrive by name
"""A factor or term per feature after a dense layer becomes part of it."""

from __future__ import annotations

import pytest

from ghostedge_convert.passes.fold_gemm_scale import fold_gemm_scale


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", ["", ", b"])
def test_a_batch_norm_of_features_ends_in_the_dense_layer(
    graph, apply, ops, weights, transposed, bias
):
    body = f"""
        p = GlobalAveragePool(input) f = Flatten(p) g = Gemm<transB={transposed}>(f, w{bias})
        m = Mul(g, factor) a = Add(term, m) out = Relu(a)
    """
    known = {
        "w": weights(5, 3) if transposed else weights(3, 5),
        "factor": weights(5),
        "term": weights(1, 5, seed=1),
        **({"b": weights(5, seed=2)} if bias else {}),
    }
    result, note = apply(fold_gemm_scale, graph(body, **known))
    assert ops(result) == ["GlobalAveragePool", "Flatten", "Gemm", "Relu"]
    assert note.edits == 2


def test_a_dense_layer_with_factors_of_its_own_is_left(graph, apply, ops, weights):
    body = """
        p = GlobalAveragePool(input) f = Flatten(p) g = Gemm<alpha=0.5>(f, w) out = Mul(g, factor)
    """
    model = graph(body, w=weights(3, 5), factor=weights(5))
    assert ops(apply(fold_gemm_scale, model)[0]) == ops(model)
