"""TensorFlow's ops as ONNX, a row each; what is not here is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import tensorflow as tf

from ghostedge_convert.sources.keras.tf_images import IMAGE_TABLE, is_last
from ghostedge_convert.sources.keras.tf_shapes import SHAPE_TABLE
from ghostedge_convert.sources.keras.tf_writer import GraphWriter, TfOp, first_input


def _same(onnx_op: str) -> TfOp:
    """The same op under another name."""

    def write(graph: GraphWriter, op: Any) -> list[str]:
        return [graph.node(onnx_op, [graph.value(t) for t in op.inputs], op.name)]

    return TfOp(write)


def _through(graph: GraphWriter, op: Any) -> list[str]:
    return [graph.value(op.inputs[0])]


def _through_all(graph: GraphWriter, op: Any) -> list[str]:
    return [graph.value(tensor) for tensor in op.inputs]


def _const(graph: GraphWriter, op: Any) -> list[str]:
    return [graph.constant(tf.make_ndarray(op.get_attr("value")), op.name)]


def _cast(graph: GraphWriter, op: Any) -> list[str]:
    value = tf.get_static_value(op.outputs[0])
    if value is not None:
        return [graph.constant(np.asarray(value), op.name)]
    source, target = op.inputs[0].dtype, op.outputs[0].dtype
    if source.is_bool and target == tf.float32:
        return [graph.node("Cast", [graph.value(op.inputs[0])], op.name, to=onnx.TensorProto.FLOAT)]
    if not (source.is_floating and target.is_floating):
        graph.refuse(op, f"it casts {source.name} to {target.name}")
    return _through(graph, op)


def _bias_add(graph: GraphWriter, op: Any) -> list[str]:
    source, bias = (graph.value(t) for t in op.inputs)
    if not is_last(op):
        shape = np.array([-1, *[1] * (op.inputs[0].shape.rank - 2)])
        bias = graph.node("Reshape", [bias, graph.constant(shape, f"{op.name}/shape")], op.name)
    return [graph.node("Add", [source, bias], op.name)]


def _reduce(onnx_op: str) -> TfOp:
    def write(graph: GraphWriter, op: Any) -> list[str]:
        rank = op.inputs[0].shape.rank
        axes = sorted({int(a) % rank for a in np.ravel(graph.array(op.inputs[1]))})
        inputs = [graph.value(op.inputs[0]), graph.constant(np.array(axes), f"{op.name}/axes")]
        return [graph.node(onnx_op, inputs, op.name, keepdims=int(op.get_attr("keep_dims")))]

    return TfOp(write, first_input)


def _matmul(*flags: str) -> TfOp:
    """A product whose flags say which side to transpose first."""

    def write(graph: GraphWriter, op: Any) -> list[str]:
        inputs = []
        for tensor, flag in zip(op.inputs, flags, strict=True):
            name, axes = graph.value(tensor), list(range(tensor.shape.rank))
            perm = [*axes[:-2], axes[-1], axes[-2]]
            turn = op.get_attr(flag)
            inputs.append(graph.node("Transpose", [name], op.name, perm=perm) if turn else name)
        return [graph.node("MatMul", inputs, op.name)]

    return TfOp(write)


def _einsum(graph: GraphWriter, op: Any) -> list[str]:
    equation = op.get_attr("equation").decode()
    return [graph.node("Einsum", [graph.value(t) for t in op.inputs], op.name, equation=equation)]


def _relu6(graph: GraphWriter, op: Any) -> list[str]:
    return _clip(graph, op, graph.value(op.inputs[0]), 0.0, 6.0)


def _clip(
    graph: GraphWriter, op: Any, source: str, low: float | None, high: float | None
) -> list[str]:
    bounds = [
        "" if bound is None else graph.constant(np.float32(bound), f"{op.name}/{word}")
        for word, bound in (("min", low), ("max", high))
    ]
    return [graph.node("Clip", [source, *bounds], op.name)]


def _extreme(onnx_op: str) -> TfOp:
    """Minimum or Maximum; with a number it is a Clip, and one with each is one Clip."""

    def write(graph: GraphWriter, op: Any) -> list[str]:
        bounded = _bound(op)
        if bounded is None:
            return [graph.node(onnx_op, [graph.value(t) for t in op.inputs], op.name)]
        source, bounds = bounded[0], {op.type: bounded[1]}
        other = source.op.type
        inner = _bound(source.op) if other in ("Minimum", "Maximum") else None
        if inner is not None and other != op.type:
            source, bounds[other] = inner
        low, high = bounds.get("Maximum"), bounds.get("Minimum")
        if low is not None and high is not None and low > high:
            return [graph.node(onnx_op, [graph.value(t) for t in op.inputs], op.name)]
        return _clip(graph, op, graph.value(source), low, high)

    return TfOp(write)


def _bound(op: Any) -> tuple[Any, float] | None:
    """The tensor and the number that a Minimum or Maximum compares."""
    for tensor, other in (op.inputs, list(op.inputs)[::-1]):
        number = tf.get_static_value(other)
        if number is not None and np.size(number) == 1 and tensor.shape.rank:
            return tensor, float(np.ravel(number)[0])
    return None


def _leaky(graph: GraphWriter, op: Any) -> list[str]:
    alpha = float(op.get_attr("alpha"))
    return [graph.node("LeakyRelu", [graph.value(op.inputs[0])], op.name, alpha=alpha)]


def _softmax(graph: GraphWriter, op: Any) -> list[str]:
    return [graph.node("Softmax", [graph.value(op.inputs[0])], op.name, axis=-1)]


def _log_softmax(graph: GraphWriter, op: Any) -> list[str]:
    return [graph.node("LogSoftmax", [graph.value(op.inputs[0])], op.name, axis=-1)]


def _with_one(before: str | None, combine: str, after: str | None = None) -> TfOp:
    """``combine(before(x), 1)``, or of 1 and it where the op ends in a minus; then ``after``."""

    def write(graph: GraphWriter, op: Any) -> list[str]:
        value, one = graph.value(op.inputs[0]), graph.constant(np.float32(1), f"{op.name}/one")
        value = graph.node(before, [value], op.name) if before else value
        swapped = combine == "1 - "
        pair = [one, value] if swapped else [value, one]
        value = graph.node("Sub" if swapped else combine, pair, op.name)
        return [graph.node(after, [value], op.name) if after else value]

    return TfOp(write)


def _softsign(graph: GraphWriter, op: Any) -> list[str]:
    source, one = graph.value(op.inputs[0]), graph.constant(np.float32(1), f"{op.name}/one")
    size = graph.node("Abs", [source], op.name)
    return [graph.node("Div", [source, graph.node("Add", [size, one], op.name)], op.name)]


def _add_n(graph: GraphWriter, op: Any) -> list[str]:
    total = graph.value(op.inputs[0])
    for tensor in op.inputs[1:]:
        total = graph.node("Add", [total, graph.value(tensor)], op.name)
    return [total]


def _clip_by_value(graph: GraphWriter, op: Any) -> list[str]:
    low, high = (float(np.ravel(graph.array(t))[0]) for t in op.inputs[1:])
    return _clip(graph, op, graph.value(op.inputs[0]), low, high)


def _rsqrt(graph: GraphWriter, op: Any) -> list[str]:
    root = graph.node("Sqrt", [graph.value(op.inputs[0])], op.name)
    return [graph.node("Reciprocal", [root], op.name)]


def _square(graph: GraphWriter, op: Any) -> list[str]:
    source = graph.value(op.inputs[0])
    return [graph.node("Mul", [source, source], op.name)]


def _squared_difference(graph: GraphWriter, op: Any) -> list[str]:
    difference = graph.node("Sub", [graph.value(t) for t in op.inputs], op.name)
    return [graph.node("Mul", [difference, difference], op.name)]


_SAME_NAME = (
    *("Abs", "Ceil", "Cos", "Elu", "Equal", "Erf", "Exp", "Floor", "Greater", "Less", "Log", "Mul"),
    *("Neg", "Pow", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Sqrt"),
    *("Sub", "Tanh"),
)
_OTHER_NAME = {
    "Add": "Add",
    "AddV2": "Add",
    "GreaterEqual": "GreaterOrEqual",
    "Inv": "Reciprocal",
    "LessEqual": "LessOrEqual",
    "LogicalAnd": "And",
    "LogicalNot": "Not",
    "LogicalOr": "Or",
    "RealDiv": "Div",
    "Select": "Where",
    "SelectV2": "Where",
}

TABLE: dict[str, TfOp] = {
    **IMAGE_TABLE,
    **SHAPE_TABLE,
    **{op: TfOp(_through) for op in ("Identity", "StopGradient", "PreventGradient", "Snapshot")},
    **{op: _same(op) for op in _SAME_NAME},
    **{op: _same(onnx_op) for op, onnx_op in _OTHER_NAME.items()},
    "AddN": TfOp(_add_n),
    "BatchMatMulV2": _matmul("adj_x", "adj_y"),
    "BiasAdd": TfOp(_bias_add),
    "Cast": TfOp(_cast),
    "ClipByValue": TfOp(_clip_by_value, first_input),
    "Const": TfOp(_const, lambda _: ()),
    "Einsum": TfOp(_einsum),
    "Erfc": _with_one("Erf", "1 - "),
    "Expm1": _with_one("Exp", "Sub"),
    "IdentityN": TfOp(_through_all),
    "LeakyRelu": TfOp(_leaky),
    "Log1p": _with_one(None, "Add", "Log"),
    "LogSoftmax": TfOp(_log_softmax),
    "MatMul": _matmul("transpose_a", "transpose_b"),
    "Max": _reduce("ReduceMax"),
    "Maximum": _extreme("Max"),
    "Mean": _reduce("ReduceMean"),
    "Min": _reduce("ReduceMin"),
    "Minimum": _extreme("Min"),
    "Prod": _reduce("ReduceProd"),
    "Relu6": TfOp(_relu6),
    "Rsqrt": TfOp(_rsqrt),
    "Softmax": TfOp(_softmax),
    "Softsign": TfOp(_softsign),
    "Square": TfOp(_square),
    "SquaredDifference": TfOp(_squared_difference),
    "Sum": _reduce("ReduceSum"),
}
