"""ONNX protobuf → :class:`Graph`: static shapes, constants folded, nothing else changed.

Refused here: operator sets older than 13, dynamic dimensions, ops of other domains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference
from onnx.inliner import inline_local_functions
from onnx.reference import ReferenceEvaluator

from ghostedge_convert.lower.graph import DEQUANTIZE, Graph, Node, Value
from ghostedge_convert.lower.program import Array, Quant, Shape
from ghostedge_runtime.errors import ModelFileError, UnsupportedOpError

OLDEST_OPSET = 13
_ONNX_DOMAINS = ("", "ai.onnx")
_FIX_SHAPES = (
    "TFLite graphs are written with fixed shapes: export with a fixed batch and image size, "
    "or fix them with onnxruntime.tools.make_dynamic_shape_fixed"
)
_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_WEIGHTS = 1  # Their input position.


def read_graph(model: onnx.ModelProto) -> Graph:
    """Read a model into lowering's own graph.

    Args:
        model: A checked ONNX model with static input shapes.

    Raises:
        ModelFileError: The operator set is too old, or a shape is dynamic.
        UnsupportedOpError: A node belongs to another domain.
    """
    opset = _opset(model)
    if model.functions:
        model = inline_local_functions(model)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    inputs = tuple(i for i in model.graph.input if i.name not in constants)
    for value in inputs:
        _static_shape(value, "input")
    types = _infer(model)
    nodes = tuple(_node(n) for n in _fold_constants(model, types, constants, opset))
    used = {name for node in nodes for name in (*node.inputs, *node.outputs) if name}
    used.update(i.name for i in inputs)
    outputs = tuple(o.name for o in model.graph.output)
    for name in outputs:
        if name in constants:
            raise ModelFileError(
                "the output does not depend on the input",
                where=f"output {name!r}",
                remedy="remove this output from the model",
            )
    small = _stored_weights(model.graph.node, constants)
    values = {n: small.get(n) or _value(n, types, constants) for n in sorted(used)}
    return Graph(
        name=model.graph.name or "main",
        nodes=nodes,
        values=values,
        inputs=tuple(i.name for i in inputs),
        outputs=outputs,
    )


def _opset(model: onnx.ModelProto) -> int:
    versions = [o.version for o in model.opset_import if o.domain in _ONNX_DOMAINS]
    if not versions or versions[0] < OLDEST_OPSET:
        raise ModelFileError(
            f"its operator set is {versions[0] if versions else 'not stated'}, "
            f"older than {OLDEST_OPSET}",
            where="opset_import",
            remedy=f"export it again with opset {OLDEST_OPSET} or later, or run "
            f"onnx.version_converter.convert_version(model, {OLDEST_OPSET})",
        )
    return int(versions[0])


def _infer(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """The types of all values that onnx can infer."""
    try:
        inferred = shape_inference.infer_shapes(
            _inferable(model), strict_mode=True, data_prop=True
        ).graph
    except shape_inference.InferenceError as error:
        raise ModelFileError(
            f"its shapes contradict each other ({str(error).strip()})",
            where=f"graph {model.graph.name!r}",
            remedy="check the model with onnx.checker.check_model(model, full_check=True)",
        ) from error
    return {v.name: v for v in (*inferred.value_info, *inferred.input, *inferred.output)}


def _inferable(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with an Identity for each GroupNormalization, whose shape onnx does not infer."""
    if not any(node.op_type == "GroupNormalization" for node in model.graph.node):
        return model
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    for node in copied.graph.node:
        if node.op_type == "GroupNormalization":
            node.CopyFrom(onnx.helper.make_node("Identity", node.input[:1], node.output, node.name))
    return copied


def _static_shape(value: onnx.ValueInfoProto, role: str) -> Shape:
    shape = value.type.tensor_type.shape
    if not value.type.tensor_type.HasField("shape"):
        raise ModelFileError(
            "its shape is unknown", where=f"{role} {value.name!r}", remedy=_FIX_SHAPES
        )
    for axis, dim in enumerate(shape.dim):
        if dim.dim_value < 1:
            shown = dim.dim_param or ("?" if not dim.HasField("dim_value") else dim.dim_value)
            raise ModelFileError(
                f"its dimension {axis} is dynamic or empty ({shown})",
                where=f"{role} {value.name!r}",
                remedy=_FIX_SHAPES,
            )
    return tuple(dim.dim_value for dim in shape.dim)


def _value(name: str, types: dict[str, onnx.ValueInfoProto], constants: dict[str, Array]) -> Value:
    if name in constants:
        data = constants[name]
        return Value(name, data.shape, data.dtype, data=data)
    if name not in types:
        raise ModelFileError(
            "its shape cannot be inferred", where=f"tensor {name!r}", remedy=_FIX_SHAPES
        )
    shape = _static_shape(types[name], "tensor")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(types[name].type.tensor_type.elem_type)
    return Value(name, shape, np.dtype(dtype))


