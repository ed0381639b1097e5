"""Inspect a ``.tflite`` through the official flatbuffer schema; runs on the base install."""

from __future__ import annotations

import json
import struct
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ghostedge.formats.format import Inspection, OpCount, digest
from ghostedge.records.manifest import TensorSignature
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.tflite_metadata import read_tflite_metadata

_IDENTIFIER = b"TFL3"


def _names(enum: type[Any]) -> dict[int, str]:
    return {code: name for name, code in vars(enum).items() if not name.startswith("_")}


_OPS = _names(schema.BuiltinOperator)
_TYPES = {code: name.lower() for code, name in _names(schema.TensorType).items()}
# Place of the weights among an op's inputs.
_WEIGHTED = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}


def inspect_tflite(path: Path) -> Inspection:
    """Read the graph, the sizes and the metadata of a TFLite file.

    Raises:
        ModelFileError: It is not a TFLite file, or damaged.
    """
    data = path.read_bytes()
    if data[4:8] != _IDENTIFIER:
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
    # What the generated reader raises on a damaged file: an offset outside the bytes, a wrong
    # kind of table, text that is not UTF-8, a list that is missing.
    except (struct.error, IndexError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise ModelFileError(
            f"its graph cannot be read ({type(error).__name__}: {error})",
            where=path,
            remedy="the file is damaged or cut short: copy or convert it again",
        ) from error


def _count_ops(model: Any, graph: Any) -> tuple[OpCount, ...]:
    counts: Counter[str] = Counter()
    int8: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    for op in graph.operators:
        name = _op_name(model, op)
        counts[name] += 1
        int8[name] += graph.tensors[op.outputs[0]].type == schema.TensorType.INT8
        macs[name] += _macs(name, op, graph)
    return tuple(
        OpCount(name, count, int8[name], macs[name]) for name, count in counts.most_common()
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
    """Elements of the tensors that hold weights and biases."""
    held: set[int] = set()
    for op in graph.operators:
        if _op_name(model, op) in _WEIGHTED:
            held.update(int(i) for i in op.inputs[1:] if i >= 0)
    return sum(prod(int(size) for size in graph.tensors[i].shape) for i in held)


def _facts(model: Any, graph: Any) -> dict[str, str]:
    description = model.description or b""
    return {
        "producer": description.decode("utf-8", "replace") or "not stated",
        "tensors": str(len(graph.tensors)),
        "subgraphs": str(len(model.subgraphs)),
    }


def _signature(tensor: Any) -> TensorSignature:
    quantization = tensor.quantization
    scale = zero_point = None
    if quantization is not None and quantization.scale is not None:
        scale = float(np.asarray(quantization.scale)[0])
        zero_point = int(np.asarray(quantization.zeroPoint)[0])
    shape = tuple(int(size) for size in tensor.shape)
    return TensorSignature(
        tensor.name.decode("utf-8", "replace"), _TYPES[tensor.type], shape, scale, zero_point
    )
