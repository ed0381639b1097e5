"""Each edit on graphs small enough to say by hand what must come out."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ghostedge_convert import normalize_qdq
from ghostedge_convert.qdq_in.normalize import left_float
from ghostedge_convert.qdq_in.pairs import Scheme
from ghostedge_convert.qdq_in.requantize import covering
from ghostedge_runtime.errors import UnsupportedOpError


class Graph:
    """A QDQ graph written node by node; arrays become initializers."""

    def __init__(self, *shape: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shape = shape

    def add(self, op: str, *operands, **attributes) -> str:
        name = f"{op}{len(self.nodes)}"
        names = [self._named(o, f"{name}_{i}") for i, o in enumerate(operands)]
        self.nodes.append(helper.make_node(op, names, [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def _named(self, operand, name: str) -> str:
        if isinstance(operand, str):
            return operand
        self.constants.append(numpy_helper.from_array(np.asarray(operand), name))
        return name

    def pair(self, x: str, scale, zero, **attributes) -> str:
        parameters = (np.asarray(scale, np.float32), np.asarray(zero))
        stored = self.add("QuantizeLinear", x, *parameters, **attributes)
        return self.add("DequantizeLinear", stored, *parameters, **attributes)

    def real(self, stored, scale, zero, **attributes) -> str:
        return self.add(
            "DequantizeLinear",
            stored,
            np.asarray(scale, np.float32),
            np.asarray(zero),
            **attributes,
        )

    def model(self, output: str) -> onnx.ModelProto:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "g", [x], [y], self.constants)
        return onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        )


def conv(weights, scale, zero, *, x_scale=0.05, bias=None, attributes=None, **scheme):
    """Input pair → Conv → output pair, the weights stored as given."""
    graph = Graph(1, np.shape(weights)[1], 4, 4)
    x = graph.pair("x", x_scale, np.int8(0))
    w = graph.real(weights, scale, zero, **scheme)
    operands = (x, w) if bias is None else (x, w, np.asarray(bias, np.float32))
    y = graph.add("Conv", *operands, **(attributes or {}))
    return graph.model(graph.pair(y, 0.1, np.int8(0)))


def weights_of(model: onnx.ModelProto) -> tuple[np.ndarray, np.ndarray]:
    """The stored weights of the only Conv, and their scales."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    makers = {n.output[0]: n for n in model.graph.node}
    node = next(n for n in model.graph.node if n.op_type == "Conv")
    decoder = makers[node.input[1]]
    return constants[decoder.input[0]], constants[decoder.input[1]]


def same(a: onnx.ModelProto, b: onnx.ModelProto, run_source, *shape: int) -> bool:
    rng = np.random.default_rng(2)
    inputs = [rng.standard_normal(shape).astype(np.float32) for _ in range(4)]
    return bool(np.array_equal(run_source(a, inputs)[0], run_source(b, inputs)[0]))


def test_uint8_weights_that_fit_around_their_zero_point_are_recentred_exactly(run_source):
    stored = np.asarray([0, 100, 127, 254], np.uint8).reshape(4, 1, 1, 1)
    source = conv(stored, 0.01, np.uint8(127))
    found = normalize_qdq(source)
    assert weights_of(found.model)[0].reshape(-1).tolist() == [-127, -27, 0, 127]
    assert weights_of(found.model)[0].dtype == np.int8
    assert found.requantized == ()
    assert same(source, found.model, run_source, 1, 1, 4, 4)


def test_asymmetric_weights_get_a_scale_per_channel_and_the_loss_is_stated():
    stored = np.asarray([[0, 255], [100, 120]], np.uint8).reshape(2, 2, 1, 1)
    source = conv(stored, 0.5, np.uint8(100))
    with pytest.raises(UnsupportedOpError, match="uint8 weights with a zero point of 100"):
        normalize_qdq(source)
    found = normalize_qdq(source, requantize=True)
    steps, scales = weights_of(found.model)
    real = (stored.astype(np.float32) - 100) * 0.5
    gap = np.abs(steps * scales.reshape(2, 1, 1, 1) - real)
    (change,) = found.requantized
    assert change.loss.max_abs == pytest.approx(gap.max(), rel=1e-6)
    assert change.loss.mean_square == pytest.approx(np.square(gap).mean(), rel=1e-6)
    assert gap[1].max() == 0  # the second channel fits int8 at its own scale
    assert gap[0].max() <= 77.5 / 127 / 2 * 1.001


