"""Tiny models whose answers can be worked out by hand.

All of them average an image over its pixels and multiply by a weight row per class, so a class's
logit is ten times the mean of one colour channel: a red image is ``red``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as tfl

from ghostedge_runtime.metadata import (
    METADATA_KEY,
    InputSpec,
    ModelMetadata,
    Preprocessing,
)

LABELS = ("red", "green", "blue")
PREPROCESSING = Preprocessing(
    input_size=(8, 8), crop_pct=1.0, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
)
OUTPUT_SCALE, OUTPUT_ZERO_POINT = 0.05, -100


def describe(dtype: str, layout: str = "NHWC", **changes: Any) -> ModelMetadata:
    fields: dict[str, Any] = {
        "preprocessing": PREPROCESSING,
        "input": InputSpec(layout, dtype, normalized=dtype == "float32"),
        "labels": LABELS,
    }
    return ModelMetadata(**{**fields, **changes})


@dataclass
class _Graph:
    """A TFLite model in the making: tensors, buffers and operators by index."""

    model: tfl.ModelT
    graph: tfl.SubGraphT

    @classmethod
    def empty(cls) -> _Graph:
        model, graph = tfl.ModelT(), tfl.SubGraphT()
        model.version, model.buffers, model.operatorCodes = 3, [tfl.BufferT()], []
        graph.tensors, graph.operators, model.subgraphs = [], [], [graph]
        return cls(model, graph)

    def buffer(self, data: bytes) -> int:
        self.model.buffers.append(tfl.BufferT())
        self.model.buffers[-1].data = np.frombuffer(data, np.uint8)
        return len(self.model.buffers) - 1

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: int,
        quantization: tuple[float, int] | None = None,
        value: np.ndarray | None = None,
    ) -> int:
        tensor = tfl.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), dtype
        tensor.buffer = 0 if value is None else self.buffer(value.tobytes())
        if quantization is not None:
            tensor.quantization = tfl.QuantizationParametersT()
            tensor.quantization.scale = [quantization[0]]
            tensor.quantization.zeroPoint = [quantization[1]]
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def op(self, name: str, version: int, inputs: list[int], output: int, **options: Any) -> None:
        code = tfl.OperatorCodeT()
        code.builtinCode = getattr(tfl.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = code.builtinCode, version
        self.model.operatorCodes.append(code)
        operator = tfl.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, [output]
        for kind, values in options.items():
            operator.builtinOptionsType = getattr(tfl.BuiltinOptions, kind)
            operator.builtinOptions = getattr(tfl, kind + "T")()
            for key, value in values.items():
                setattr(operator.builtinOptions, key, value)
        self.graph.operators.append(operator)

    def finish(self, inputs: list[int], outputs: list[int], metadata: str | None) -> bytes:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        if metadata is not None:
            entry = tfl.MetadataT()
            entry.name, entry.buffer = METADATA_KEY, self.buffer(metadata.encode())
            self.model.metadata = [entry]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _float_tflite(graph: _Graph, batch: int, columns: int = 3) -> tuple[int, list[int]]:
    f32 = tfl.TensorType.FLOAT32
    image = graph.tensor("input", (batch, 8, 8, 3), f32)
    mean = graph.tensor("mean", (batch, 3), f32)
    axes = graph.tensor("axes", (2,), tfl.TensorType.INT32, value=np.array([1, 2], np.int32))
    rows = 10 * np.eye(columns, 3, dtype=np.float32)
    weights = graph.tensor("weights", (columns, 3), f32, value=rows)
    logits = graph.tensor("logits", (batch, columns), f32)
    graph.op("MEAN", 1, [image, axes], mean, ReducerOptions={"keepDims": False})
    graph.op("FULLY_CONNECTED", 1, [mean, weights, -1], logits, FullyConnectedOptions={})
    return image, [logits, mean]


def _int8_tflite(graph: _Graph, batch: int) -> tuple[int, list[int]]:
    i8 = tfl.TensorType.INT8
    pixel, output = (1 / 255, -128), (OUTPUT_SCALE, OUTPUT_ZERO_POINT)
    image = graph.tensor("image", (batch, 8, 8, 3), tfl.TensorType.UINT8, (1 / 255, 0))
    quantized = graph.tensor("quantized", (batch, 8, 8, 3), i8, pixel)
    mean = graph.tensor("mean", (batch, 3), i8, pixel)
    axes = graph.tensor("axes", (2,), tfl.TensorType.INT32, value=np.array([1, 2], np.int32))
    weights = graph.tensor("weights", (3, 3), i8, (0.1, 0), 100 * np.eye(3, dtype=np.int8))
    bias_scale = (0.1 / 255, 0)
    bias = graph.tensor("bias", (3,), tfl.TensorType.INT32, bias_scale, value=np.zeros(3, np.int32))
    scores = graph.tensor("scores", (batch, 3), i8, output)
    logits = graph.tensor("logits", (batch, 3), tfl.TensorType.FLOAT32)
    graph.op("QUANTIZE", 1, [image], quantized, QuantizeOptions={})
    graph.op("MEAN", 2, [quantized, axes], mean, ReducerOptions={"keepDims": False})
    graph.op("FULLY_CONNECTED", 4, [mean, weights, bias], scores, FullyConnectedOptions={})
    graph.op("DEQUANTIZE", 2, [scores], logits, DequantizeOptions={})
    return image, [logits, scores]


def tflite_bytes(
    dtype: str = "uint8",
    *,
    batch: int = 1,
    outputs: slice = slice(0, 1),
    columns: int = 3,
    metadata: ModelMetadata | str | None = None,
) -> bytes:
    """A colour classifier: uint8 outputs are (float logits, int8 logits), float (logits, mean).

    With ``columns`` below three a float one scores the first of the colours alone.
    """
    graph = _Graph.empty()
    make = _int8_tflite if dtype == "uint8" else partial(_float_tflite, columns=columns)
    image, ends = make(graph, batch)
    document = metadata.to_json() if isinstance(metadata, ModelMetadata) else metadata
    return graph.finish([image], ends[outputs], document)


def onnx_bytes(
    *, batch: int | str = 1, int8_output: bool = False, metadata: ModelMetadata | None = None
) -> bytes:
    """The float colour classifier over NCHW."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights"], ["logits"]),
    ]
    constants = {"weights": 10 * np.eye(3, dtype=np.float32)}
    end = ("logits", onnx.TensorProto.FLOAT)
    if int8_output:
        nodes.append(helper.make_node("QuantizeLinear", ["logits", "scale", "zero"], ["scores"]))
        constants["scale"] = np.array(OUTPUT_SCALE, np.float32)
        constants["zero"] = np.array(OUTPUT_ZERO_POINT, np.int8)
        end = ("scores", onnx.TensorProto.INT8)
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info(*end, [batch, 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    if metadata is not None:
        helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
    return bytes(model.SerializeToString())


Save = Callable[..., Path]


@pytest.fixture(scope="session")
def metadata_for() -> Callable[..., ModelMetadata]:
    """`describe`, for tests."""
    return describe


@pytest.fixture
def graph() -> _Graph:
    """An empty TFLite model to add tensors and operators to."""
    return _Graph.empty()


@pytest.fixture(scope="session")
def glyphs_int8() -> Path:
    """The bundled GhostNet 0.5x, int8, as `ghostedge convert` wrote it."""
    return Path(__file__).parents[2] / "examples" / "glyphs" / "ghostnet_050_glyphs_int8.tflite"


@pytest.fixture(scope="session")
def make_tflite() -> Callable[..., bytes]:
    """`tflite_bytes`, for tests."""
    return tflite_bytes


@pytest.fixture(scope="session")
def int8_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """uint8 NHWC in, float32 logits out, with metadata."""
    path = tmp_path_factory.mktemp("models") / "int8.tflite"
    path.write_bytes(tflite_bytes(metadata=describe("uint8")))
    return path


@pytest.fixture(scope="session")
def float_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float32 NHWC in, normalised by the caller, with metadata."""
    path = tmp_path_factory.mktemp("models") / "float.tflite"
    path.write_bytes(tflite_bytes("float32", metadata=describe("float32")))
    return path


@pytest.fixture(scope="session")
def float_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float32 NCHW in, normalised by the caller, with metadata."""
    path = tmp_path_factory.mktemp("models") / "float.onnx"
    path.write_bytes(onnx_bytes(metadata=describe("float32", "NCHW")))
    return path


@pytest.fixture
def save_tflite(tmp_path: Path) -> Save:
    """Writes `tflite_bytes` of its arguments to a file."""

    def save(*args: Any, **kwargs: Any) -> Path:
        path = tmp_path / "model.tflite"
        path.write_bytes(tflite_bytes(*args, **kwargs))
        return path

    return save


@pytest.fixture
def save_onnx(tmp_path: Path) -> Save:
    """Writes `onnx_bytes` of its arguments to a file."""

    def save(**kwargs: Any) -> Path:
        path = tmp_path / "model.onnx"
        path.write_bytes(onnx_bytes(**kwargs))
        return path

    return save
