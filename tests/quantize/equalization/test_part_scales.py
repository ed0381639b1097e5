"""Parts of a concat that no layer made get a scale of their own by a product that evens them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from ai_edge_litert.interpreter import Interpreter

from ghostedge_convert import lower_to_tflite
from ghostedge_quantize import calibrate, quantize
from ghostedge_quantize.equalization.equalize import equalize
from ghostedge_quantize.equalization.gains import channel_stats
from ghostedge_quantize.equalization.part_scales import insert_part_scales
from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.plan import make_plan

Toy = Callable[..., onnx.ModelProto]
Batches = Callable[..., list[np.ndarray]]
Run = Callable[..., np.ndarray]

WIDE = 40.0
SHAPE = (1, 3, 16, 16)
SILU = "a = Conv(input, w) s = Sigmoid(a) big = Mul(a, s)"
SIGMOID = "b = Conv(input, v) small = Sigmoid(b)"
POOL = "logits = MaxPool<kernel_shape=[17,1]>(c)"
READ = "c = Concat<axis=1>(big, small) logits = Conv(c, u)"


@pytest.fixture(scope="module")
def model(toy: Toy) -> Callable[..., onnx.ModelProto]:
    """A body of ``input`` [1, 3, 16, 16] to ``logits`` [1, 6, 16, 16]."""
    random = np.random.default_rng(5)
    u = random.normal(size=(6, 12, 1, 1))
    u[:, :6] /= WIDE
    weights = {
        "w": random.normal(size=(6, 3, 1, 1)) * WIDE,
        "v": random.normal(size=(6, 3, 1, 1)),
        "u": u,
    }

    def make(*parts: str, **more: np.ndarray) -> onnx.ModelProto:
        body = " ".join(parts)
        constants = {name: array for name, array in {**weights, **more}.items() if name in body}
        return toy(body, constants, shape=SHAPE, output=(1, 6, 16, 16))

    return make


def inserted(model: onnx.ModelProto, data: list[np.ndarray]) -> frozenset[str]:
    graph = canonical_ir(model)
    plan = make_plan(graph.graph)
    return insert_part_scales(graph.graph, plan, channel_stats(graph, plan.measured, data))


def decibels(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(10 * np.log10(np.square(expected).sum() / np.square(actual - expected).sum()))


def in_litert(model: onnx.ModelProto, data: list[np.ndarray]) -> np.ndarray:
    interpreter = Interpreter(model_content=lower_to_tflite(model).data)
    interpreter.allocate_tensors()
    (source,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    results = []
    for image in data:
        interpreter.set_tensor(source["index"], image.transpose(0, 2, 3, 1))
        interpreter.invoke()
        results.append(interpreter.get_tensor(end["index"]).transpose(0, 3, 1, 2))
    return np.concatenate(results)


@pytest.mark.parametrize(
    "small",
    [SIGMOID, "b = Conv(input, v) t = Sigmoid(b) small = Mul(b, t)"],
    ids=["sigmoid", "silu"],
)
def test_a_small_part_that_no_layer_made_keeps_its_resolution(
    model: Callable[..., onnx.ModelProto], batches: Batches, run: Run, small: str
) -> None:
    plain, data = model(SILU, small, READ), batches(6, SHAPE)
    expected = run(plain, data)
    evened = equalize(plain, data).model
    assert np.abs(run(evened, data) - expected).max() < 1e-4 * np.abs(expected).max()
    before, after = (
        quantize(network, calibrate(network, data), preprocessing=None)
        for network in (plain, evened)
    )
    gain = decibels(run(after, data), expected) - decibels(run(before, data), expected)
    assert gain > 10
    assert decibels(in_litert(after, data), expected) == pytest.approx(
        decibels(run(after, data), expected), abs=1
    )


def test_the_product_is_by_one_number_that_evens_the_parts(
    model: Callable[..., onnx.ModelProto], batches: Batches
) -> None:
    evened = ir.from_proto(equalize(model(SILU, SIGMOID, READ), batches(6, SHAPE)).model)
    (factor,) = (
        node.inputs[1].const_value.numpy()
        for node in evened.graph
        if node.op_type == "Mul" and node.inputs[1].const_value is not None
    )
    assert factor.shape == ()
    assert 10 < factor < 1000


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ((SILU, SIGMOID, READ), None),
        ((SILU, SIGMOID, "c = Concat<axis=1>(small, big) d = Relu(c) logits = Conv(d, u)"), None),
        (("big = Conv(input, w)", SIGMOID, READ), "a layer made the large part"),
        ((SIGMOID, "big = Mul(small, small)", READ), "the ranges are alike"),
        (
            (SILU, SIGMOID, "c = Concat<axis=1>(big, small) d = Sigmoid(c) logits = Conv(d, u)"),
            "what reads the concat cannot make it up",
        ),
        (
            (SILU, SIGMOID, f"c = Concat<axis=2>(big, small) {POOL}"),
            "the parts are no channels",
        ),
    ],
)  # fmt: skip
def test_only_parts_that_need_and_can_have_a_factor_get_one(
    model: Callable[..., onnx.ModelProto],
    batches: Batches,
    body: tuple[str, ...],
    why: str | None,
) -> None:
    names = inserted(model(*body), batches(4, SHAPE))
    assert len(names) == (1 if why is None else 0), why


def test_a_ghost_module_needs_none(ghost: onnx.ModelProto, batches: Batches) -> None:
    assert not inserted(ghost, batches(4))


def test_an_output_of_unlike_parts_is_left_to_its_float_join(
    model: Callable[..., onnx.ModelProto], batches: Batches, toy: Toy
) -> None:
    random = np.random.default_rng(5)
    weights = {"w": random.normal(size=(3, 3, 1, 1)) * WIDE, "v": random.normal(size=(3, 3, 1, 1))}
    body = f"{SILU} {SIGMOID} logits = Concat<axis=1>(big, small)"
    assert not inserted(toy(body, weights, shape=SHAPE, output=(1, 6, 16, 16)), batches(4, SHAPE))
