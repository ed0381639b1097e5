"""Which kernel runs each operator of ONNX, in float and in int8?

Every operator of the lowering table stands in a small network, behind a convolution as it does in a
real one. The network is lowered as it is and quantized, and LiteRT is asked which of the file's
operators XNNPACK took.

Output: rows of the table in ``docs/operators.md``, and as the last line one JSON object::

    operators.OP.float    "XNNPACK", "none" (no operator is written, it is part of another or of how
                          values lie in memory), or "LiteRT: " and what XNNPACK does not have
    operators.OP.int8     the same; "float" where the operator stays float between conversions

``tests/docs/test_operators.py`` holds the document to it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ghostedge_convert import lower_to_tflite
from ghostedge_convert.lower.table import TABLE
from ghostedge_quantize import Range, Ranges, quantize
from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.plan import make_plan
from ghostedge_runtime import Model

OPSET = 20
CHANNELS, SIDE = 4, 8
NEWER = {"Attention": 23, "GroupNormalization": 21, "Swish": 24}
"""Operators, or forms of them, that came later."""

RANKING = frozenset({"ArgMax", "ArgMin"})
"""Read int8 as it is: integers rank as their reals do."""

PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Measured with every other operator: they are what int8 is written with."""


@dataclass(frozen=True)
class Example:
    """How an operator is used.

    Attributes:
        operands: What it reads besides its input; arrays, or ``"x"`` for the input once more.
        attributes: Its attributes.
        source: The input: an ``image`` behind a convolution, a ``row`` of features of it, or what a
            comparison makes of the image: a ``mask``.
        outputs: How many it has.
    """

    operands: tuple[Any, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    source: str = "image"
    outputs: int = 1


def _of(*operands: Any, source: str = "image", outputs: int = 1, **attributes: Any) -> Example:
    return Example(operands, attributes, source, outputs)


def _reals(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).uniform(0.5, 1, shape).astype(np.float32)


def _whole(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


_CHANNELS = _reals(CHANNELS)
_SHAPE = (1, CHANNELS, SIDE, SIDE)
_PARAMETERS = (_CHANNELS, _CHANNELS)
_OVER_CHANNELS = _of(_whole(1))
_WINDOW = _of(kernel_shape=[2, 2], strides=[2, 2])
_REDUCTIONS = [op for op in TABLE if op.startswith("Reduce")]
_PLAIN = _of()

EXAMPLES: dict[str, Example] = {
    **dict.fromkeys(_REDUCTIONS, _OVER_CHANNELS),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _of("x")),
    **dict.fromkeys(("And", "Or", "Xor"), _of("x", source="mask")),
    **dict.fromkeys(
        ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min"),
        _of(np.float32(0.5)),
    ),
    **dict.fromkeys(("ArgMax", "ArgMin"), _of(axis=1, keepdims=0)),
    "Attention": _of("x", "x"),
    "AveragePool": _WINDOW,
    "BatchNormalization": _of(*_PARAMETERS, _CHANNELS, _CHANNELS),
    "Cast": _of(to=TensorProto.FLOAT, source="mask"),
    "Clip": _of(np.float32(0), np.float32(6)),
    "Concat": _of("x", axis=1),
    "Conv": _of(_reals(CHANNELS, CHANNELS, 3, 3)),
    "ConvTranspose": _of(_reals(CHANNELS, CHANNELS, 2, 2), strides=[2, 2]),
    "CumSum": _of(_whole(1)),
    "DepthToSpace": _of(blocksize=2),
    "Einsum": _of("x", equation="nchw,ndhw->ncd"),
    "Expand": _of(_whole(2, *_SHAPE[1:])),
    "Gather": _of(_whole(0, 2), axis=1),
    "GatherND": _of(_whole(0).reshape(1, 1)),
    "Gemm": _of(_reals(3, CHANNELS), _reals(3), source="row", transB=1),
    "GroupNormalization": _of(*_PARAMETERS, num_groups=2),
    "InstanceNormalization": _of(*_PARAMETERS),
    "LayerNormalization": _of(_reals(SIDE), _reals(SIDE)),
    "MatMul": _of("x"),
    "MaxPool": _WINDOW,
    "Not": _of(source="mask"),
    "PRelu": _of(_reals(CHANNELS, 1, 1)),
    "Pad": _of(_whole(0, 0, 1, 1, 0, 0, 1, 1)),
    "Pow": _of(np.float32(2)),
    "Reshape": _of(_whole(1, -1)),
    "Resize": _of("", _reals(0), _whole(*_SHAPE[:2], 16, 16), mode="linear"),
    "ScatterND": _of(_whole(0).reshape(1, 1), _reals(*_SHAPE)),
    "Slice": _of(_whole(0), _whole(2), _whole(1)),
    "SpaceToDepth": _of(blocksize=2),
    "Split": _of(axis=1, num_outputs=2, outputs=2),
    "Squeeze": _of(_whole(0)),
    "Tile": _of(_whole(1, 2, 1, 1)),
    "TopK": _of(_whole(2), axis=1, outputs=2),
    "Transpose": _of(perm=[0, 2, 3, 1]),
    "Unsqueeze": _of(_whole(0)),
    "Where": _of(_reals(1, 1, SIDE, SIDE) > 0.75, "x", np.float32(0)),
}


@dataclass(frozen=True)
class Kernels:
    """What runs an operator, in float and in int8."""

    float: str
    int8: str


def measure(op: str) -> Kernels:
    """Lower an operator's example both ways and look at what XNNPACK took."""
    if op in PAIRS:
        return Kernels("XNNPACK", "XNNPACK")
    model = network(op)
    plain = _kernel(model)
    return Kernels(plain, plain if plain == "none" else _int8(op, model))


def network(op: str) -> onnx.ModelProto:
    """The example of an operator; a node called ``op`` is the last."""
    example = EXAMPLES.get(op, _PLAIN)
    constants = [numpy_helper.from_array(_reals(CHANNELS, CHANNELS, 1, 1), "weights")]
    nodes = [helper.make_node("Conv", ["input", "weights"], ["image"])]
    if example.source == "row":
        nodes.append(helper.make_node("GlobalAveragePool", ["image"], ["mean"]))
        nodes.append(helper.make_node("Flatten", ["mean"], ["row"]))
    if example.source == "mask":
        constants.append(numpy_helper.from_array(np.float32(0.5), "half"))
        nodes.append(helper.make_node("Greater", ["image", "half"], ["mask"]))
    read = [] if op == "Where" else [example.source]
    for number, operand in enumerate(example.operands):
        if isinstance(operand, str):
            read.append(example.source if operand == "x" else operand)
        else:
            read.append(f"operand_{number}")
            constants.append(numpy_helper.from_array(np.asarray(operand), read[-1]))
    outputs = [f"output_{number}" for number in range(example.outputs)]
    nodes.append(helper.make_node(op, read, outputs, "op", **example.attributes))
    return _model(op, nodes, outputs, constants)


def _model(
    op: str, nodes: list[onnx.NodeProto], outputs: list[str], constants: list[onnx.TensorProto]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        op,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, _SHAPE)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        constants,
    )
    opsets = [helper.make_opsetid("", NEWER.get(op, OPSET))]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model)
    for output in inferred.graph.output:
        if not output.type.tensor_type.HasField("shape"):  # onnx infers none for a group norm
            output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, _SHAPE))
    return inferred


