from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from ghostedge_quantize.codes import QuantParams, Range
from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.ops import SIGMOID_RANGE, TABLE, TANH_RANGE
from ghostedge_quantize.graph.plan import Plan, assign, make_plan
from ghostedge_quantize.settings import OutputType
from ghostedge_runtime.errors import InputError

Toy = Callable[..., onnx.ModelProto]
CONV = {"w": np.ones((3, 3, 1, 1)), "v": np.ones((3, 3, 1, 1))}


def plan_of(model: onnx.ModelProto, output_type: OutputType = "float32") -> Plan:
    return make_plan(canonical_ir(model).graph, output_type)


def image_toy(toy: Toy, body: str, constants: dict[str, np.ndarray] | None = None) -> Plan:
    """Plan a body that goes from ``input`` to ``z``, both [1, 3, 8, 8]."""
    end = "logits = Identity(z)"
    return plan_of(toy(f"{body} {end}", {**CONV, **(constants or {})}, output=(1, 3, 8, 8)))


def test_the_table_places_every_op_that_can_be_lowered() -> None:
    lowered = (
        "Conv Gemm MatMul Add Sub Mul Div Relu Clip HardSigmoid HardSwish Sigmoid Softmax Concat "
        "Slice Split Pad Reshape Flatten Squeeze Unsqueeze Transpose ReduceMean GlobalAveragePool "
        "AveragePool MaxPool Resize BatchNormalization Identity LeakyRelu PRelu Tanh GlobalMaxPool"
    )
    assert set(lowered.split()) <= set(TABLE)


def test_every_node_of_a_ghost_module_is_int8(ghost: onnx.ModelProto) -> None:
    plan = plan_of(ghost)
    activations = {"Relu", "Clip"}
    layers = [node for node in ghost.graph.node if node.op_type not in activations]
    assert len(plan.nodes) == len(layers)


def test_concat_branches_share_one_scale_and_residuals_have_their_own(
    ghost: onnx.ModelProto,
) -> None:
    groups = plan_of(ghost).groups
    assert groups["primary"] == groups["cheap"] == groups["both"]
    assert len({groups[name] for name in ("both", "stem", "linear", "residual")}) == 4
    assert groups["mean"] == groups["flat"] != groups["residual"]


def test_nothing_is_quantized_between_a_conv_and_its_activation(ghost: onnx.ModelProto) -> None:
    assert {"s", "p", "c", "r", "e"}.isdisjoint(plan_of(ghost).groups)


def test_a_conv_that_others_read_too_keeps_its_activation_apart(toy: Toy) -> None:
    plan = image_toy(toy, "a = Conv(input, w) b = Relu(a) z = Add(a, b)")
    assert {"a", "b"} <= set(plan.groups)
    assert "a" in plan.carried
    assert "b" not in plan.carried


@pytest.mark.parametrize(
    ("op", "constants"),
    [
        ("MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(a)", {}),
        ("Transpose<perm=[0,1,3,2]>(a)", {}),
        ("Reshape(a, shape)", {"shape": np.array([1, 3, 8, 8])}),
        ("Slice(a, starts, ends)", {"starts": np.array([0]), "ends": np.array([1])}),
        ("Identity(a)", {}),
        ('Resize<mode="nearest">(a, , scales)', {"scales": np.ones(4)}),
    ],
)
def test_ops_that_only_move_values_share_their_inputs_scale(
    toy: Toy, op: str, constants: dict[str, np.ndarray]
) -> None:
    plan = image_toy(toy, f"a = Conv(input, w) b = {op} z = Conv(b, v)", constants)
    assert plan.groups["a"] == plan.groups["b"]
    assert "b" not in plan.measured


def test_both_halves_of_a_split_share_its_inputs_scale(toy: Toy) -> None:
    body = """
        a = Conv(input, w)
        left, right = Split<axis=3, num_outputs=2>(a)
        z = Concat<axis=3>(right, left)
    """
    groups = image_toy(toy, body).groups
    assert groups["a"] == groups["left"] == groups["right"] == groups["z"]


def test_chained_concats_are_one_group(toy: Toy) -> None:
    body = """
        a = Conv(input, w)
        b = Conv(a, v)
        c = Concat<axis=1>(a, b)
        d = Conv(c, wide)
        e = Concat<axis=1>(c, d)
        z = Conv(e, wider)
    """
    constants = {"wide": np.ones((3, 6, 1, 1)), "wider": np.ones((3, 9, 1, 1))}
    groups = image_toy(toy, body, constants).groups
    assert len({groups[name] for name in "abcde"}) == 1


@pytest.mark.parametrize(
    ("op", "constants"),
    [
        ("HardSwish(a)", {}),
        ("HardSigmoid(a)", {}),
        ("Softmax<axis=1>(a)", {}),
        ("Div(a, two)", {"two": np.full(1, 2.0)}),
        ("AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(a)", {}),
        ("BatchNormalization(a, g, h, g, g)", {"g": np.ones(3), "h": np.zeros(3)}),
        ("Pad(a, pads, one)", {"pads": np.zeros(8, np.int64), "one": np.float32(1)}),
        ('Resize<mode="cubic">(a, , scales)', {"scales": np.ones(4)}),
        ("Clip(a, low, high)", {"low": np.float32(-3), "high": np.float32(2)}),
        ("Elu<alpha=0.5>(a)", {}),
        ("Exp(a)", {}),
        ("ReduceSum<keepdims=1>(a, channel)", {"channel": np.array([1])}),
    ],
)
def test_ops_without_an_int8_kernel_stay_float_between_two_pairs(
    toy: Toy, op: str, constants: dict[str, np.ndarray]
) -> None:
    plan = image_toy(toy, f"a = Conv(input, w) b = {op} z = Conv(b, v)", constants)
    assert len(plan.nodes) == 3  # two convolutions and the identity at the end
    assert plan.groups["a"] != plan.groups["b"]
    assert {"a", "b"} <= set(plan.measured)
    assert "b" not in plan.carried


