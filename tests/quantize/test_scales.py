from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from ghostedge_quantize.codes import QuantParams, Range
from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.plan import Plan, assign, make_plan
from ghostedge_runtime.errors import InputError

Toy = Callable[..., onnx.ModelProto]


def scales_of(model: onnx.ModelProto, **ends: float) -> tuple[Plan, dict[str, QuantParams]]:
    """Assign scales with each tensor ranging over [0, its end]."""
    graph = canonical_ir(model).graph
    plan = make_plan(graph)
    measured = {name: Range(0.0, ends.get(name, 1.0)) for name in plan.measured}
    params = assign(graph, plan, measured)
    return plan, {name: params[group] for name, group in plan.groups.items()}


def arithmetic(toy: Toy, op: str) -> onnx.ModelProto:
    body = f"a = Conv(input, w) b = Conv(input, w) c = {op} logits = Conv(c, w)"
    return toy(body, {"w": np.ones((3, 3, 1, 1))}, output=(1, 3, 8, 8))


def test_ordinary_ranges_become_scales_as_they_are(ghost: onnx.ModelProto) -> None:
    _, scales = scales_of(ghost, stem=2.55, primary=5.1, cheap=2.55)
    assert scales["stem"] == (np.float32(2.55 / 255), -128)
    assert scales["both"] == scales["primary"] == scales["cheap"] == (np.float32(0.02), -128)


@pytest.mark.parametrize("op", ["Add(a, b)", "Sub(a, b)"])
def test_an_operand_tiny_beside_its_sum_is_widened_to_what_kernels_take(toy: Toy, op: str) -> None:
    _, scales = scales_of(arithmetic(toy, op), a=1e-6, b=1.0, c=1.0)
    assert 2.0**-10 <= scales["a"].scale / scales["c"].scale < 2.0**-10 * 1.01
    assert scales["b"].scale == np.float32(1 / 255)


def test_a_sum_tiny_beside_its_operands_is_widened(toy: Toy) -> None:
    _, scales = scales_of(arithmetic(toy, "Sub(a, b)"), a=100.0, b=100.0, c=1e-3)
    assert 2.0**8 * 0.99 < scales["a"].scale / scales["c"].scale < 2.0**8


def test_products_keep_their_factor_within_what_kernels_take(toy: Toy) -> None:
    def factor(**ends: float) -> float:
        _, s = scales_of(arithmetic(toy, "Mul(a, b)"), **ends)
        return float(s["a"].scale) * float(s["b"].scale) / float(s["c"].scale)

    assert factor(a=2, b=2, c=4) == pytest.approx(1 / 255)
    assert 2.0**-16 <= factor(a=1e-4, b=1e-4, c=1.0) < 2.0**-16 * 1.01
    assert 2.0**8 * 0.99 < factor(a=1e4, b=1e4, c=1.0) < 2.0**8


def test_widening_follows_through_the_layers_it_touches(toy: Toy) -> None:
    body = "a = Conv(input, large) b = Conv(a, large) c = Conv(b, large) logits = Conv(c, one)"
    weights = {"large": np.full((3, 3, 1, 1), 1e6), "one": np.ones((3, 3, 1, 1))}
    model = toy(body, weights, output=(1, 3, 8, 8))
    _, scales = scales_of(model)
    weight_scale = 1e6 / 127
    for source, target in (("input", "a"), ("a", "b"), ("b", "c")):
        factor = weight_scale * scales[source].scale / scales[target].scale
        assert 2.0**8 * 0.99 < factor < 2.0**8


def test_widening_leaves_the_zero_point_where_it_was(toy: Toy) -> None:
    model = arithmetic(toy, "Add(a, b)")
    graph = canonical_ir(model).graph
    plan = make_plan(graph)
    measured = {name: Range(-1.0, 3.0) for name in plan.measured}
    measured["a"] = Range(-1e-6, 3e-6)
    params = assign(graph, plan, measured)
    assert params[plan.groups["a"]].zero_point == params[plan.groups["b"]].zero_point == -64


def test_scales_that_cannot_exist_are_refused_with_the_node(toy: Toy) -> None:
    body = "a = Conv(input, huge) c = Concat<axis=1>(input, a) logits = Conv(c, w)"
    weights = {"huge": np.full((3, 3, 1, 1), 1e6), "w": np.ones((3, 6, 1, 1))}
    model = toy(body, weights, output=(1, 3, 8, 8))
    model.graph.node[0].name = "the_conv"
    with pytest.raises(InputError, match="no int8 scales exist") as caught:
        scales_of(model)
    assert caught.value.where == "the_conv"


def test_ranges_of_another_model_are_refused_with_the_tensor(ghost: onnx.ModelProto) -> None:
    graph = canonical_ir(ghost).graph
    with pytest.raises(InputError, match="no range was measured") as caught:
        assign(graph, make_plan(graph), {"input": Range(0, 1)})
    assert caught.value.where == "stem"


def test_a_requantized_sigmoid_fits_into_its_concats_range(toy: Toy) -> None:
    body = """
        a = Conv(input, w)
        b = Sigmoid(a)
        c = Concat<axis=1>(a, b)
        logits = Conv(c, wide)
    """
    weights = {"w": np.ones((3, 3, 1, 1)), "wide": np.ones((3, 6, 1, 1))}
    _, scales = scales_of(toy(body, weights, output=(1, 3, 8, 8)), a=0.1)
    assert scales["b"] == (np.float32(1 / 256), -128)
    assert scales["c"] == (np.float32(1 / 256), -128)