def _fold_constants(
    model: onnx.ModelProto,
    types: dict[str, onnx.ValueInfoProto],
    constants: dict[str, Array],
    opset: int,
) -> list[onnx.NodeProto]:
    """Evaluate nodes whose inputs are known; ``constants`` grows, the other nodes are returned.

    DequantizeLinear stays: its integers are what an int8 graph is made of.
    """
    remaining: list[onnx.NodeProto] = []
    for node in model.graph.node:
        _check_domain(node)
        if node.op_type == "Shape" and node.input[0] not in constants and node.input[0] in types:
            shape = _static_shape(types[node.input[0]], "tensor")
            start, end = (_attributes(node).get(k) for k in ("start", "end"))
            constants[node.output[0]] = np.asarray(shape[start:end], np.int64)
        elif _is_foldable(node) and all(i in constants for i in node.input if i):
            constants.update(_evaluate(node, constants, opset))
        else:
            remaining.append(node)
    return remaining


def _is_foldable(node: onnx.NodeProto) -> bool:
    """Not a source of random numbers, and not what int8 constants are read from."""
    return node.op_type != DEQUANTIZE and not node.op_type.startswith("Random")


def _check_domain(node: onnx.NodeProto) -> None:
    if node.domain not in _ONNX_DOMAINS:
        raise UnsupportedOpError(
            f"the op belongs to the domain {node.domain!r}, only ONNX's own ops can be lowered",
            where=f"node {node.name or node.output[0]!r} ({node.op_type})",
            remedy="export the model with standard ONNX ops",
        )


def _evaluate(node: onnx.NodeProto, constants: dict[str, Array], opset: int) -> dict[str, Array]:
    graph = onnx.helper.make_graph(
        [node],
        "constant",
        [onnx.helper.make_value_info(n, onnx.TypeProto()) for n in dict.fromkeys(node.input) if n],
        [onnx.helper.make_value_info(n, onnx.TypeProto()) for n in node.output if n],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    feeds = {name: constants[name] for name in node.input if name}
    results = ReferenceEvaluator(model).run(None, feeds)
    names = [name for name in node.output if name]
    return {name: np.asarray(result) for name, result in zip(names, results, strict=True)}


def _node(node: onnx.NodeProto) -> Node:
    return Node(
        op=node.op_type,
        name=node.name or node.output[0],
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=_attributes(node),
    )


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        plain[attribute.name] = value
    return plain


def _stored_weights(
    nodes: Iterable[onnx.NodeProto], constants: Mapping[str, Array]
) -> dict[str, Value]:
    """The weights that are stored small and decoded by the graph, by their decoded form's name.

    Two forms are read: ``Cast`` of a float16 constant, and ``Mul(Cast(int8 constant), scale)`` with
    a scale per tensor or along one axis. Both are constants to everything else; only where a linear
    op reads one as its weights is the stored form kept, for TFLite to store it too. Weights behind
    a DequantizeLinear are :mod:`.qdq`'s, and come out the same.

    Args:
        nodes: The model's nodes, those that decode among them.
        constants: Its constants, decoded ones included.
    """
    nodes = list(nodes)
    casts = {n.output[0]: n.input[0] for n in nodes if n.op_type == "Cast"}
    weights: dict[str, Value] = {}
    for node in nodes:
        name = node.output[0] if len(node.output) else ""
        if name not in constants or constants[name].dtype != np.float32:
            continue
        if node.op_type == "Cast":
            value = _float16(name, constants[node.input[0]])
        elif node.op_type == "Mul":
            value = _int8(name, [(constants[i], casts.get(i)) for i in node.input], constants)
        else:
            value = None
        if value is not None:
            weights[name] = value
    others = {
        name
        for node in nodes
        for position, name in enumerate(node.input)
        if node.op_type not in _LINEAR or position != _WEIGHTS
    }
    return {name: value for name, value in weights.items() if name not in others}


def _float16(name: str, stored: Array) -> Value | None:
    return (
        Value(name, stored.shape, stored.dtype, data=stored) if stored.dtype == np.float16 else None
    )


def _int8(
    name: str, factors: list[tuple[Array, str | None]], constants: Mapping[str, Array]
) -> Value | None:
    """int8 steps times their scale, in either order; None for any other product."""
    for (steps, source), (scale, _) in (factors, factors[::-1]):
        stored = constants[source] if source else steps
        if stored.dtype != np.int8 or scale.ndim > stored.ndim or not (scale > 0).all():
            continue
        shape = (1,) * (stored.ndim - scale.ndim) + scale.shape  # aligned right, as ONNX does
        axes = [axis for axis, size in enumerate(shape) if size > 1]
        if len(axes) <= 1 and np.broadcast_shapes(shape, stored.shape) == stored.shape:
            scales = tuple(float(s) for s in scale.reshape(-1))
            quant = Quant(scales, (0,) * len(scales), axes[0] if axes else 0)
            return Value(name, stored.shape, stored.dtype, quant, stored)
    return None
