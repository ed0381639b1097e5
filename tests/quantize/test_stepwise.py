"""A graph run node by node: the same numbers, little held, and open to changes on the way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ghostedge_quantize import calibrate, quantize
from ghostedge_quantize.tuning.tune import Stepwise

Toy = Callable[..., onnx.ModelProto]
Run = Callable[..., np.ndarray]
Batches = Callable[..., list[np.ndarray]]


def all_tensors(model: onnx.ModelProto, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """First output of every node that reads an activation, computed step by step."""
    steps = Stepwise(model, arrays)
    return {node.output[0]: np.concatenate(steps.compute(node)) for node in steps.run()}


def last(steps: Stepwise) -> np.ndarray:
    """What the graph's last node puts out, all batches."""
    for node in steps.run():
        outputs = steps.compute(node)
    return np.concatenate(outputs)


def test_every_tensor_is_what_onnx_runtime_computes_for_the_whole_graph(
    ghost: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    arrays = batches(3)
    found = all_tensors(ghost, arrays)
    assert set(found) == {name for node in ghost.graph.node for name in node.output}
    for name, values in found.items():
        expected = run(ghost, arrays, outputs=[name], optimise=False)
        assert values == pytest.approx(expected, abs=1e-6), name


def test_every_tensor_of_a_quantized_graph_is_too(
    ghost: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    arrays = batches(3)
    qdq = quantize(ghost, calibrate(ghost, arrays), preprocessing=None)
    found = all_tensors(qdq, arrays)
    names = {name for node in qdq.graph.node for name in node.output}
    weights = {node.input[1] for node in qdq.graph.node if node.op_type in {"Conv", "Gemm"}}
    biases = {node.input[2] for node in qdq.graph.node if node.op_type in {"Conv", "Gemm"}}
    assert names - set(found) >= weights | biases
    for name, values in found.items():
        expected = run(qdq, arrays, outputs=[name], optimise=False)
        assert values == pytest.approx(expected, abs=1e-6), name


def test_only_what_a_later_node_reads_is_held(ghost: onnx.ModelProto, batches: Batches) -> None:
    steps = Stepwise(ghost, batches(2))
    position = {name: i for i, node in enumerate(ghost.graph.node) for name in node.output}
    uses = {name: i for i, node in enumerate(ghost.graph.node) for name in node.input}
    position["input"] = -1
    for now, _ in enumerate(steps.run()):
        for name, made in position.items():
            if made < now <= uses.get(name, -1):
                assert len(steps.inputs(name)) == 2
            else:
                with pytest.raises(KeyError):
                    steps.inputs(name)


def test_a_tensor_read_twice_by_one_node_is_held_until_then(
    toy: Toy, batches: Batches, run: Run
) -> None:
    model = toy("r = Relu(input) d = Add(r, r) logits = Mul(d, r)", output=(1, 3, 8, 8))
    arrays = batches(2)
    assert last(Stepwise(model, arrays)) == pytest.approx(run(model, arrays))


def test_a_split_hands_out_all_its_outputs(toy: Toy, batches: Batches, run: Run) -> None:
    model = toy(
        "a, b = Split<axis=3, num_outputs=2>(input) logits = Sub(a, b)", output=(1, 3, 8, 4)
    )
    arrays = batches(2)
    assert last(Stepwise(model, arrays)) == pytest.approx(run(model, arrays))


def test_a_replaced_constant_is_what_the_nodes_to_come_read(
    ghost: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    arrays = batches(2)
    other = np.random.default_rng(9).normal(size=(8, 8, 1, 1)).astype(np.float32)
    steps = Stepwise(ghost, arrays)
    for node in steps.run():
        if node.output[0] == "linear":
            steps.replace("linear_w", other)
        outputs = steps.compute(node)
    changed = onnx.ModelProto.FromString(ghost.SerializeToString())
    (weight,) = [t for t in changed.graph.initializer if t.name == "linear_w"]
    weight.CopyFrom(numpy_helper.from_array(other, "linear_w"))
    assert np.concatenate(outputs) == pytest.approx(run(changed, arrays), abs=1e-5)
    assert np.concatenate(outputs) != pytest.approx(run(ghost, arrays), abs=1e-2)


def test_what_is_written_into_an_output_is_what_later_nodes_read(
    toy: Toy, batches: Batches
) -> None:
    model = toy("r = Relu(input) n = Neg(r) logits = Relu(n)", output=(1, 3, 8, 8))
    arrays = batches(2)
    steps = Stepwise(model, arrays)
    for node in steps.run():
        outputs = steps.compute(node)
        if node.output[0] == "n":
            for each in outputs:
                np.add(each, 2, out=each)
    expected = np.maximum(2 - np.maximum(np.concatenate(arrays), 0), 0)
    assert np.concatenate(outputs) == pytest.approx(expected)


def test_nodes_of_constants_alone_are_folded_and_not_handed_out(toy: Toy, batches: Batches) -> None:
    body = """
        two = Constant<value = float {2}>()
        four = Mul(two, k)
        eight = Add(four, four)
        logits = Mul(input, eight)
    """
    steps = Stepwise(toy(body, {"k": np.float32(2)}, output=(1, 3, 8, 8)), batches(1))
    (node,) = list(steps.run())
    assert node.op_type == "Mul"
    assert steps.constant("eight") == pytest.approx(8)


def test_a_node_that_nobody_computes_runs_all_the_same(
    ghost: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    arrays = batches(2)
    steps = Stepwise(ghost, arrays)
    for node in steps.run():
        if node.output[0] == "logits":
            logits = np.concatenate(steps.compute(node))
    assert logits == pytest.approx(run(ghost, arrays), abs=1e-5)
