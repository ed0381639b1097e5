"""``.tflite`` files: inspected, looked into, written.

The graph is read through the official flatbuffer schema. Inspecting and looking into a file run on
the base install, writing one needs the ``convert`` extra. To show inner tensors the interpreter
keeps every tensor and therefore computes with its own kernels instead of XNNPACK's: a code may
differ by one step from what the same file computes in use.
"""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ghostedge.formats.format import (
    Inspection,
    Kind,
    Layer,
    LayerReader,
    Layers,
    Maps,
    OpCount,
    Shape,
    Step,
    count_ops,
    digest,
    full_batch,
    image_input,
    layers_of,
    precision_of,
)
from ghostedge_runtime.errors import MissingDependencyError, ModelFileError
from ghostedge_runtime.formats.backend import Array, TensorInfo, inference_failed, model_io
from ghostedge_runtime.formats.loading import read_model_file
from ghostedge_runtime.formats.tflite.file import (
    check_structure,
    is_tflite,
    read_tflite_metadata,
)
from ghostedge_runtime.formats.tflite.interpreter import (
    TFLiteBackend,
    file_refused,
    find_interpreter,
)
from ghostedge_runtime.metadata import ModelMetadata, Preprocessing

if TYPE_CHECKING:
    import onnx

try:
    from ai_edge_litert import schema_py_generated as schema
except ImportError as error:
    raise MissingDependencyError(
        f"reading a .tflite's graph needs ai-edge-litert, which does not import ({error})",
        where="ghostedge",
        remedy="pip install ai-edge-litert",
    ) from error

# What the generated reader raises on a damaged file: an offset outside the bytes, a wrong kind of
# table, text that is not UTF-8, a list that is missing, an operator or type without a name.
_UNREADABLE = (struct.error, IndexError, TypeError, ValueError, AttributeError, KeyError)


def _names(enum: type[Any]) -> dict[int, str]:
    return {code: name for name, code in vars(enum).items() if not name.startswith("_")}


_OPS = _names(schema.BuiltinOperator)
_TYPES = {code: name.lower() for code, name in _names(schema.TensorType).items()}
# Place of the weights among an op's inputs.
_WEIGHTED = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}
_OP = schema.BuiltinOperator
_KINDS: dict[int, Kind] = {
    _OP.DEPTHWISE_CONV_2D: "depthwise",
    _OP.DEQUANTIZE: "dequantize",
    _OP.PAD: "relay",
    _OP.PADV2: "relay",
    _OP.RELU: "activation",
    _OP.RELU6: "activation",
    _OP.TRANSPOSE: "relay",
}
_CODED = "_quantized"
_CHANNELS = 3


def write_tflite(
    model: onnx.ModelProto, metadata: ModelMetadata, path: Path
) -> Mapping[str, tuple[int, ...]]:
    """Lower a graph and write it, with its input channels-last.

    Args:
        model: A float graph, or one in the QDQ format.
        metadata: The graph's; with a channels-last input they go into the file.
        path: Where to write.

    Returns:
        Where an output's axes stand in another order than in the graph:
        ``file = onnx.transpose(order)``.

    Raises:
        UnsupportedOpError: TFLite has no form for something in the graph.
    """
    from ghostedge_convert import lower_to_tflite  # noqa: PLC0415  # of the convert extra

    channels_last = replace(metadata, input=replace(metadata.input, layout="NHWC"))
    lowered = lower_to_tflite(model, metadata=channels_last)
    path.write_bytes(lowered.data)
    return lowered.output_layouts


def open_in_tflite(model: onnx.ModelProto, at_once: int) -> Sequence[TFLiteBackend]:
    """A graph lowered once and opened in so many interpreters, which run one image at a time."""
    from ghostedge_convert import lower_to_tflite  # noqa: PLC0415  # of the convert extra

    data = lower_to_tflite(model).data
    return [TFLiteBackend(data, threads=1, where=Path("graph")) for _ in range(at_once)]


