from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from ghostedge_quantize import Range, Ranges, calibrate, quantize, unsigned_activations
from ghostedge_quantize.settings import OutputType
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import METADATA_KEY, Preprocessing

Toy = Callable[..., onnx.ModelProto]
Run = Callable[..., np.ndarray]
Batches = Callable[..., list[np.ndarray]]
RANDOM_W = np.random.default_rng(8).normal(size=(3, 3, 1, 1))
PIXELS = np.random.default_rng(5).integers(0, 256, (20, 1, 8, 8, 3), np.uint8)


class Graph:
    """A QDQ model, indexed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        self.producer = {name: node for node in self.nodes for name in node.output}

    def of(self, *ops: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if node.op_type in ops]

    def users(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if name in node.input]

    def params(self, node: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray]:
        return self.constants[node.input[1]], self.constants[node.input[2]]


def ghost_int8(
    ghost: onnx.ModelProto, batches: Batches, output_type: OutputType = "float32"
) -> onnx.ModelProto:
    ranges = calibrate(ghost, batches(20), method="minmax")
    return quantize(ghost, ranges, preprocessing=Preprocessing(), output_type=output_type)


def optimised_ops(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    """What ONNX Runtime really runs, with its int8 kernels allowed for int8 activations."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def test_weights_are_int8_per_channel_and_biases_int32(
    ghost: onnx.ModelProto, batches: Batches
) -> None:
    graph = Graph(ghost_int8(ghost, batches))
    layers = graph.of("Conv", "Gemm")
    assert len(layers) == 7
    for layer in layers:
        data, weight, bias = (graph.producer[name] for name in layer.input)
        assert {data.op_type, weight.op_type, bias.op_type} == {"DequantizeLinear"}
        codes, (scale, zero) = graph.constants[weight.input[0]], graph.params(weight)
        assert codes.dtype == np.int8
        assert codes.min() >= -127
        assert scale.shape == zero.shape == (len(codes),)
        assert not zero.any()
        assert weight.attribute[0].name == "axis"
        assert weight.attribute[0].i == 0
        sums, (bias_scale, bias_zero) = graph.constants[bias.input[0]], graph.params(bias)
        assert sums.dtype == bias_zero.dtype == np.int32
        source = graph.params(data)[0]
        assert np.array_equal(bias_scale, source * scale)


def test_activations_have_one_scalar_scale_on_both_sides_of_a_pair(
    ghost: onnx.ModelProto, batches: Batches
) -> None:
    graph = Graph(ghost_int8(ghost, batches))
    pairs = graph.of("QuantizeLinear")
    assert len(pairs) == 15
    for quantizer in pairs:
        scale, zero = graph.params(quantizer)
        assert scale.shape == zero.shape == ()
        assert scale.dtype == np.float32
        assert zero.dtype == np.int8
        for user in graph.users(quantizer.output[0]):
            assert user.op_type == "DequantizeLinear"
            assert user.input[1:] == quantizer.input[1:]


def test_a_fused_activation_follows_its_layer_without_a_pair(
    ghost: onnx.ModelProto, batches: Batches
) -> None:
    graph = Graph(ghost_int8(ghost, batches))
    activations = graph.of("Relu", "Clip")
    assert len(activations) == 5
    for node in activations:
        assert graph.producer[node.input[0]].op_type == "Conv"
        assert [user.op_type for user in graph.users(node.output[0])] == ["QuantizeLinear"]


def test_concat_and_flatten_read_and_write_one_scale(
    ghost: onnx.ModelProto, batches: Batches
) -> None:
    graph = Graph(ghost_int8(ghost, batches))
    for node in graph.of("Concat", "Flatten"):
        (user,) = graph.users(node.output[0])
        for name in node.input:
            assert graph.producer[name].input[1:] == user.input[1:]


