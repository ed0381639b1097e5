from __future__ import annotations

import pytest

from ghostedge_convert.passes.fold_transpose_into_gemm import fold_transpose_into_gemm

LAST = "Transpose <perm=[0, 2, 3, 1]>"


def test_weights_take_the_order_of_the_unmoved_features(graph, apply, ops, weights):
    model = graph(
        f"""p = MaxPool <kernel_shape=[8, 4], strides=[8, 4]> (input) x = {LAST}(p)
            f = Flatten(x) a = Gemm <transB=1> (f, w, b) c = Gemm <transB=1> (f, v) out = Add(a, c)
        """,
        w=weights(7, 96),
        v=weights(7, 96, seed=1),
        b=weights(7),
    )
    result, note = apply(fold_transpose_into_gemm, model)
    assert ops(result) == ["MaxPool", "Flatten", "Gemm", "Gemm", "Add"]
    assert note.edits == 1


@pytest.mark.parametrize(
    "rest",
    [
        "r = Relu(f) out = Gemm <transB=1> (r, w)",
        "a = Gemm <transB=1> (f, w) m = ReduceMean(f, axis) out = Add(a, m)",
        "out = Gemm(f, u)",
    ],
)
def test_features_that_others_see_are_left(graph, apply, ops, weights, rest):
    model = graph(
        f"x = {LAST}(input) f = Flatten(x) {rest}",
        w=weights(2, 3072),
        u=weights(3072, 2),
        axis=[1],
    )
    result, note = apply(fold_transpose_into_gemm, model)
    assert ops(result)[0] == "Transpose"
    assert note.edits == 0