def inspect_tflite(path: Path) -> Inspection:
    """Read the graph, the sizes and the metadata of a TFLite file.

    Raises:
        ModelFileError: It is not a TFLite file, or damaged.
    """
    data = path.read_bytes()
    if not is_tflite(data):
        raise ModelFileError(
            "it is not a TFLite file (no TFL3 mark at byte 4)",
            where=path,
            remedy="pass a .tflite, .onnx or checkpoint file",
        )
    metadata = read_tflite_metadata(data, str(path))
    try:
        model = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)
        graph = model.subgraphs[0]
        ops = _count_ops(model, graph)
        return Inspection(
            file=str(path),
            kind="tflite",
            bytes=len(data),
            sha256=digest(data),
            parameters=_parameters(model, graph),
            macs=sum(op.macs for op in ops),
            facts=_facts(model, graph),
            inputs=tuple(_signature(graph.tensors[i]) for i in graph.inputs),
            outputs=tuple(_signature(graph.tensors[i]) for i in graph.outputs),
            ops=ops,
            metadata=None if metadata is None else json.loads(metadata.to_json()),
        )
    except _UNREADABLE as error:
        raise ModelFileError(
            f"its graph cannot be read ({type(error).__name__}: {error})",
            where=path,
            remedy="the file is damaged or cut short: copy or convert it again",
        ) from error


def _count_ops(model: Any, graph: Any) -> tuple[OpCount, ...]:
    named = ((_op_name(model, op), op) for op in graph.operators)
    return count_ops(
        OpCount(
            name,
            count=1,
            int8=graph.tensors[op.outputs[0]].type == schema.TensorType.INT8,
            macs=_macs(name, op, graph),
        )
        for name, op in named
    )


def _op_name(model: Any, op: Any) -> str:
    """The operator's name; older writers put its code into the deprecated field alone."""
    code = model.operatorCodes[op.opcodeIndex]
    return _OPS[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _macs(name: str, op: Any, graph: Any) -> int:
    """Multiply-accumulates: for each output element, the weights that go into it."""
    if name not in _WEIGHTED:
        return 0
    weights = [int(size) for size in graph.tensors[op.inputs[_WEIGHTED[name]]].shape]
    outputs = prod(int(size) for size in graph.tensors[op.outputs[0]].shape)
    taps = weights[1] * weights[2] if name == "DEPTHWISE_CONV_2D" else prod(weights[1:])
    return outputs * taps


def _parameters(model: Any, graph: Any) -> int:
    """Elements of weights and biases; a bias of zeros stands for none."""
    held: set[int] = set()
    for op in graph.operators:
        if _op_name(model, op) in _WEIGHTED:
            held.update(int(i) for i in op.inputs[1:] if i >= 0)
    tensors = [graph.tensors[i] for i in held]
    return sum(prod(map(int, t.shape)) for t in tensors if len(t.shape) > 1 or _any(model, t))


def _any(model: Any, tensor: Any) -> bool:
    """Whether a number of a constant is not zero."""
    data = model.buffers[tensor.buffer].data
    return data is not None and bool(np.any(data))


def _facts(model: Any, graph: Any) -> dict[str, str]:
    description = model.description or b""
    return {
        "producer": description.decode("utf-8", "replace") or "not stated",
        "tensors": str(len(graph.tensors)),
        "subgraphs": str(len(model.subgraphs)),
    }


def _signature(tensor: Any) -> TensorInfo:
    quantization = tensor.quantization
    scale = zero_point = None
    if quantization is not None and quantization.scale is not None:
        scale = float(np.asarray(quantization.scale)[0])
        zero_point = int(np.asarray(quantization.zeroPoint)[0])
    shape = tuple(int(size) for size in tensor.shape)
    return TensorInfo(
        tensor.name.decode("utf-8", "replace"), shape, _TYPES[tensor.type], scale, zero_point
    )


def open_tflite(path: Path, preprocessing: Preprocessing | None) -> LayerReader:
    """Open a ``.tflite`` file.

    Args:
        path: The file.
        preprocessing: For a file that carries none.

    Raises:
        ModelFileError: It cannot be read or run, or takes no image.
        MissingDependencyError: No interpreter is installed.
    """
    data = read_model_file(path)
    metadata = read_tflite_metadata(data, path)
    check_structure(data, path)
    graph = _Graph(data, path)
    interpreter = _Interpreter(data, path)
    described, assumed, encode = image_input(metadata, interpreter.input, path, preprocessing)
    return LayerReader(
        path=path,
        sha256=digest(data),
        format="tflite",
        precision=precision_of(metadata, coded=graph.has_codes),
        metadata=described,
        assumed=assumed,
        layers=graph.layers(),
        encode=encode,
        read=interpreter.read,
    )


class _Graph:
    """The file's first graph, in steps; tensors go by their number, for names may repeat."""

    def __init__(self, data: bytes, path: Path) -> None:
        try:
            model = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)
            self._codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
            self._tensors = model.subgraphs[0].tensors
            self._operators = model.subgraphs[0].operators
            self._constants = [bool(len(b)) for b in (_bytes(b.data) for b in model.buffers)]
            self._steps = [step for op in self._operators for step in self._read(op)]
        except _UNREADABLE as error:
            raise ModelFileError(
                f"its graph cannot be read ({type(error).__name__}: {error})",
                where=path,
                remedy="the file is damaged or cut short: copy or convert it again",
            ) from error

    @property
    def has_codes(self) -> bool:
        """Whether a feature map is int8."""
        return any(self._is_coded(int(step.output)) for step in self._steps)

    def layers(self) -> Layers:
        """Its feature maps."""
        shapes = {str(i): s for i in range(len(self._tensors)) if (s := self._shape(i))}
        taken: set[str] = set()
        names = {}
        for key in shapes:
            name = self._name(int(key))
            names[key] = f"{name}#{key}" if name in taken else name
            taken.add(name)
        return layers_of(self._steps, shapes, names)

    def _read(self, op: Any) -> list[Step]:
        code = self._codes[op.opcodeIndex]
        inputs = [int(i) for i in op.inputs if i >= 0]
        inputs = [i for i in inputs if not self._constants[self._tensors[i].buffer]]
        kind: Kind = _KINDS.get(code, "other")
        if code == _OP.QUANTIZE:
            # From one scale to another nothing new is made; the layer is what came before.
            kind = "relay" if self._is_coded(inputs[0]) else "quantize"
        if code == _OP.CONCATENATION and op.builtinOptions.axis in (_CHANNELS, -1):
            kind = "concat"
        return [Step(kind, tuple(map(str, inputs)), str(int(output))) for output in op.outputs]

    def _shape(self, index: int) -> Shape | None:
        shape = self._tensors[index].shape
        if shape is None or len(shape) != 4:
            return None
        _, height, width, channels = (int(size) for size in shape)
        return channels, height, width

    def _name(self, index: int) -> str:
        """The tensor's name; without what `ghostedge convert` adds to a quantized tensor's."""
        name: str = (self._tensors[index].name or b"").decode("utf-8", "replace")
        return name.removesuffix(_CODED) if self._is_coded(index) else name

    def _is_coded(self, index: int) -> bool:
        return self._tensors[index].type in (schema.TensorType.INT8, schema.TensorType.UINT8)


