"""A graph of float16, bfloat16 or float64, in parts or throughout, brought to float32.

The numbers stored stay what they are, float64 rounded; what is computed is no longer rounded to 11
or 8 bits after every node. TFLite's kernels compute in float32, and so do GhostEdge's passes; half
precision on a device is chosen there (`--precision float16`, ``bench --precision-mode fp16``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from ghostedge_convert.passes.graph import bypass

_FLOAT = ir.DataType.FLOAT
_OTHER_FLOATS = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)
_CASTS = ("Cast", "CastLike")


@dataclass(frozen=True)
class Float32:
    """What was brought to float32.

    Attributes:
        computed_in_half: Whether anything that depends on the input was rounded to half precision.
        notes: What was changed, a line each.
    """

    computed_in_half: bool
    notes: tuple[str, ...]


def in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model that computes in float32 and is otherwise as it was."""
    graph = ir.from_proto(model)
    ShapeInferencePass()(graph)
    use_float32(graph)
    return ir.to_proto(graph)


def use_float32(model: ir.Model) -> Float32:
    """Make every float of a graph a float32, in place, and drop casts between floats.

    Args:
        model: With the types of its values, as shape inference leaves it.
    """
    kinds: Counter[str] = Counter()
    half = any(_computes_in_half(node) for node in model.graph)
    for constant in list(model.graph.initializers.values()):
        if constant.const_value is not None and constant.const_value.dtype in _OTHER_FLOATS:
            kinds[constant.const_value.dtype.name.lower()] += 1
            constant.const_value = _in_float32(constant.const_value)
            constant.dtype = _FLOAT
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    sources = {value: value.dtype for value in values}
    for value in values:
        if value.dtype in _OTHER_FLOATS:
            kinds[value.dtype.name.lower()] += 1
            value.dtype = _FLOAT
    for node in model.graph:
        _rewrite_attributes(node)
    casts = [node for node in model.graph if node.op_type in _CASTS and _is_between_floats(node)]
    dropped = sum(sources.get(node.outputs[0]) in (*_OTHER_FLOATS, _FLOAT) for node in casts)
    for node in casts:
        if node.inputs[0] is not None:
            bypass(model, node, node.inputs[0])
    if not kinds:
        return Float32(computed_in_half=False, notes=())
    gone = f", {dropped} cast{'s' * (dropped > 1)} gone" if dropped else ""
    return Float32(half, (f"{' and '.join(sorted(kinds))} brought to float32{gone}",))


def _computes_in_half(node: ir.Node) -> bool:
    constant_inputs = all(value is None or value.const_value is not None for value in node.inputs)
    halves = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    return not constant_inputs and any(value.dtype in halves for value in node.outputs)


def _is_between_floats(node: ir.Node) -> bool:
    source = node.inputs[0]
    return source is not None and source.dtype == _FLOAT and node.outputs[0].dtype == _FLOAT


def _rewrite_attributes(node: ir.Node) -> None:
    """Constants inside a node, and the type that a Cast is to."""
    for attribute in list(node.attributes.values()):
        if attribute.type == ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            if tensor.dtype in _OTHER_FLOATS:
                node.attributes.add(ir.AttrTensor(attribute.name, _in_float32(tensor)))
        elif attribute.name in ("to", "dtype") and attribute.as_int() in _OTHER_FLOATS:
            node.attributes.add(ir.AttrInt64(attribute.name, _FLOAT))


def _in_float32(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    with np.errstate(over="ignore"):  # beyond float32's range is infinite there
        return ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name)
