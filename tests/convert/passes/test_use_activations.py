from __future__ import annotations

import numpy as np
import onnx
import pytest

from ghostedge_convert.passes.use_activations import use_activations

CONSTANTS = {
    "root": np.float32(np.sqrt(2)), "over_root": np.float32(np.sqrt(0.5)), "half": np.float32(0.5),
    "one": np.float32(1), "three": np.float32(3), "cubic": np.float32(0.044715),
    "slope": np.float32(np.sqrt(2 / np.pi)), "odd": np.float32(0.6),
    "far": np.float32(20),
}  # fmt: skip

# writing → op and its approximate attribute
WRITINGS = {
    "d = Div(input, root) e = Erf(d) a = Add(e, one) m = Mul(input, a) out = Mul(m, half)": "none",
    "h = Mul(input, half) d = Mul(input, over_root) e = Erf(d) a = Add(one, e) "
    "out = Mul(h, a)": "none",
    """p = Pow(input, three) c = Mul(p, cubic) s = Add(input, c) t = Mul(s, slope) e = Tanh(t)
    a = Add(e, one) h = Mul(input, half) out = Mul(h, a)""": "tanh",
    """q = Mul(input, input) p = Mul(q, input) c = Mul(cubic, p) s = Add(c, input)
    t = Mul(slope, s) e = Tanh(t) a = Add(one, e) m = Mul(input, a) out = Mul(half, m)""": "tanh",
}  # fmt: skip


def used(text):
    return {
        name: array for name, array in CONSTANTS.items() if f"{name})" in text or f"{name}," in text
    }


@pytest.mark.parametrize("text", WRITINGS)
def test_a_gelu_in_its_parts_is_one_node(graph, apply, text):
    result, note = apply(use_activations, graph(text, **used(text)))
    (node,) = result.graph.node
    assert node.op_type == "Gelu"
    found = {a.name: onnx.helper.get_attribute_value(a).decode() for a in node.attribute}
    assert found.get("approximate", "none") == WRITINGS[text]
    assert result.opset_import[0].version == 20
    assert note.note == "Gelu written as one node"


@pytest.mark.parametrize(
    ("text", "op"),
    [
        ("s = Softplus(input) t = Tanh(s) out = Mul(input, t)", "Mish"),
        ("x = Exp(input) p = Add(x, one) l = Log(p) t = Tanh(l) out = Mul(t, input)", "Mish"),
        ("x = Exp(input) p = Add(one, x) out = Log(p)", "Softplus"),
        (
            """s = Mul(input, one) p = Softplus(s) d = Div(p, one) g = Greater(s, far)
            out = Where(g, input, d)""",
            "Softplus",
        ),
    ],
)
def test_mish_and_softplus_in_their_parts_are_one_node(graph, apply, ops, text, op):
    result, _ = apply(use_activations, graph(text, **used(text)))
    assert ops(result) == [op]
    assert result.opset_import[0].version == 18


def test_arithmetic_before_and_behind_stays(graph, apply, ops):
    text = """a = Mul(input, odd) d = Div(a, root) e = Erf(d) b = Add(e, one) m = Mul(a, b)
    h = Mul(m, half) out = Add(h, odd)"""
    result, _ = apply(use_activations, graph(text, **used(text)))
    assert ops(result) == ["Mul", "Gelu", "Add"]


def test_parts_that_others_read_stay_for_them(graph, apply, ops):
    text = """d = Div(input, root) e = Erf(d) b = Add(e, one) m = Mul(input, b) h = Mul(m, half)
    out = Add(h, e)"""
    result, _ = apply(use_activations, graph(text, **used(text)))
    assert sorted(ops(result)) == ["Add", "Div", "Erf", "Gelu"]


@pytest.mark.parametrize(
    "text",
    [
        "d = Mul(input, odd) e = Erf(d) a = Add(e, one) m = Mul(input, a) out = Mul(m, half)",
        "e = Tanh(input) a = Add(e, one) m = Mul(input, a) out = Mul(m, half)",
        "other = Abs(input) d = Div(input, root) e = Erf(d) a = Add(e, one) m = Mul(other, a) "
        "out = Mul(m, half)",
    ],
)
def test_another_function_is_left(graph, apply, ops, text):
    model = graph(text, **used(text))
    result, note = apply(use_activations, model)
    assert ops(result) == ops(model)
    assert note.edits == 0


def test_a_factor_for_each_channel_is_left(graph, apply, ops):
    text = "d = Mul(input, c) e = Erf(d) a = Add(e, one) m = Mul(input, a) out = Mul(m, half)"
    factors = np.full((3, 1, 1), np.sqrt(0.5), np.float32)
    model = graph(text, c=factors, one=CONSTANTS["one"], half=CONSTANTS["half"])
    assert ops(apply(use_activations, model)[0]) == ops(model)
