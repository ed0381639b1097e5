"""A program as ``.tflite`` bytes: the only module that touches the schema bindings.

Equal programs give equal bytes. Constant data is stored once per distinct content and aligned to
16 bytes, as the schema asks (``force_align``) and as kernels that read it in place expect; the
generated bindings leave that to the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ghostedge_convert.lower.program import BUILTINS, Op, Program, Quant, Tensor

SCHEMA_VERSION = 3
FILE_IDENTIFIER = b"TFL3"
BUFFER_ALIGNMENT = 16
OLD_CODE_LIMIT = 127  # Builtin codes above it do not fit the schema's first, 8-bit code field.
SIGNATURE_KEY = "serving_default"
MIN_RUNTIME_KEY = "min_runtime_version"
MIN_RUNTIME_VERSION = "2.14.0"

_TENSOR_TYPES: dict[str, int] = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
}
_OPTION_WORDS: dict[str, dict[str, int]] = {
    "fusedActivationFunction": {
        "NONE": schema.ActivationFunctionType.NONE,
        "RELU": schema.ActivationFunctionType.RELU,
        "RELU6": schema.ActivationFunctionType.RELU6,
        "RELU_N1_TO_1": schema.ActivationFunctionType.RELU_N1_TO_1,
    },
    "padding": {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID},
    "inDataType": _TENSOR_TYPES,
    "outDataType": _TENSOR_TYPES,
    "outputType": _TENSOR_TYPES,
    "mode": {"REFLECT": schema.MirrorPadMode.REFLECT, "SYMMETRIC": schema.MirrorPadMode.SYMMETRIC},
}


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # the bindings carry no types
    """A buffer whose data starts at a multiple of 16 bytes in the file."""

    def Pack(self, builder: Any) -> int:  # noqa: N802 - the bindings' own name
        if self.data is not None:
            builder.Prep(BUFFER_ALIGNMENT, len(self.data))
            offset = builder.CreateByteVector(self.data)
        schema.BufferStart(builder)
        if self.data is not None:
            schema.BufferAddData(builder, offset)
        return int(schema.BufferEnd(builder))


class _Buffers:
    """Constant data, each distinct content once; buffer 0 is empty by convention."""

    def __init__(self) -> None:
        self._index: dict[bytes, int] = {}

    def add(self, data: bytes) -> int:
        return self._index.setdefault(data, len(self._index) + 1)

    def pack(self) -> list[Any]:
        buffers = [schema.BufferT()]
        for data in self._index:
            buffer = _AlignedBuffer()
            buffer.data = data
            buffers.append(buffer)
        return buffers


def to_bytes(program: Program, *, metadata: Mapping[str, bytes]) -> bytes:
    """Serialise a program.

    Args:
        program: The graph.
        metadata: Extra metadata buffers by name.

    Returns:
        The contents of a ``.tflite`` file.
    """
    buffers = _Buffers()
    codes: dict[tuple[str, int], int] = {}
    for op in program.ops:
        codes.setdefault((op.builtin, op.version), len(codes))
    graph = schema.SubGraphT()
    graph.name = program.name
    graph.tensors = [_tensor(t, buffers) for t in program.tensors]
    graph.inputs = list(program.inputs.values())
    graph.outputs = list(program.outputs.values())
    graph.operators = [_operator(op, codes) for op in program.ops]

    model = schema.ModelT()
    model.version = SCHEMA_VERSION
    model.description = "ghostedge"
    model.operatorCodes = [_code(*code) for code in codes]
    model.subgraphs = [graph]
    model.signatureDefs = [_signature(program)]
    version = MIN_RUNTIME_VERSION.encode().ljust(16, b"\0")
    model.metadata = [
        _metadata(name, buffers.add(data))
        for name, data in {MIN_RUNTIME_KEY: version, **metadata}.items()
    ]
    model.buffers = buffers.pack()
    builder = flatbuffers.Builder(sum(len(b.data) for b in model.buffers if b.data) + (1 << 16))
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _tensor(tensor: Tensor, buffers: _Buffers) -> Any:
    packed = schema.TensorT()
    packed.name = tensor.name
    packed.shape = list(tensor.shape)
    packed.type = _TENSOR_TYPES[tensor.dtype.name]
    packed.hasRank = True
    packed.buffer = 0
    if tensor.data is not None:
        packed.buffer = buffers.add(np.ascontiguousarray(tensor.data).tobytes())
    if tensor.quant is not None:
        packed.quantization = _quantization(tensor.quant)
    return packed


def _quantization(quant: Quant) -> Any:
    packed = schema.QuantizationParametersT()
    # As arrays: the bindings pack lists value by value, which takes most of the time.
    packed.scale = np.asarray(quant.scales, np.float32)
    packed.zeroPoint = np.asarray(quant.zero_points, np.int64)
    packed.quantizedDimension = quant.axis
    return packed


def _code(builtin: str, version: int) -> Any:
    packed = schema.OperatorCodeT()
    packed.builtinCode = getattr(schema.BuiltinOperator, builtin)
    packed.deprecatedBuiltinCode = min(packed.builtinCode, OLD_CODE_LIMIT)
    packed.version = version
    return packed


def _operator(op: Op, codes: Mapping[tuple[str, int], int]) -> Any:
    packed = schema.OperatorT()
    packed.opcodeIndex = codes[op.builtin, op.version]
    packed.inputs = list(op.inputs)
    packed.outputs = list(op.outputs)
    name = BUILTINS[op.builtin].options
    if name is not None:
        packed.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        packed.builtinOptions = getattr(schema, f"{name}T")()
        for key, value in op.options.items():
            words = _OPTION_WORDS.get(key)
            setattr(packed.builtinOptions, key, value if words is None else words[value])
    return packed


def _signature(program: Program) -> Any:
    packed = schema.SignatureDefT()
    packed.signatureKey = SIGNATURE_KEY
    packed.subgraphIndex = 0
    packed.inputs = [_tensor_map(*item) for item in program.inputs.items()]
    packed.outputs = [_tensor_map(*item) for item in program.outputs.items()]
    return packed


def _tensor_map(name: str, index: int) -> Any:
    packed = schema.TensorMapT()
    packed.name = name
    packed.tensorIndex = index
    return packed


def _metadata(name: str, buffer: int) -> Any:
    packed = schema.MetadataT()
    packed.name = name
    packed.buffer = buffer
    return packed
