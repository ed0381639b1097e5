from __future__ import annotations

import numpy as np
import onnx
import pytest

from ghostedge_convert.passes.fold_hard_sigmoid_gate import fold_hard_sigmoid_gate

SIXTH = "0.1666666716337204"
GATES = {
    "HardSigmoid": f"g = HardSigmoid<alpha={SIXTH}, beta=0.5>(e)",
    "division": "a = Add(e, three) k = Clip(a, zero, six) g = Div(k, six)",
    "multiplication": "a = Add(three, e) k = Clip(a, zero, six) g = Mul(sixth, k)",
}
SQUEEZE = "x = Relu(input) p = GlobalAveragePool(x) e = Conv(p, we, be)"


@pytest.fixture
def constants(weights):
    return {
        "we": weights(3, 3, 1, 1),
        "be": weights(3, seed=1),
        "wn": weights(5, 3, 3, 3),
        "bn": weights(5, seed=2),
        "three": np.float32(3),
        "zero": np.float32(0),
        "six": np.float32(6),
        "sixth": np.float32(1 / 6),
    }


@pytest.fixture
def gated(graph, constants):
    """A graph with a gate in one spelling and whatever follows it; unused constants left out."""

    def make(spelling: str, after: str, *, squeeze: str = SQUEEZE, **more):
        body = f"{squeeze} {GATES[spelling]} m = Mul(x, g) {after}"
        known = {**constants, **more}
        return graph(body, **{k: v for k, v in known.items() if k in _words(body)})

    return make


def _words(body: str) -> set[str]:
    return {word.strip("(),") for word in body.replace("(", " ( ").split()}


def initializers(model):
    return {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}


@pytest.mark.parametrize("spelling", GATES)
def test_every_spelling_of_the_gate_is_folded(gated, apply, ops, constants, spelling):
    model = gated(spelling, "out = Conv(m, wn, bn)")
    result, note = apply(fold_hard_sigmoid_gate, model)
    assert ops(result) == ["Relu", "GlobalAveragePool", "Conv", "Clip", "Mul", "Conv"]
    assert note.edits == 1
    after = initializers(result)
    np.testing.assert_array_equal(after["be"], constants["be"] + 3)
    np.testing.assert_array_equal(after["wn"], constants["wn"] / 6)
    np.testing.assert_array_equal(after["bn"], constants["bn"])


def test_both_orders_of_the_product_are_folded(graph, apply, ops, constants):
    body = f"{SQUEEZE} {GATES['HardSigmoid']} m = Mul(g, x) out = Conv(m, wn)"
    weights = {name: constants[name] for name in ("we", "be", "wn")}
    assert apply(fold_hard_sigmoid_gate, graph(body, **weights))[1].edits == 1


def test_an_expanding_conv_without_bias_gets_one(gated, apply):
    squeeze = SQUEEZE.replace(", be", "")
    result, _ = apply(
        fold_hard_sigmoid_gate, gated("HardSigmoid", "out = Conv(m, wn)", squeeze=squeeze)
    )
    expand = next(node for node in result.graph.node if node.output[0] == "e")
    np.testing.assert_array_equal(initializers(result)[expand.input[2]], [3, 3, 3])


@pytest.mark.parametrize(
    "between",
    [
        "t = Relu(m)",
        "t = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(m)",
        "t = AveragePool<kernel_shape=[2,2]>(m)",
        "t = GlobalAveragePool(m)",
        "s = LeakyRelu(m) t = MaxPool<kernel_shape=[2,2]>(s)",
    ],
)
def test_ops_that_commute_with_a_factor_may_stand_between(gated, apply, between):
    model = gated("HardSigmoid", f"{between} out = Conv<pads=[1,1,1,1]>(t, wn, bn)")
    assert apply(fold_hard_sigmoid_gate, model)[1].edits == 1


