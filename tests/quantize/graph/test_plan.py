from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.ops import SIGMOID_RANGE, TABLE, TANH_RANGE
from ghostedge_quantize.graph.plan import Plan, make_plan
from ghostedge_quantize.settings import OutputType

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
