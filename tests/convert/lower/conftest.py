"""One harness for every op: a small ONNX model, run by ONNX Runtime and by LiteRT, compared.

LiteRT runs it three times: with XNNPACK, with its optimised kernels, and with its reference
kernels. Inputs and outputs are transposed as the lowered model says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import TensorProto, helper, numpy_helper

from ghostedge_convert.lower import TFLiteModel, lower_to_tflite

OPSET = 18
KERNELS = {
    "xnnpack": OpResolverType.AUTO,
    "optimised": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
_TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.bool_): TensorProto.BOOL,
}


@dataclass
class Net:
    """Builds an ONNX model node by node; computed names are strings, arrays become constants."""

    inputs: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def input(self, shape: Sequence[int], name: str = "x", dtype: Any = np.float32) -> str:
        self.inputs[name] = (tuple(shape), np.dtype(dtype))
        return name

    def add(self, op: str, *operands: str | np.ndarray, outputs: int = 1, **attributes: Any) -> Any:
        number = len(self.nodes)
        names = [self._operand(o, f"{op}{number}_{i}") for i, o in enumerate(operands)]
        results = [f"{op}{number}_out{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, names, results, f"{op}{number}", **attributes))
        return results[0] if outputs == 1 else results

    def _operand(self, operand: str | np.ndarray, name: str) -> str:
        if isinstance(operand, str):
            return operand
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(operand), name))
        return name

    def quantize(self, x: str, scale: float, zero: int, dtype: Any = np.int8) -> str:
        """The integers of an activation."""
        return str(self.add("QuantizeLinear", x, np.float32(scale), np.asarray(zero, dtype)))

    def pair(self, x: str, scale: float, zero: int, dtype: Any = np.int8) -> str:
        """An activation through a QuantizeLinear and a DequantizeLinear."""
        stored = self.quantize(x, scale, zero, dtype)
        return self.real(stored, scale, zero, dtype)

    def real(self, stored: str, scale: float, zero: int, dtype: Any = np.int8) -> str:
        """The reals of integers."""
        parameters = np.float32(scale), np.asarray(zero, dtype)
        return str(self.add("DequantizeLinear", stored, *parameters))

    def weights(self, shape: Sequence[int], seed: int) -> tuple[str, np.ndarray]:
        """int8 weights quantized along axis 0, and their scales."""
        rng = np.random.default_rng(seed)
        stored = rng.integers(-127, 128, shape, np.int8)
        scales = rng.uniform(0.5, 2.0, shape[0]).astype(np.float32) / np.float32(127)
        zeros = np.zeros(shape[0], np.int8)
        return self.add("DequantizeLinear", stored, scales, zeros, axis=0), scales

    def bias(self, scales: np.ndarray, input_scale: float, seed: int) -> str:
        """An int32 bias of magnitude one."""
        steps = scales * np.float32(input_scale)
        real = np.random.default_rng(seed).standard_normal(scales.size)
        stored = np.rint(real / steps).astype(np.int32)
        return str(self.add("DequantizeLinear", stored, steps, axis=0))

    def quantized_result(self, y: str, seed: int) -> str:
        """Quantize a float result over the range it has for these inputs."""
        reals = run_onnx(self.model(y), self.feeds(seed))[0]
        low, high = min(0.0, float(reals.min())), max(0.0, float(reals.max()))
        scale = np.float32(max(high - low, 1e-3) / 255)
        return self.quantize(y, float(scale), int(np.rint(-128 - low / scale)))

    def model(self, *outputs: str, dtype: Any = np.float32, opset: int = OPSET) -> onnx.ModelProto:
        kind = _TYPES[np.dtype(dtype)]
        graph = helper.make_graph(
            self.nodes,
            "test",
            [helper.make_tensor_value_info(n, _TYPES[d], s) for n, (s, d) in self.inputs.items()],
            [helper.make_tensor_value_info(n, kind, None) for n in outputs],
            self.constants,
        )
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def feeds(self, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {n: _random(rng, s, d) for n, (s, d) in self.inputs.items()}


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    if dtype == np.float32:
        return rng.standard_normal(shape).astype(np.float32)
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def run_onnx(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(feeds)))


def open_tflite(data: bytes, kernels: str) -> Interpreter:
    interpreter = Interpreter(
        model_content=data, num_threads=1, experimental_op_resolver_type=KERNELS[kernels]
    )
    interpreter.allocate_tensors()
    return interpreter


def run_tflite(
    lowered: TFLiteModel, interpreter: Interpreter, feeds: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Run by the signature's names, in ONNX's axis order on both sides."""
    runner = interpreter.get_signature_runner("serving_default")
    laid_out = {n: np.transpose(v, lowered.input_layouts[n]) for n, v in feeds.items()}
    results = runner(**laid_out)
    return {
        name: results[name].transpose(np.argsort(order).tolist())
        for name, order in lowered.output_layouts.items()
    }


