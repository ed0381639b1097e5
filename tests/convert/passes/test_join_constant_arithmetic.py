from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from ghostedge_convert.passes.join_constant_arithmetic import join_constant_arithmetic


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Sub(input, m) b = Mul(a, s) out = Add(b, t)", ["Mul", "Add"]),
        ("a = Add(input, t) b = Mul(a, s) out = Mul(b, c)", ["Mul", "Add"]),
        ("a = Sub(m, input) out = Div(a, c)", ["Mul", "Add"]),
        ("a = Mul(input, s) out = Mul(a, c)", ["Mul"]),
        ("a = Add(t, input) out = Sub(a, m)", ["Add"]),
        ("a = Mul(input, c) b = Add(a, t) r = Relu(b) out = Add(r, t)",
         ["Mul", "Add", "Relu", "Add"]),
        ("a = Div(c, input) out = Mul(a, s)", ["Div", "Mul"]),
        ("a = Mul(input, s) b = Add(a, t) out = Add(a, b)", ["Mul", "Add", "Add"]),
    ],
)  # fmt: skip
def test_a_row_becomes_one_factor_and_one_term(graph, apply, ops, weights, *, body, expected):
    model = graph(
        body,
        m=weights(3, 1, 1),
        s=weights(1, 3, 1, 1, seed=1),
        t=weights(3, 1, 1, seed=2),
        c=np.float32(2.5),
    )
    assert ops(apply(join_constant_arithmetic, model)[0]) == expected


def test_terms_that_cancel_leave_nothing(graph, apply, ops):
    model = graph("r = Relu(input) a = Add(r, t) b = Sub(a, t) out = Neg(b)", t=np.float32(0.5))
    assert ops(apply(join_constant_arithmetic, model)[0]) == ["Relu", "Neg"]


@pytest.mark.parametrize("op", ["Mul(r, one)", "Div(r, one)", "Add(zero, r)", "Sub(r, zero)"])
def test_what_changes_nothing_goes(graph, apply, ops, op):
    known = {"one": np.ones((3, 1, 1), np.float32), "zero": np.float32(0)}
    model = graph(
        f"r = Relu(input) a = {op} out = Neg(a)", **{n: v for n, v in known.items() if n in op}
    )
    assert ops(apply(join_constant_arithmetic, model)[0]) == ["Relu", "Neg"]


@pytest.mark.parametrize("op", ["Div(one, r)", "Sub(zero, r)"])
def test_a_turned_quotient_or_difference_stays(graph, apply, ops, op):
    known = {"one": np.float32(1), "zero": np.float32(0)}
    body = f"e = Exp(input) r = Add(e, e) out = {op}"
    model = graph(body, **{n: v for n, v in known.items() if n in op})
    assert len(ops(apply(join_constant_arithmetic, model)[0])) == 3


def test_a_constant_larger_than_the_value_is_left(graph, apply, ops, weights):
    model = graph(
        "m = GlobalAveragePool(input) a = Add(m, w) out = Mul(a, c)",
        w=weights(1, 1, 4, 4),
        c=np.float32(2),
    )
    assert ops(apply(join_constant_arithmetic, model)[0]) == ["GlobalAveragePool", "Add", "Mul"]


def test_division_by_zero_is_left_as_it_is(graph):
    body = "a = Mul(input, c) out = Div(a, z)"
    model = ir.from_proto(graph(body, c=np.float32(2), z=np.float32(0)))
    assert join_constant_arithmetic(model).edits == 0