def test_a_reshape_of_a_float_ops_result_stays_float(toy: Toy) -> None:
    body = "a = Conv(input, w) b = HardSwish(a) c = Transpose<perm=[0,1,3,2]>(b) z = Conv(c, v)"
    plan = image_toy(toy, body)
    assert "b" not in plan.groups
    assert "c" in plan.groups


def test_a_sigmoid_has_the_scale_that_its_kernel_dictates(toy: Toy) -> None:
    plan = image_toy(toy, "a = Conv(input, w) b = Sigmoid(a) z = Mul(a, b)")
    assert plan.fixed == {plan.groups["b"]: SIGMOID_RANGE}
    assert "b" not in plan.measured


def test_a_sigmoid_does_not_force_its_scale_on_a_concat(toy: Toy) -> None:
    body = """
        a = Conv(input, w)
        b = Sigmoid(a)
        flip = Transpose<perm=[0,1,3,2]>(b)
        c = Concat<axis=1>(a, flip)
        z = Conv(c, wide)
    """
    plan = image_toy(toy, body, {"wide": np.ones((3, 6, 1, 1))})
    assert plan.groups["b"] == plan.groups["flip"] != plan.groups["c"] == plan.groups["a"]


@pytest.mark.parametrize(
    "op",
    [
        "Abs(a)",
        "Elu(a)",
        "Neg(a)",
        "ReduceMean<keepdims=1>(a, axes)",
        "ReduceMean<keepdims=1>(a, channel)",
    ],
)
def test_means_and_functions_that_kernels_have_are_int8(toy: Toy, op: str) -> None:
    constants = {"axes": np.array([-1, 2]), "channel": np.array([1])}
    plan = image_toy(toy, f"a = Conv(input, w) b = {op} z = Add(a, b)", constants)
    assert "b" in plan.carried
    assert plan.groups["a"] != plan.groups["b"]


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_an_extreme_over_any_axes_keeps_the_scale(toy: Toy, op: str) -> None:
    body = f"a = Conv(input, w) b = {op}<keepdims=1>(a, channel) z = Mul(a, b)"
    plan = image_toy(toy, body, {"channel": np.array([1])})
    assert plan.groups["a"] == plan.groups["b"]


def test_a_tanh_has_the_scale_that_its_kernel_dictates(toy: Toy) -> None:
    plan = image_toy(toy, "a = Conv(input, w) b = Tanh(a) z = Mul(a, b)")
    assert plan.fixed == {plan.groups["b"]: TANH_RANGE}


@pytest.mark.parametrize("squares", ["Pow(centred, two)", "Mul(centred, centred)"])
@pytest.mark.parametrize("mean", ["ReduceMean<keepdims=1>({x}, axes)", "GlobalAveragePool({x})"])
def test_a_norm_in_its_parts_stays_float(toy: Toy, squares: str, mean: str) -> None:
    body = f"""
        a = Conv(input, w)
        mean = {mean.format(x="a")}
        centred = Sub(a, mean)
        squares = {squares}
        variance = {mean.format(x="squares")}
        bounded = Add(variance, epsilon)
        root = Sqrt(bounded)
        z = Div(centred, root)
    """
    constants = {"axes": np.array([2, 3]), "two": np.float32(2), "epsilon": np.float32(1e-5)}
    plan = image_toy(toy, body, constants)
    parts = {"mean", "centred", "squares", "variance", "bounded", "root"}
    assert parts.isdisjoint(plan.groups)
    assert "a" in plan.carried


def test_a_square_alone_and_a_difference_are_int8(toy: Toy) -> None:
    body = """a = Conv(input, w) m = GlobalAveragePool(a) b = Sub(a, m) c = Conv(b, v)
        z = Mul(c, c)"""
    assert {"m", "b", "z"} <= image_toy(toy, body).carried


def test_arithmetic_between_float_ops_stays_float(toy: Toy) -> None:
    body = "a = Conv(input, w) b = HardSwish(a) c = Softmax(a) d = Add(b, c) z = Conv(d, v)"
    plan = image_toy(toy, body)
    assert {"b", "c"}.isdisjoint(plan.groups)
    assert "d" not in plan.carried


def test_constants_of_arithmetic_are_quantized_over_their_exact_range(toy: Toy) -> None:
    constants = {"k": np.array([-0.5, 0.25, 2.0]).reshape(1, 3, 1, 1)}
    plan = image_toy(toy, "a = Conv(input, w) z = Mul(a, k)", constants)
    assert plan.constants == {"k": (-0.5, 2.0)}
    assert "k" not in plan.measured


def test_a_float_output_is_quantized_only_when_int8_is_asked_for(toy: Toy) -> None:
    body = "m = GlobalAveragePool(input) f = Flatten(m) logits = Softmax(f)"
    model = toy(body, output=(1, 3))
    assert "logits" not in plan_of(model).groups
    assert "logits" in plan_of(model, "int8").measured


def test_integer_tensors_are_left_alone(toy: Toy) -> None:
    body = "s = Shape(input) t = Add(s, zero) f = Reshape(input, t) logits = Conv(f, w)"
    model = toy(body, {**CONV, "zero": np.zeros(4, np.int64)}, output=(1, 3, 8, 8))
    assert set(plan_of(model).groups) == {"input", "f", "logits"}


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