def ops_of(data: bytes) -> Counter[str]:
    """How often each operator occurs in a file."""
    interpreter = open_tflite(data, "optimised")
    return Counter(op["op_name"] for op in interpreter._get_ops_details())


def _agree(
    model: onnx.ModelProto,
    feeds: Mapping[str, np.ndarray],
    *,
    tolerance: float = 1e-5,
    steps: int = 1,
    without: Sequence[str] = (),
) -> Counter[str]:
    """Assert that LiteRT computes what ONNX Runtime does; the operators that it runs.

    Float outputs may differ by ``tolerance`` of their largest magnitude, int8 ones by ``steps``.
    LiteRT's reference kernels lack a few operators: ``without`` leaves these kernels out.
    """
    wanted = run_onnx(model, feeds)
    lowered = lower_to_tflite(model)
    for kernels in KERNELS.keys() - set(without):
        got = run_tflite(lowered, open_tflite(lowered.data, kernels), feeds)
        for output, want in zip(model.graph.output, wanted, strict=True):
            have = got[output.name]
            assert have.shape == want.shape, kernels
            assert have.dtype == want.dtype, kernels
            gap = np.abs(have.astype(np.float64) - want).max()
            allowed = tolerance * max(1.0, np.abs(want).max())
            assert gap <= (allowed if want.dtype == np.float32 else steps), kernels
    return ops_of(lowered.data)


def _left_outside_xnnpack(data: bytes) -> Counter[str]:
    """The operators that the delegate did not take, found by walking back from the outputs.

    The interpreter lists replaced operators too, so what runs is what the outputs depend on when
    delegates are preferred.
    """
    interpreter = open_tflite(data, "xnnpack")
    makers = {}
    for op in interpreter._get_ops_details():  # delegates come last and win
        makers.update(dict.fromkeys(map(int, op["outputs"]), op))
    outside: Counter[str] = Counter()
    wanted = [int(d["index"]) for d in interpreter.get_output_details()]
    seen: set[int] = set()
    while wanted:
        op = makers.get(wanted.pop())
        if op is None or op["index"] in seen:
            continue
        seen.add(op["index"])
        outside[op["op_name"]] += 1
        wanted += map(int, op["inputs"])
    assert outside.pop("DELEGATE", 0) <= 1
    return outside


@pytest.fixture(scope="session")
def agree() -> Callable[..., Counter[str]]:
    return _agree


@pytest.fixture(scope="session")
def net() -> type[Net]:
    return Net


@pytest.fixture(scope="session")
def ops() -> Callable[[bytes], Counter[str]]:
    return ops_of


@pytest.fixture(scope="session")
def left_outside_xnnpack() -> Callable[[bytes], Counter[str]]:
    return _left_outside_xnnpack


@pytest.fixture(scope="session", name="open_tflite")
def _open_tflite() -> Callable[[bytes, str], Interpreter]:
    return open_tflite


@pytest.fixture(scope="session", name="run_onnx")
def _run_onnx() -> Callable[..., list[np.ndarray]]:
    return run_onnx


@pytest.fixture(scope="session")
def tflite_logits(
    open_tflite: Callable[[bytes, str], Interpreter],
) -> Callable[[TFLiteModel, str, np.ndarray], np.ndarray]:
    """The logits of a batch of ONNX-ordered images, one image after the other."""

    def run(lowered: TFLiteModel, kernels: str, batch: np.ndarray) -> np.ndarray:
        interpreter = open_tflite(lowered.data, kernels)
        (order,) = lowered.input_layouts.values()
        source = interpreter.get_input_details()[0]["index"]
        target = interpreter.get_output_details()[0]["index"]
        rows = []
        for image in batch:
            interpreter.set_tensor(source, image[None].transpose(order))
            interpreter.invoke()
            rows.append(interpreter.get_tensor(target)[0])
        return np.stack(rows)

    return run