def test_every_conv_that_the_product_reaches_is_scaled(gated, apply, constants):
    after = "c = Conv(m, wn, bn) r = Relu(m) d = Conv(r, wd) out = Add(c, d)"
    result, note = apply(
        fold_hard_sigmoid_gate, gated("HardSigmoid", after, wd=constants["wn"] * 2)
    )
    assert note.edits == 1
    np.testing.assert_array_equal(initializers(result)["wd"], constants["wn"] * 2 / 6)


def test_weights_shared_with_a_conv_elsewhere_stay_as_they_are(gated, apply, constants):
    after = "c = Conv(m, wn) d = Conv(x, wn) out = Add(c, d)"
    result, note = apply(fold_hard_sigmoid_gate, gated("HardSigmoid", after))
    assert note.edits == 1
    np.testing.assert_array_equal(initializers(result)["wn"], constants["wn"])


def test_a_gemm_behind_a_pool_takes_the_factor(gated, apply, weights):
    after = "q = GlobalAveragePool(m) f = Flatten(q) out = Gemm(f, wg, bg)"
    model = gated("HardSigmoid", after, wg=weights(3, 7), bg=weights(7))
    assert apply(fold_hard_sigmoid_gate, model)[1].edits == 1


@pytest.mark.parametrize(
    "after",
    [
        "out = Add(m, x)",
        "c = Conv<pads=[1,1,1,1]>(m, wn) q = Concat<axis=1>(c, m) out = Relu(q)",
        "s = Sigmoid(m) out = Conv(s, wn)",
        "out = Relu(m)",
        "out = Identity(m)",
    ],
)
@pytest.mark.parametrize("spelling", ["HardSigmoid", "division"])
def test_a_product_that_reaches_other_ops_keeps_its_gate(gated, apply, ops, after, spelling):
    model = gated(spelling, after)
    result, note = apply(fold_hard_sigmoid_gate, model)
    assert ops(result) == ops(model)
    assert note.edits == 0
    assert "its product reaches more than linear ops" in note.note


def test_a_gate_whose_conv_is_read_twice_is_left(gated, apply, ops):
    # y * hard_sigmoid(y) is a hard swish: both factors come from the conv.
    body = {"squeeze": "x = Conv(input, we, be) e = Identity(x)"}
    model = gated("HardSigmoid", "out = Conv(m, wn)", **body)
    result, note = apply(fold_hard_sigmoid_gate, model)
    assert ops(result) == ops(model)
    assert "not a gate of its own" in note.note


def test_a_gate_that_is_read_twice_is_left(gated, apply, ops):
    model = gated("HardSigmoid", "n = Mul(m, g) out = Conv(n, wn)")
    assert ops(apply(fold_hard_sigmoid_gate, model)[0]) == ops(model)


@pytest.mark.parametrize("attributes", ["alpha=0.2, beta=0.5", f"alpha={SIXTH}, beta=0.4"])
def test_another_slope_or_offset_is_left(graph, apply, ops, constants, attributes):
    body = f"{SQUEEZE} g = HardSigmoid<{attributes}>(e) m = Mul(x, g) out = Conv(m, wn)"
    model = graph(body, **{name: constants[name] for name in ("we", "be", "wn")})
    assert ops(apply(fold_hard_sigmoid_gate, model)[0]) == ops(model)


@pytest.mark.parametrize(("name", "value"), [("three", 2.5), ("six", 5.0), ("zero", -1.0)])
def test_another_shift_or_bound_is_left(gated, apply, ops, name, value):
    model = gated("division", "out = Conv(m, wn)", **{name: np.float32(value)})
    assert ops(apply(fold_hard_sigmoid_gate, model)[0]) == ops(model)


def test_a_relu6_of_its_own_is_none_of_its_business(graph, apply, constants, weights):
    model = graph(
        "c = Conv(input, w) out = Clip(c, zero, six)",
        w=weights(4, 3, 3, 3),
        zero=constants["zero"],
        six=constants["six"],
    )
    assert apply(fold_hard_sigmoid_gate, model)[1].note == "no hard-sigmoid gate to fold"
