"""Which concats on the way to an output stay float, by the ranges of their parts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from ghostedge_quantize import calibrate, quantize
from ghostedge_quantize.codes import Range
from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.joins import MOST_UNLIKE, Join, output_joins
from ghostedge_quantize.ranges.calibrate import Ranges
from ghostedge_runtime.errors import InputError

Toy = Callable[..., onnx.ModelProto]
Batches = Callable[..., list[np.ndarray]]

CONV = {"w": np.ones((3, 3, 1, 1)), "v": np.ones((3, 3, 1, 1)), "order": np.array([1, 192])}
NESTED = """
    a = Conv(input, w)
    b = Sigmoid(a)
    inner = Concat<axis=1>(a, b)
    moved = Transpose<perm=[0,2,3,1]>(inner)
    c = Conv(input, v)
    other = Transpose<perm=[0,2,3,1]>(c)
    logits = Concat<axis=3>(moved, other)
"""


def joins_of(model: onnx.ModelProto) -> tuple[Join, ...]:
    return output_joins(canonical_ir(model).graph)


def scaled(toy: Toy, first: float, second: float) -> onnx.ModelProto:
    """Two convolutions of these weights side by side, flattened."""
    body = """
        a = Conv(input, w)
        b = Conv(input, v)
        both = Concat<axis=1>(a, b)
        logits = Reshape(both, shape)
    """
    kernels = {"w": np.full((1, 3, 1, 1), first), "v": np.full((1, 3, 1, 1), second)}
    return toy(body, {**kernels, "shape": np.array([1, 128])}, output=(1, 128))


def test_parts_are_what_lies_behind_concats_and_moves(toy: Toy) -> None:
    outer, inner = joins_of(toy(NESTED, CONV, output=(1, 8, 8, 9)))
    assert (outer.output, outer.parts) == ("logits", ("a", "b", "c"))
    assert (inner.output, inner.parts) == ("logits", ("a", "b"))


def test_a_concat_that_is_computed_with_joins_no_output(toy: Toy) -> None:
    body = "a = Conv(input, w) c = Concat<axis=1>(a, input) logits = Conv(c, wide)"
    assert not joins_of(toy(body, {**CONV, "wide": np.ones((3, 6, 1, 1))}, output=(1, 3, 8, 8)))


@pytest.mark.parametrize(
    ("highs", "unlike"),
    [
        ((1.0, MOST_UNLIKE), False),
        ((1.0, MOST_UNLIKE * 1.01), True),
        ((320.0, 1.0), True),
        ((0.0, 1.0), False),
    ],
)
def test_parts_are_unlike_where_one_lies_within_a_quarter_of_another(
    highs: tuple[float, float], unlike: bool
) -> None:
    ranges = {str(index): Range(0, high) for index, high in enumerate(highs)}
    assert Join("c", "logits", tuple(ranges)).is_unlike(ranges) is unlike


def test_alike_parts_share_the_range_of_all_their_values(toy: Toy, batches: Batches) -> None:
    ranges = calibrate(scaled(toy, 1.0, 3.0), batches(4), method="minmax")
    assert not ranges.float_joins
    assert ranges.tensors["a"] == ranges.tensors["b"] == ranges.tensors["logits"]


def test_unlike_parts_keep_their_own_ranges_and_the_concat_is_float(
    toy: Toy, batches: Batches, run: Callable[..., np.ndarray]
) -> None:
    model, data = scaled(toy, 1.0, 500.0), batches(4)
    ranges = calibrate(model, data, method="minmax")
    assert len(ranges.float_joins) == 1
    assert ranges.tensors["b"].high == pytest.approx(500 * ranges.tensors["a"].high, rel=1e-4)
    expected = run(model, data)
    small = slice(0, 64)
    apart = run(quantize(model, ranges, preprocessing=None), data) - expected
    together = Ranges("minmax", 4, ranges.tensors)
    shared = run(quantize(model, together, preprocessing=None), data) - expected
    assert np.abs(apart[:, small]).max() < 0.01 * np.abs(expected[:, small]).max()
    assert np.abs(shared[:, small]).max() > 0.5 * np.abs(expected[:, small]).max()


def float_sigmoids(model: onnx.ModelProto, data: list[np.ndarray], **settings: str) -> set[str]:
    """The sigmoids, and concats, of the QDQ graph whose results are not quantized at once."""
    ranges = calibrate(model, data, method="minmax")
    qdq = quantize(model, ranges, preprocessing=None, **settings)
    read = {name: node.op_type for node in qdq.graph.node for name in node.input}
    return {
        node.op_type
        for node in qdq.graph.node
        if node.op_type in ("Sigmoid", "Concat") and read.get(node.output[0]) != "QuantizeLinear"
    }


SIGMOID = "a = Conv(input, w) b = Sigmoid(a)"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (f"{SIGMOID} logits = Identity(b)", {"Sigmoid"}),
        (f"{SIGMOID} logits = Transpose<perm=[0,1,3,2]>(b)", {"Sigmoid"}),
        (f"{SIGMOID} c = Mul(a, b) d = Conv(c, v) logits = Add(b, d)", set()),
        (f"{SIGMOID} logits = MaxPool<kernel_shape=[1,1]>(b)", set()),
        ("a = Conv(input, u) b = Sigmoid(a) c = Sigmoid(input) d = Slice(c, zero, one, one) "
         "logits = Concat<axis=1>(b, d)", {"Sigmoid", "Concat"}),
    ],
)  # fmt: skip
def test_sigmoids_that_leave_the_graph_as_float_are_float(
    toy: Toy, batches: Batches, body: str, found: set[str]
) -> None:
    constants = {**CONV, "u": np.ones((2, 3, 1, 1)), "zero": np.array([0]), "one": np.array([1])}
    used = {name: array for name, array in constants.items() if f" {name}" in body}
    model = toy(body, used, output=(1, 3, 8, 8))
    assert float_sigmoids(model, batches(2)) == found
    assert float_sigmoids(model, batches(2), output_type="int8") == set()


GAIN = np.array([320.0, 1.0, 1.0]).reshape(1, 3, 1, 1)


@pytest.mark.parametrize(
    "body",
    [
        "a = Conv(input, w) b = Sigmoid(a) logits = Mul(b, gain)",
        "a = Conv(input, w) b = Mul(gain, a) logits = Transpose<perm=[0,1,3,2]>(b)",
        "q = Conv(input, one) c = Sigmoid(q) r = Conv(input, two) b = Concat<axis=1>(q, r) "
        "logits = Mul(b, gain)",
    ],
)
def test_channels_that_a_product_makes_unlike_keep_their_own_resolution(
    toy: Toy, batches: Batches, run: Callable[..., np.ndarray], body: str
) -> None:
    random = np.random.default_rng(0)
    constants = {
        "w": random.normal(size=(3, 3, 1, 1)),
        "one": random.normal(size=(1, 3, 1, 1)),
        "two": random.normal(size=(2, 3, 1, 1)) * 20,
        "gain": GAIN / (1 if "two" not in body else np.array([1, 20, 20]).reshape(1, 3, 1, 1)),
    }
    used = {name: array for name, array in constants.items() if name in body}
    model, data = toy(body, used, output=(1, 3, 8, 8)), batches(6)
    actual = run(quantize(model, calibrate(model, data), preprocessing=None), data)
    expected = run(model, data)
    axes = (0, 2, 3)
    noise = np.square(actual - expected).sum(axes) / np.square(expected).sum(axes)
    assert noise.max() < 1e-3


def test_scores_near_zero_keep_their_size(
    toy: Toy, batches: Batches, run: Callable[..., np.ndarray]
) -> None:
    body = "a = Conv(input, w) c = Add(a, low) logits = Sigmoid(c)"
    model = toy(body, {"w": CONV["w"], "low": np.float32(-9)}, output=(1, 3, 8, 8))
    data = batches(4)
    actual = run(quantize(model, calibrate(model, data), preprocessing=None), data)
    expected = run(model, data)
    assert expected.max() < 0.1
    assert np.square(actual - expected).sum() < 0.01 * np.square(expected).sum()


def test_a_sigmoid_that_is_an_output_and_a_gate_serves_both(
    toy: Toy, batches: Batches, run: Callable[..., np.ndarray]
) -> None:
    body = f"{SIGMOID} c = Mul(a, b) logits = Conv(c, v)"
    model, data = toy(body, CONV, output=(1, 3, 8, 8)), batches(4)
    model.graph.output.append(onnx.helper.make_tensor_value_info("b", 1, [1, 3, 8, 8]))
    int8 = quantize(model, calibrate(model, data), preprocessing=None)
    for name in ("logits", "b"):
        expected = run(model, data, outputs=[name])
        noise = np.square(run(int8, data, outputs=[name]) - expected).sum()
        assert noise < 0.01 * np.square(expected).sum()


def test_an_int8_output_of_unlike_parts_is_refused_with_their_ranges(
    toy: Toy, batches: Batches
) -> None:
    model = scaled(toy, 1.0, 500.0)
    ranges = calibrate(model, batches(2), method="minmax")
    with pytest.raises(
        InputError, match=r"one int8 scale cannot serve: a \(-\d.*, b \(-\d"
    ) as caught:
        quantize(model, ranges, preprocessing=None, output_type="int8")
    assert "output logits" in str(caught.value)