def test_int8_computes_what_float_computes_within_a_few_steps(
    ghost: onnx.ModelProto, run: Run
) -> None:
    preprocessing = Preprocessing()
    mean, std = np.asarray(preprocessing.mean), np.asarray(preprocessing.std)
    data = list(((PIXELS / 255 - mean) / std).transpose(0, 1, 4, 2, 3).astype(np.float32))
    int8 = quantize(ghost, calibrate(ghost, data, method="minmax"), preprocessing=preprocessing)
    expected, actual = run(ghost, data), run(int8, list(PIXELS))
    step = Graph(int8).constants["logits_scale"]
    assert np.abs(actual - expected).max() <= 6 * step
    assert np.abs(expected).max() > 60 * step


def test_without_preprocessing_the_input_stays_and_is_quantized_first(
    ghost: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    data = batches(20)
    int8 = quantize(ghost, calibrate(ghost, data, method="minmax"), preprocessing=None)
    assert int8.graph.input[0] == ghost.graph.input[0]
    (first,) = Graph(int8).users("input")
    assert first.op_type == "QuantizeLinear"
    step = Graph(int8).constants["logits_scale"]
    assert np.abs(run(int8, data) - run(ghost, data)).max() <= 6 * step


def test_an_int8_output_is_the_code_of_the_float_output(
    ghost: onnx.ModelProto, batches: Batches, run: Run
) -> None:
    real, codes = ghost_int8(ghost, batches), ghost_int8(ghost, batches, "int8")
    for model, kind in ((real, onnx.TensorProto.FLOAT), (codes, onnx.TensorProto.INT8)):
        (output,) = model.graph.output
        assert output.name == "logits"
        assert output.type.tensor_type.elem_type == kind
        assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [1, 10]
    assert Graph(codes).producer["logits"].op_type == "QuantizeLinear"
    assert Graph(real).producer["logits"].op_type == "DequantizeLinear"
    scale, zero = Graph(codes).params(Graph(codes).producer["logits"])
    decoded = (run(codes, list(PIXELS)).astype(np.float32) - zero) * scale
    assert np.array_equal(decoded, run(real, list(PIXELS)))


def test_an_int8_output_that_is_read_inside_too_keeps_its_pair(toy: Toy, batches: Batches) -> None:
    body = "a = Conv(input, w) logits = Relu(a) unused = Identity(logits)"
    model = toy(body, {"w": np.ones((3, 3, 1, 1))}, output=(1, 3, 8, 8))
    model.graph.output.append(
        onnx.helper.make_tensor_value_info("unused", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    )
    int8 = quantize(model, calibrate(model, batches(3)), preprocessing=None, output_type="int8")
    assert [o.name for o in int8.graph.output] == ["logits", "unused"]
    assert {o.type.tensor_type.elem_type for o in int8.graph.output} == {onnx.TensorProto.INT8}


def test_a_float_tail_gives_a_float_or_a_quantized_output(
    toy: Toy, batches: Batches, run: Run
) -> None:
    body = "m = GlobalAveragePool(input) f = Flatten(m) logits = Softmax(f)"
    model, data = toy(body, output=(1, 3)), batches(5)
    ranges = calibrate(model, data, method="minmax")
    real = quantize(model, ranges, preprocessing=None)
    codes = quantize(model, ranges, preprocessing=None, output_type="int8")
    assert Graph(real).producer["logits"].op_type == "Softmax"
    scale, zero = Graph(codes).params(Graph(codes).producer["logits"])
    decoded = (run(codes, data).astype(np.float32) - zero) * scale
    assert np.abs(decoded - run(real, data)).max() <= scale


def test_a_requantized_concat_input_has_two_pairs(toy: Toy, batches: Batches, run: Run) -> None:
    body = """
        a = Conv(input, w)
        b = Sigmoid(a)
        c = Concat<axis=1>(a, b)
        m = GlobalAveragePool(c)
        logits = Flatten(m)
    """
    model = toy(body, {"w": RANDOM_W}, output=(1, 6))
    data = batches(10)
    int8 = quantize(model, calibrate(model, data, method="minmax"), preprocessing=None)
    graph = Graph(int8)
    (concat,) = graph.of("Concat")
    second = graph.producer[graph.producer[concat.input[1]].input[0]]
    first = graph.producer[second.input[0]]
    assert (second.op_type, first.op_type) == ("QuantizeLinear", "DequantizeLinear")
    assert graph.params(first)[0] == np.float32(1 / 256)
    assert second.input[1:] == graph.producer[concat.input[0]].input[1:]
    step = max(float(graph.params(n)[0]) for n in graph.of("QuantizeLinear"))
    assert np.abs(run(int8, data) - run(model, data)).max() <= 2 * step


def test_one_constant_in_two_places_is_stored_once(toy: Toy, batches: Batches) -> None:
    body = "a = Conv(input, w) b = Mul(a, k) c = Add(b, k) logits = Identity(c)"
    model = toy(body, {"w": RANDOM_W, "k": np.full((1, 3, 1, 1), 0.5)}, output=(1, 3, 8, 8))
    int8 = quantize(model, calibrate(model, batches(3)), preprocessing=None)
    names = [i.name for i in int8.graph.initializer if i.name.startswith("k")]
    assert sorted(names) == ["k_quantized", "k_scale", "k_zero_point"]


def test_equal_arguments_give_equal_bytes(ghost: onnx.ModelProto, batches: Batches) -> None:
    assert (
        ghost_int8(ghost, batches).SerializeToString()
        == ghost_int8(ghost, batches).SerializeToString()
    )


def test_the_float_model_is_not_changed_and_its_description_not_copied(
    ghost: onnx.ModelProto, batches: Batches
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(ghost)
    model.metadata_props.add(key=METADATA_KEY, value="{}")
    model.metadata_props.add(key="author", value="someone")
    before = model.SerializeToString()
    int8 = ghost_int8(model, batches)
    assert model.SerializeToString() == before
    assert {p.key: p.value for p in int8.metadata_props} == {"author": "someone"}
    assert int8.opset_import == model.opset_import


def test_onnx_runtime_runs_every_layer_of_a_ghost_module_in_int8(
    ghost: onnx.ModelProto, batches: Batches, tmp_path: Path
) -> None:
    ops = optimised_ops(ghost_int8(ghost, batches), tmp_path)
    assert ops["QLinearConv"] == 6
    assert ops["QLinearAdd"] == 2  # the residual and the input's shift
    assert ops["QLinearMul"] == ops["QLinearConcat"] == ops["QGemm"] == 1
    assert ops["QLinearGlobalAveragePool"] == 2
    assert not {"Conv", "FusedConv", "Relu", "Clip", "Add", "Mul", "Concat", "Gemm"} & set(ops)


def test_a_clip_that_its_range_saturates_does_not_keep_the_layer_in_float(
    toy: Toy, batches: Batches, tmp_path: Path
) -> None:
    body = """
        a = Conv(input, w)
        b = Clip(a, zero, six)
        m = GlobalAveragePool(b)
        logits = Flatten(m)
    """
    weights = {"w": RANDOM_W * 50, "zero": np.float32(0), "six": np.float32(6)}
    model = toy(body, weights, output=(1, 3))
    ranges = calibrate(model, batches(4), method="minmax")
    assert ranges.tensors["b"] == Range(0, 6)
    ops = optimised_ops(quantize(model, ranges, preprocessing=None), tmp_path)
    assert ops["QLinearConv"] == 1
    assert ops["Clip"] == 0


def test_ranges_of_another_model_are_refused(ghost: onnx.ModelProto) -> None:
    with pytest.raises(InputError, match="no range was measured"):
        quantize(ghost, Ranges("minmax", 1, {}), preprocessing=None)


FLOAT_OR_INT8 = {
    "HardSwish": "HardSwish(a)",
    "Sigmoid": "Sigmoid(a)",
    "Softmax": "Softmax<axis=1>(a)",
    "AveragePool": "AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(a)",
    "MaxPool": "MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(a)",
    "Relu": "Relu(a)",
    "Add": "Add(a, input)",
    "Sub": "Sub(a, input)",
    "Mul": "Mul(a, input)",
    "Div": "Div(a, two)",
    "Transpose": "Transpose<perm=[0,1,3,2]>(a)",
    "Concat": "Concat<axis=1>(a, input)",
    "ReduceMean": "ReduceMean<keepdims=1>(a, axes)",
    "Resize": 'Resize<mode="linear">(a, , scales)',
}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(sorted(FLOAT_OR_INT8)), min_size=1, max_size=4), st.integers(0, 99))
def test_any_chain_of_ops_quantizes_to_nearly_the_same_function(
    toy: Toy, run: Run, batches: Batches, ops: list[str], seed: int
) -> None:
    random, lines, constants, channels, last = np.random.default_rng(seed), [], {}, 3, "input"
    for index, op in enumerate(ops):
        constants[f"w{index}"] = random.normal(0, 0.5, (3, channels, 1, 1))
        lines.append(f"a{index} = Conv({last}, w{index})")
        call = FLOAT_OR_INT8[op].replace("(a", f"(a{index}").replace("input", "same")
        lines.append(f"b{index} = {call}")
        channels, last = (6 if op == "Concat" else 3), f"b{index}"
    layers = " ".join(lines)
    body = f"same = Identity(input) {layers} m = GlobalAveragePool({last}) logits = Flatten(m)"
    constants |= {"two": np.full(1, 2.0), "axes": np.array([2, 3]), "scales": [1, 1, 2, 2]}
    used = {name: value for name, value in constants.items() if name in body}
    reduced = any(op in ("ReduceMean", "Resize") for op in ops[:-1])
    grows = {"Add", "Sub", "Mul", "Concat"} & set(ops)
    assume(not (reduced and grows))  # sizes would no longer fit the untouched input
    model = toy(body, used, output=(1, channels))
    data = batches(8, seed=seed)
    int8 = quantize(model, calibrate(model, data, method="minmax"), preprocessing=None)
    # Not optimised: what the graph says, not how one runtime fuses it.
    expected, actual = run(model, data), run(int8, data, optimise=False)
    signal, noise = np.linalg.norm(expected), np.linalg.norm(actual - expected)
    assert noise <= 0.15 * signal + 1e-6


def test_importing_the_package_imports_neither_onnx_nor_onnxruntime() -> None:
    code = (
        "import sys, ghostedge_quantize;"
        "heavy = {'onnx', 'onnxruntime', 'onnx_ir', 'numpy', 'torch'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "assert 'calibrate' in ghostedge_quantize.__all__;"
        "ghostedge_quantize.quantize; assert 'onnx' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_activation_code_moves_by_128_and_weights_stay(
    ghost: onnx.ModelProto, batches: Batches
) -> None:
    signed = ghost_int8(ghost, batches)
    before = {i.name: numpy_helper.to_array(i) for i in signed.graph.initializer}
    after = {
        i.name: numpy_helper.to_array(i) for i in unsigned_activations(signed).graph.initializer
    }
    moved = [name for name, array in before.items() if array.dtype == np.int8 and name not in after]
    assert len(moved) == 14  # a zero point for each of 13 scales, and the mean
    for name in moved:
        twin = after[f"{name}_unsigned"]
        assert twin.dtype == np.uint8
        assert np.array_equal(twin.astype(int), before[name].astype(int) + 128)
    for name in set(before) - set(moved):
        assert np.array_equal(before[name], after[name])


@pytest.mark.parametrize("output_type", ["float32", "int8"])
def test_the_function_and_the_signature_stay(
    ghost: onnx.ModelProto, batches: Batches, run: Run, output_type: OutputType
) -> None:
    signed = ghost_int8(ghost, batches, output_type)
    unsigned = unsigned_activations(signed)
    assert unsigned.graph.input == signed.graph.input
    assert unsigned.graph.output == signed.graph.output
    expected = run(signed, PIXELS, optimise=False)
    assert np.array_equal(run(unsigned, PIXELS, optimise=False), expected)


def test_onnx_runtime_runs_all_of_it_in_int8_kernels_without_being_told(
    ghost: onnx.ModelProto, batches: Batches, tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    model = unsigned_activations(ghost_int8(ghost, batches))
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    ops = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert ops == {
        "Transpose": 1,
        "QLinearAdd": 2,
        "QLinearConv": 6,
        "QLinearConcat": 1,
        "QLinearGlobalAveragePool": 2,
        "QLinearMul": 1,
        "Flatten": 1,
        "QGemm": 1,
        "DequantizeLinear": 1,
    }
