"""Biases and codes chosen layer by layer, and how they reach the written graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ghostedge_quantize import Ranges, calibrate, quantize
from ghostedge_quantize.graph.plan import Tuning
from ghostedge_quantize.int8 import float_graph
from ghostedge_quantize.settings import BiasCorrection, Rounding
from ghostedge_quantize.tuning import tune as tuning_module
from ghostedge_quantize.tuning.tune import NodeRunner, layers_at_input, tune

Toy = Callable[..., onnx.ModelProto]
Run = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def arrays() -> list[np.ndarray]:
    """Images with means of their own about a common one, as photographs have."""
    random = np.random.default_rng(0)
    return [random.normal(1, 1, (1, 3, 8, 8)).astype(np.float32) for _ in range(48)]


@pytest.fixture(scope="module")
def chain(toy: Toy) -> onnx.ModelProto:
    """Pointwise layers, one before a ReLU; the small channels' weights are coarse per tensor."""
    random = np.random.default_rng(1)
    weights = {}
    for name, (outputs, inputs) in {"a": (16, 3), "b": (16, 16), "c": (10, 16)}.items():
        sizes = np.geomspace(1, 1 / 30, outputs)[:, None, None, None]
        weights[f"{name}_w"] = random.normal(0.3, 1, (outputs, inputs, 1, 1)) * sizes
        weights[f"{name}_b"] = random.normal(0, 1, outputs) * sizes.reshape(-1)
    body = """
        a = Conv(input, a_w, a_b)
        r = Relu(a)
        b = Conv(r, b_w, b_b)
        c = Conv(b, c_w, c_b)
        logits = GlobalAveragePool(c)
    """
    return toy(body, weights, output=(1, 10, 1, 1))


@pytest.fixture(scope="module")
def ranges(chain: onnx.ModelProto, arrays: list[np.ndarray]) -> Ranges:
    return calibrate(chain, arrays, method="minmax")


Write = Callable[..., onnx.ModelProto]
Choose = Callable[..., Tuning]


@pytest.fixture(scope="module")
def write(chain: onnx.ModelProto, ranges: Ranges) -> Write:
    """write(tuning, keep_float=) → the chain's QDQ graph, one weight scale per tensor."""

    def written(tuning: Tuning | None = None, keep_float: Sequence[str] = ()) -> onnx.ModelProto:
        return quantize(
            chain,
            ranges,
            preprocessing=None,
            per_channel=False,
            keep_float=keep_float,
            tuning=tuning,
        )

    return written


@pytest.fixture(scope="module")
def choose(chain: onnx.ModelProto, arrays: list[np.ndarray], write: Write) -> Choose:
    """choose(bias_correction, rounding, batches) → a tuning of the chain."""

    def chosen(
        bias_correction: BiasCorrection = "none",
        rounding: Rounding = "nearest",
        batches: Sequence[np.ndarray] = (),
    ) -> Tuning:
        return tune(
            float_graph(chain, None)[0],
            write(),
            batches or arrays,
            bias_correction=bias_correction,
            rounding=rounding,
        )

    return chosen


def layer_names(model: onnx.ModelProto) -> dict[str, str]:
    """Output of each convolution of a chain → the node's name in the QDQ graph."""
    graph = float_graph(model, None)[0].graph
    return {str(n.outputs[0].name): str(n.name) for n in graph if n.op_type == "Conv"}


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def means(values: np.ndarray) -> np.ndarray:
    return np.asarray(values.mean(axis=(0, 2, 3), dtype=np.float64))


def test_nothing_asked_for_is_nothing_done(choose: Choose) -> None:
    assert choose() == Tuning({}, {})


def test_full_correction_gives_every_layer_the_float_graphs_mean_output(
    chain: onnx.ModelProto, arrays: list[np.ndarray], write: Write, choose: Choose, run: Run
) -> None:
    tuning = choose("full")
    assert set(tuning.bias_shift) == set(layer_names(chain).values())
    plain, corrected = write(), write(tuning)
    for tensor in ("r", "b", "c"):
        expected = means(run(chain, arrays, outputs=[tensor]))
        before, after = (
            np.abs(means(run(model, arrays, outputs=[tensor], optimise=False)) - expected)
            for model in (plain, corrected)
        )
        assert before.max() > 0.004, tensor
        assert after.max() < 0.05 * before.max(), tensor


