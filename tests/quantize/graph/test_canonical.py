from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_runtime.errors import InputError

Toy = Callable[..., onnx.ModelProto]
Run = Callable[..., np.ndarray]
RANDOM = np.random.default_rng(0)
WEIGHT, BIAS = RANDOM.normal(size=(10, 3)), RANDOM.normal(size=10)


@pytest.mark.parametrize(
    ("dense", "weights"),
    [
        ("Gemm<transB=1>(f, w, b)", {"w": WEIGHT, "b": BIAS}),
        ("Gemm(f, w, b)", {"w": WEIGHT.T, "b": BIAS}),
        ("Gemm<alpha=2.0, beta=0.5, transB=1>(f, w, b)", {"w": WEIGHT, "b": BIAS.reshape(1, 10)}),
        ("Gemm<transB=1>(f, w, b)", {"w": WEIGHT, "b": np.full(1, 0.7)}),
        ("Gemm(f, w)", {"w": WEIGHT.T}),
        ("MatMul(f, w)", {"w": WEIGHT.T}),
    ],
)
def test_every_spelling_of_a_dense_layer_becomes_one(
    toy: Toy,
    batches: Callable[..., list[np.ndarray]],
    run: Run,
    dense: str,
    weights: dict[str, np.ndarray],
) -> None:
    model = toy(f"m = GlobalAveragePool(input) f = Flatten(m) logits = {dense}", weights)
    canonical = canonical_ir(model)
    node = canonical.graph[-1]
    assert node.op_type == "Gemm"
    assert [value.shape for value in node.inputs[1:] if value is not None] == [[10, 3], [10]]
    data = batches(3)
    assert run(ir.to_proto(canonical), data) == pytest.approx(run(model, data), abs=1e-5)


def test_constant_nodes_become_initializers(toy: Toy) -> None:
    model = toy(
        "k = Constant<value_floats=[2.0]>() z = Mul(input, k) logits = Identity(z)",
        output=(1, 3, 8, 8),
    )
    graph = canonical_ir(model).graph
    assert [node.op_type for node in graph] == ["Mul", "Identity"]
    assert graph.initializers["k"].const_value is not None


def test_the_model_that_was_passed_stays_as_it_is(ghost: onnx.ModelProto) -> None:
    before = ghost.SerializeToString()
    canonical_ir(ghost)
    assert ghost.SerializeToString() == before


def test_an_opset_without_scales_per_channel_is_refused(toy: Toy) -> None:
    with pytest.raises(InputError, match="opset 12, int8 needs 13"):
        canonical_ir(toy("logits = Relu(input)", output=(1, 3, 8, 8), opset=12))


def test_a_model_whose_shapes_contradict_is_refused(toy: Toy) -> None:
    model = toy("logits = Conv(input, w)", {"w": np.ones((3, 3, 1, 1))}, output=(1, 3, 8, 8))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7
    with pytest.raises(InputError, match="contradict"):
        canonical_ir(model)