def _bytes(data: Any) -> Any:
    return b"" if data is None else data


class _Interpreter:
    """A TFLite interpreter that keeps what it computes."""

    def __init__(self, data: bytes, path: Path) -> None:
        self._path = path
        self._name, version, interpreter_class = find_interpreter()
        try:
            with warnings.catch_warnings():  # that keeping every tensor takes memory
                warnings.simplefilter("ignore", UserWarning)
                self._interpreter = interpreter_class(
                    model_content=data, num_threads=1, experimental_preserve_all_tensors=True
                )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise file_refused(self._name, version, error, path) from error
        self._details = {d["index"]: d for d in self._interpreter.get_tensor_details()}
        inputs = [_info(detail) for detail in self._interpreter.get_input_details()]
        outputs = [_info(detail) for detail in self._interpreter.get_output_details()]
        self.input = model_io(inputs, outputs, path).input

    def read(self, batch: Array, layers: Sequence[Layer]) -> list[Maps]:
        """What the layers make of a batch, as `LayerReader.read` has it."""
        detail = self._interpreter.get_input_details()[0]
        try:
            self._interpreter.set_tensor(detail["index"], full_batch(batch, self.input.shape[0]))
            self._interpreter.invoke()
            return [self._real(int(layer.tensor)) for layer in layers]
        except (ValueError, RuntimeError) as error:
            raise inference_failed(self._name, error, self._path) from error

    def _real(self, index: int) -> Maps:
        values = self._interpreter.get_tensor(index)[0].transpose(2, 0, 1).astype(np.float32)
        scale, zero_point = self._details[index]["quantization"]
        if scale:
            values = (values - np.float32(zero_point)) * np.float32(scale)
        return np.ascontiguousarray(values)


def _info(detail: dict[str, Any]) -> TensorInfo:
    shape = tuple(int(size) for size in detail["shape"])
    return TensorInfo(detail["name"], shape, np.dtype(detail["dtype"]).name)