def test_either_correction_lowers_the_outputs_error(
    chain: onnx.ModelProto, arrays: list[np.ndarray], write: Write, choose: Choose, run: Run
) -> None:
    expected = run(chain, arrays)
    none, fast, full = (
        np.square(run(write(tuning), arrays) - expected).mean()
        for tuning in (Tuning(), choose("fast"), choose("full"))
    )
    assert full < 0.2 * none
    assert fast < 0.2 * none


@pytest.mark.parametrize("rounding", ["nearest", "first", "adaptive"])
def test_a_fast_shift_is_the_mean_error_of_its_layer_alone(  # noqa: PLR0917 - fixtures by name
    chain: onnx.ModelProto,
    arrays: list[np.ndarray],
    write: Write,
    choose: Choose,
    run: Run,
    rounding: Rounding,
) -> None:
    tuning = choose("fast", rounding)
    names = layer_names(chain)
    assert set(tuning.bias_shift) == set(names.values())
    for tensor, name in names.items():
        others = [other for other in names.values() if other != name]
        alone = write(Tuning(weight_codes=tuning.weight_codes), others)
        expected = means(run(chain, arrays, outputs=[tensor]))
        error = expected - means(run(alone, arrays, outputs=[tensor], optimise=False))
        step = float(constants(alone)[f"{name}_bias_scale"])
        assert np.abs(error).max() > 5 * step
        assert tuning.bias_shift[name] == pytest.approx(error, abs=0.51 * step), tensor


@pytest.mark.parametrize("bias_correction", ["none", "fast", "full"])
def test_adaptive_codes_are_taken_and_next_to_the_weights(
    chain: onnx.ModelProto, write: Write, choose: Choose, bias_correction: BiasCorrection
) -> None:
    tuning = choose(bias_correction, "adaptive")
    assert (len(tuning.bias_shift) > 0) == (bias_correction != "none")
    assert tuning.weight_codes
    nearest, written = constants(write()), constants(write(tuning))
    for tensor, name in layer_names(chain).items():
        key = f"{name}_weight_quantized"
        if name not in tuning.weight_codes:
            assert (written[key] == nearest[key]).all()
            continue
        assert written[key].dtype == np.int8
        assert (written[key] == tuning.weight_codes[name]).all()
        assert (written[key] != nearest[key]).any()
        steps = constants(chain)[f"{tensor}_w"] / nearest[f"{name}_weight_scale"]
        inside = np.abs(steps) <= 127
        assert np.abs(written[key] - steps)[inside].max() < 1.001


def test_adaptive_codes_leave_a_smaller_error_at_the_output(
    chain: onnx.ModelProto, arrays: list[np.ndarray], write: Write, choose: Choose, run: Run
) -> None:
    expected = run(chain, arrays)
    nearest, learned = (
        np.square(run(write(tuning), arrays) - expected).mean()
        for tuning in (Tuning(), choose("none", "adaptive"))
    )
    assert learned < 0.7 * nearest


@pytest.fixture(scope="module")
def even_images() -> list[np.ndarray]:
    """Images whose neighbouring pixels are alike, as a photograph's are."""
    random = np.random.default_rng(3)
    draws = [
        random.normal(2, 1, (1, 3, 1, 1)) + random.normal(0, 0.05, (1, 3, 8, 8)) for _ in range(8)
    ]
    return [np.asarray(image, np.float32) for image in draws]


def two_layers(toy: Toy, offset: float) -> onnx.ModelProto:
    """Edge filters on the image, one output shifted by ``offset``, and another layer."""
    random = np.random.default_rng(3)
    filters = random.normal(0, 1, (4, 3, 3, 3))
    weights = {
        "a_w": filters - filters.mean(axis=(2, 3), keepdims=True),
        "a_b": np.array([0.0, 0.0, 0.0, offset]),
        "b_w": random.normal(0.3, 1, (4, 4, 3, 3)),
    }
    body = "a = Conv<pads=[1, 1, 1, 1]>(input, a_w, a_b) logits = Conv<pads=[1, 1, 1, 1]>(a, b_w)"
    return toy(body, weights, output=(1, 4, 8, 8))