def test_the_end_of_the_range_is_cut_rather_than_the_whole_channel_rescaled():
    stored = np.arange(-128, 128).astype(np.int8).reshape(1, 256, 1, 1)
    found = normalize_qdq(conv(stored, 0.25, np.int8(0)), requantize=True)
    steps, scales = weights_of(found.model)
    assert steps.reshape(-1).tolist() == [-127, *range(-127, 128)]
    assert scales.reshape(-1).tolist() == [0.25]
    assert found.requantized[0].loss.max_abs == pytest.approx(0.25)


def test_weights_quantized_along_the_wrong_axis_or_in_blocks_are_refused_by_node():
    stored = np.ones((2, 2, 1, 1), np.int8)
    along = conv(stored, [0.1, 0.2], np.zeros(2, np.int8), axis=1)
    with pytest.raises(UnsupportedOpError, match=r"'Conv3' \(Conv\).*along axis 1"):
        normalize_qdq(along)
    blocks = conv(
        np.ones((1, 4, 1, 1), np.int8),
        np.full((1, 2, 1, 1), 0.1),
        np.zeros((1, 2, 1, 1), np.int8),
        axis=1,
        block_size=2,
    )
    with pytest.raises(UnsupportedOpError, match="blocks of 2"):
        normalize_qdq(blocks)
    steps, scales = weights_of(normalize_qdq(along, requantize=True).model)
    assert np.allclose(steps * scales.reshape(2, 1, 1, 1), [[[[0.1]], [[0.2]]]] * 2, atol=0.1 / 127)


def test_a_scale_that_is_no_positive_number_is_refused():
    with pytest.raises(UnsupportedOpError, match="not a positive number"):
        normalize_qdq(conv(np.ones((1, 1, 1, 1), np.int8), 0.0, np.int8(0)))


def test_a_pair_whose_sides_differ_is_refused():
    graph = Graph(1, 4)
    stored = graph.add("QuantizeLinear", "x", np.float32(0.1), np.int8(0))
    y = graph.add("Relu", graph.real(stored, 0.2, np.int8(0)))
    with pytest.raises(UnsupportedOpError, match="other parameters"):
        normalize_qdq(graph.model(y))


def channelwise(*, reader: str) -> onnx.ModelProto:
    """Conv → pair with a scale per channel → a depthwise conv, or an op that mixes channels."""
    rng = np.random.default_rng(0)
    graph = Graph(1, 2, 5, 5)
    x = graph.pair("x", 0.03, np.int8(0))
    first = graph.real(rng.integers(-127, 128, (3, 2, 1, 1), np.int8), 0.01, np.int8(0))
    bias = rng.standard_normal(3).astype(np.float32)
    y = graph.add("Relu", graph.add("Conv", x, first, bias))
    y = graph.pair(y, [0.01, 0.002, 0.03], np.zeros(3, np.uint8), axis=1)
    shape, group = ((3, 1, 3, 3), 3) if reader == "depthwise" else ((4, 3, 3, 3), 1)
    second = graph.real(rng.integers(-127, 128, shape, np.int8), 0.02, np.int8(0))
    y = graph.add("Conv", y, second, group=group)
    return graph.model(graph.pair(y, 0.1, np.int8(0)))


def test_scales_per_channel_before_a_depthwise_conv_move_into_the_weights(run_source):
    source = channelwise(reader="depthwise")
    found = normalize_qdq(source)
    assert found.requantized == ()
    assert [note.name for note in found.applied] == ["share_channel_scales"]
    rng = np.random.default_rng(2)
    inputs = [rng.standard_normal((1, 2, 5, 5)).astype(np.float32) for _ in range(16)]
    middle, out = (
        n.output[0]
        for n in source.graph.node
        if n.op_type == "QuantizeLinear" and n.name[-1] != "0"
    )
    before = run_source(source, inputs, [middle, out])
    after = run_source(found.model, inputs, [middle, out])
    assert np.array_equal(before[0], after[0])
    # scales are rounded to float32, which may tip a value that lies halfway between two steps
    assert np.mean(before[1] != after[1]) < 0.01
    assert left_float(found.model) == ()


