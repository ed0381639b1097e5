"""Models of other quantizers and QDQ graphs written node by node, and how to run both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

from ghostedge_convert import lower_to_tflite


@pytest.fixture(scope="session")
def samples() -> list[np.ndarray]:
    """64 inputs that no quantizer was calibrated on."""
    rng = np.random.default_rng(1)
    return [rng.standard_normal((1, 3, 32, 32)).astype(np.float32) for _ in range(64)]


def run_lowered(model: onnx.ModelProto, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """The first output of the lowered model over all inputs."""
    interpreter = _opened(model)
    image, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for x in inputs:
        interpreter.set_tensor(image["index"], np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
        interpreter.invoke()
        rows.append(interpreter.get_tensor(out["index"]).copy())
    return np.concatenate(rows)


def _opened(model: onnx.ModelProto) -> Interpreter:
    interpreter = Interpreter(model_content=lower_to_tflite(model).data, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def outside_xnnpack(model: onnx.ModelProto) -> set[str]:
    """The operators of the lowered model that the delegate leaves to LiteRT's own kernels."""
    interpreter = _opened(model)
    makers = {}
    for op in interpreter._get_ops_details():  # delegates come last and win
        makers.update(dict.fromkeys(map(int, op["outputs"]), op))
    wanted = [int(d["index"]) for d in interpreter.get_output_details()]
    names, seen = set(), set()
    while wanted:
        op = makers.get(wanted.pop())
        if op is not None and op["index"] not in seen:
            seen.add(op["index"])
            names.add(op["op_name"])
            wanted += map(int, op["inputs"])
    return names - {"DELEGATE"}


@pytest.fixture(scope="session", name="run_lowered")
def _run_lowered() -> Callable[..., np.ndarray]:
    return run_lowered


@pytest.fixture(scope="session", name="outside_xnnpack")
def _outside_xnnpack() -> Callable[[onnx.ModelProto], set[str]]:
    return outside_xnnpack


@pytest.fixture(scope="session")
def assert_lowers(samples, run_source) -> Callable[..., None]:
    """The lowered model puts the same class first as the source and stays within a few steps."""

    def check(
        source: onnx.ModelProto,
        normalized: onnx.ModelProto,
        inputs: Sequence[np.ndarray] | None = None,
        *,
        agreement: float = 1.0,
        share: float = 0.02,
    ) -> None:
        inputs = samples if inputs is None else inputs
        wanted = run_source(source, inputs)[0]
        got = run_lowered(normalized, inputs)
        assert np.mean(got.argmax(1) == wanted.argmax(1)) >= agreement
        assert np.abs(got - wanted).max() <= share * np.abs(wanted).max()

    return check


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


@pytest.fixture(scope="session")
def qdq_graph() -> type[Graph]:
    """Write a graph node by node."""
    return Graph


@pytest.fixture(scope="session")
def conv_model() -> Callable[..., onnx.ModelProto]:
    return conv


@pytest.fixture(scope="session", name="channelwise")
def _channelwise() -> Callable[..., onnx.ModelProto]:
    return channelwise


@pytest.fixture(scope="session")
def weights_of() -> Callable[[onnx.ModelProto], tuple[np.ndarray, np.ndarray]]:
    """The stored weights of the only Conv, and their scales."""

    def read(model: onnx.ModelProto) -> tuple[np.ndarray, np.ndarray]:
        constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        makers = {n.output[0]: n for n in model.graph.node}
        node = next(n for n in model.graph.node if n.op_type == "Conv")
        decoder = makers[node.input[1]]
        return constants[decoder.input[0]], constants[decoder.input[1]]

    return read


@pytest.fixture(scope="session")
def same_outputs(run_source) -> Callable[..., bool]:
    """Whether two models give the same bits on four random inputs of a shape."""

    def compare(a: onnx.ModelProto, b: onnx.ModelProto, *shape: int) -> bool:
        rng = np.random.default_rng(2)
        inputs = [rng.standard_normal(shape).astype(np.float32) for _ in range(4)]
        return bool(np.array_equal(run_source(a, inputs)[0], run_source(b, inputs)[0]))

    return compare