def tuned(
    model: onnx.ModelProto, images: list[np.ndarray], correction: BiasCorrection, rounding: Rounding
) -> Tuning:
    qdq = quantize(model, calibrate(model, images), preprocessing=None)
    floating = float_graph(model, None)[0]
    return tune(floating, qdq, images, bias_correction=correction, rounding=rounding)


@pytest.mark.parametrize("correction", ["none", "fast", "full"])
def test_first_learns_the_layer_that_reads_the_image_and_no_other(
    toy: Toy, even_images: list[np.ndarray], correction: BiasCorrection
) -> None:
    model = two_layers(toy, 0)
    names = layer_names(model)
    first = tuned(model, even_images, correction, "first")
    adaptive = tuned(model, even_images, correction, "adaptive")
    assert set(first.weight_codes) == {names["a"]}
    assert (first.weight_codes[names["a"]] == adaptive.weight_codes[names["a"]]).all()
    assert set(first.bias_shift) == (set() if correction == "none" else set(names.values()))


def test_first_leaves_weights_alone_that_err_by_less_than_their_outputs_code(
    toy: Toy, even_images: list[np.ndarray]
) -> None:
    assert tuned(two_layers(toy, 1000), even_images, "none", "first") == Tuning({}, {})


def test_layers_at_the_input_are_those_that_no_other_stands_before(toy: Toy) -> None:
    body = """
        small = AveragePool<kernel_shape=[2, 2], strides=[2, 2]>(input)
        a = Conv<strides=[2, 2]>(input, a_w)
        b = Conv(small, b_w)
        both = Add(a, b)
        logits = Conv(both, c_w)
    """
    shapes = {"a_w": (4, 3, 1, 1), "b_w": (4, 3, 1, 1), "c_w": (4, 4, 1, 1)}
    model = toy(body, {n: np.ones(shape) for n, shape in shapes.items()}, output=(1, 4, 4, 4))
    names = layer_names(model)
    assert layers_at_input(float_graph(model, None)[0].graph) == {names["a"], names["b"]}


def test_a_shift_reaches_the_written_int32_bias(chain: onnx.ModelProto, write: Write) -> None:
    name = layer_names(chain)["b"]
    shift = np.linspace(-0.5, 0.5, 16).astype(np.float32)
    plain, shifted = constants(write()), constants(write(Tuning(bias_shift={name: shift})))
    key = f"{name}_bias_quantized"
    assert shifted[key].dtype == np.int32
    expected = shift / plain[f"{name}_bias_scale"]
    assert np.abs(expected).max() > 100
    assert shifted[key] - plain[key] == pytest.approx(expected, abs=1.01)
    changed = {k for k in plain if not np.array_equal(plain[k], shifted[k])}
    assert changed == {key}