def _int8(op: str, model: onnx.ModelProto) -> str:
    graph = canonical_ir(model)
    plan = make_plan(graph.graph)
    if "op" not in plan.nodes and op not in RANKING:
        return "float"
    ranges = Ranges("minmax", 1, dict.fromkeys(plan.measured, Range(-4.0, 4.0)))
    return _kernel(quantize(model, ranges, preprocessing=None))


def _kernel(model: onnx.ModelProto) -> str:
    """What XNNPACK left of a network, but for what makes the operator's input."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "op.tflite"
        path.write_bytes(lower_to_tflite(model).data)
        with Model(path) as opened:
            delegation = opened.delegation
    if delegation is None:
        raise RuntimeError("this interpreter does not tell what was delegated")
    own = {"Greater": "GREATER"}.get(model.graph.node[1].op_type)
    left = [op for op in delegation.left if op != own or len(model.graph.node) == 2]
    if delegation.ops_total == 1:
        return "none"
    return f"LiteRT: {', '.join(left)}" if left else "XNNPACK"


def main() -> None:
    """Measure all operators."""
    measured = {op: measure(op) for op in sorted(TABLE)}
    for op, kernels in measured.items():
        print(f"| {op} | {kernels.float} | {kernels.int8} |")
    print(json.dumps({"operators": {op: vars(kernels) for op, kernels in measured.items()}}))


if __name__ == "__main__":
    main()