def test_scales_per_channel_before_a_mixing_conv_are_refused_and_joined_with_leave():
    source = channelwise(reader="conv")
    with pytest.raises(UnsupportedOpError, match="per-channel quantization of an activation"):
        normalize_qdq(source)
    (change,) = normalize_qdq(source, requantize=True).requantized
    assert change.before is not None
    assert change.after is not None
    # 255 steps of the coarsest channel, zero at the lower end
    assert change.after.scales.tolist() == [np.float32(0.03)]
    assert change.after.zeros.tolist() == [-128]
    real = np.full((1, 3, 2, 2), 0.0318, np.float32)
    loss = change.loss_on([real])
    # the finest channel held 0.032, the common scale holds 0.03
    assert loss.max_abs == pytest.approx(0.002, rel=1e-4)
    assert loss.mean_square == pytest.approx(0.002**2 / 3, rel=1e-4)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(1e-4, 10), st.integers(-128, 127)), min_size=1, max_size=4))
def test_a_covering_scale_reaches_every_value_and_keeps_zero(parts):
    schemes = [
        Scheme(np.asarray([scale], np.float32), np.asarray([zero], np.int32), 0, ir.DataType.INT8)
        for scale, zero in parts
    ]
    wide = covering(*schemes)
    low, high = (wide.dequantize(np.asarray([q]))[0] for q in (-128, 127))
    step = float(wide.scales[0])
    assert wide.dequantize(wide.zeros).tolist() == [0.0]
    for scheme in schemes:
        ends = scheme.dequantize(np.asarray([-128, 127]))
        assert low - step <= ends[0]
        assert ends[1] <= high + step


def test_a_moved_value_stays_integer(run_source):
    graph = Graph(1, 2, 1, 1)
    flat = graph.add("Reshape", graph.pair("x", 0.1, np.int8(3)), np.asarray([1, 2]))
    y = graph.add("Gemm", flat, graph.real(np.ones((3, 2), np.int8), 0.1, np.int8(0)), transB=1)
    source = graph.model(graph.pair(y, 0.1, np.int8(0)))
    found = normalize_qdq(source)
    assert left_float(found.model) == ()
    assert same(source, found.model, run_source, 1, 2, 1, 1)


def test_a_concat_of_unequal_parts_stays_float_unless_it_may_be_rounded(run_source):
    graph = Graph(1, 2, 3, 3)
    parts = [graph.pair("x", scale, np.int8(0)) for scale in (0.1, 0.03)]
    y = graph.add("Add", graph.add("Concat", *parts, axis=1), np.float32(1))
    source = graph.model(y)
    kept = normalize_qdq(source)
    assert left_float(kept.model)[0].startswith("Concat")
    assert same(source, kept.model, run_source, 1, 2, 3, 3)
    (change,) = normalize_qdq(source, requantize=True).requantized
    assert change.tensor.startswith("Concat")
    assert change.after is not None
    assert change.after.scales.tolist() == [np.float32(0.1)]


def test_a_bias_too_large_for_its_scale_still_comes_out(run_source, run_lowered):
    """A channel that training switched off: no weights to speak of, a bias of its own."""
    weights = np.asarray([[[[3]]], [[[100]]]], np.int8)
    source = conv(weights, [1e-12, 0.01], np.zeros(2, np.int8), axis=0, bias=[2.0, -1.0])
    found = normalize_qdq(source)
    assert [note.name for note in found.applied] == ["fit_biases"]
    x = [np.random.default_rng(3).standard_normal((1, 1, 4, 4)).astype(np.float32)]
    wanted = run_source(source, x)[0]
    assert np.allclose(run_lowered(found.model, x).transpose(0, 3, 1, 2), wanted, atol=0.1001)
    assert wanted[0, 0].tolist() == np.full((4, 4), 2.0, np.float32).tolist()


def test_quantized_constants_that_are_no_operands_become_reals(run_source):
    graph = Graph(1, 2, 3, 3)
    constant = graph.real(
        np.asarray([[[[5]], [[7]]]], np.int8), [0.1, 0.2], np.zeros(2, np.int8), axis=1
    )
    source = graph.model(graph.add("Add", graph.pair("x", 0.1, np.int8(0)), constant))
    found = normalize_qdq(source)
    assert [note.name for note in found.applied] == ["decode_constants"]
    assert same(source, found.model, run_source, 1, 2, 3, 3)