def test_images_beyond_the_memory_allowed_are_sampled_evenly(
    arrays: list[np.ndarray], choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 16 * 8 * 8 * 4
    few = choose("full", batches=[arrays[0], arrays[10], arrays[20]])
    monkeypatch.setattr(tuning_module, "HELD_BYTES", 3 * largest + 1)
    sampled = choose("full", batches=arrays[:21])
    for name, shift in few.bias_shift.items():
        assert sampled.bias_shift[name].tolist() == shift.tolist()


def test_one_image_is_used_however_large_it_is(
    arrays: list[np.ndarray], choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = choose("full", batches=arrays[:1])
    monkeypatch.setattr(tuning_module, "HELD_BYTES", 1)
    sampled = choose("full", batches=arrays[:5])
    for name, shift in first.bias_shift.items():
        assert sampled.bias_shift[name].tolist() == shift.tolist()
        assert np.abs(shift).max() > 0


Batches = Callable[..., list[np.ndarray]]


def all_tensors(model: onnx.ModelProto, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """First output of every node that reads an activation, computed step by step."""
    steps = NodeRunner(model, arrays)
    return {node.output[0]: np.concatenate(steps.compute(node)) for node in steps.run()}


def last(steps: NodeRunner) -> np.ndarray:
    """What the graph's last node puts out, all batches."""
    for node in steps.run():
        outputs = steps.compute(node)
    return np.concatenate(outputs)


def test_every_tensor_is_what_onnx_runtime_computes_for_the_whole_graph(
    ghost: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    arrays = batches(3)
    tensors = all_tensors(ghost, arrays)
    assert set(tensors) == {name for node in ghost.graph.node for name in node.output}
    for name, values in tensors.items():
        expected = run(ghost, arrays, outputs=[name], optimise=False)
        assert values == pytest.approx(expected, abs=1e-6), name


def test_every_tensor_of_a_quantized_graph_is_too(
    ghost: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    arrays = batches(3)
    qdq = quantize(ghost, calibrate(ghost, arrays), preprocessing=None)
    tensors = all_tensors(qdq, arrays)
    names = {name for node in qdq.graph.node for name in node.output}
    weights = {node.input[1] for node in qdq.graph.node if node.op_type in {"Conv", "Gemm"}}
    biases = {node.input[2] for node in qdq.graph.node if node.op_type in {"Conv", "Gemm"}}
    assert names - set(tensors) >= weights | biases
    for name, values in tensors.items():
        expected = run(qdq, arrays, outputs=[name], optimise=False)
        assert values == pytest.approx(expected, abs=1e-6), name


def test_only_what_a_later_node_reads_is_held(ghost: onnx.ModelProto, batches: Batches) -> None:
    steps = NodeRunner(ghost, batches(2))
    position = {name: i for i, node in enumerate(ghost.graph.node) for name in node.output}
    uses = {name: i for i, node in enumerate(ghost.graph.node) for name in node.input}
    position["input"] = -1
    for now, _ in enumerate(steps.run()):
        for name, index in position.items():
            if index < now <= uses.get(name, -1):
                assert len(steps.inputs(name)) == 2
            else:
                with pytest.raises(KeyError):
                    steps.inputs(name)


def test_a_tensor_read_twice_by_one_node_is_held_until_then(
    toy: Toy, batches: Batches, run: Run
) -> None:
    model = toy("r = Relu(input) d = Add(r, r) logits = Mul(d, r)", output=(1, 3, 8, 8))
    arrays = batches(2)
    assert last(NodeRunner(model, arrays)) == pytest.approx(run(model, arrays))


def test_a_split_hands_out_all_its_outputs(toy: Toy, batches: Batches, run: Run) -> None:
    model = toy(
        "a, b = Split<axis=3, num_outputs=2>(input) logits = Sub(a, b)", output=(1, 3, 8, 4)
    )
    arrays = batches(2)
    assert last(NodeRunner(model, arrays)) == pytest.approx(run(model, arrays))


def test_a_replaced_constant_is_what_the_nodes_to_come_read(
    ghost: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    arrays = batches(2)
    other = np.random.default_rng(9).normal(size=(8, 8, 1, 1)).astype(np.float32)
    steps = NodeRunner(ghost, arrays)
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
    steps = NodeRunner(model, arrays)
    for node in steps.run():
        outputs = steps.compute(node)
        if node.output[0] == "n":
            for output in outputs:
                np.add(output, 2, out=output)
    expected = np.maximum(2 - np.maximum(np.concatenate(arrays), 0), 0)
    assert np.concatenate(outputs) == pytest.approx(expected)


def test_nodes_of_constants_alone_are_folded_and_not_handed_out(toy: Toy, batches: Batches) -> None:
    body = """
        two = Constant<value = float {2}>()
        four = Mul(two, k)
        eight = Add(four, four)
        logits = Mul(input, eight)
    """
    steps = NodeRunner(toy(body, {"k": np.float32(2)}, output=(1, 3, 8, 8)), batches(1))
    (node,) = list(steps.run())
    assert node.op_type == "Mul"
    assert steps.constant("eight") == pytest.approx(8)


def test_a_node_that_nobody_computes_runs_all_the_same(
    ghost: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    arrays = batches(2)
    steps = NodeRunner(ghost, arrays)
    for node in steps.run():
        if node.output[0] == "logits":
            logits = np.concatenate(steps.compute(node))
    assert logits == pytest.approx(run(ghost, arrays), abs=1e-5)
