"""The same QDQ graph with uint8 activations, for ONNX Runtime on x86.

ONNX Runtime's x86 kernels want uint8 activations beside int8 weights. It rewrites int8 ones itself,
but only where a tensor has one consumer, and in a ghost module most have two: those layers then run
in float (1.31). Its option that allows int8 activations (``session.qdqisint8allowed``) runs them in
slower kernels, and a caller would have to know it. Adding 128 to every code and zero point changes
no real value and needs no option. TFLite wants int8; lowering takes the 128 away again.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass, RemoveUnusedNodesPass

from ghostedge_quantize.graph.canonical import add_initializer, constant, owner

SHIFT = 128


def unsigned_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """Shift every per-tensor int8 code of a graph that ``quantize`` wrote to uint8.

    Weights (int8), biases, scales, input and outputs stay as they are; an int8 output
    is requantized from the uint8 one, exactly.

    Returns:
        A new model, checked by onnx.
    """
    shifted = ir.from_proto(model)
    graph = shifted.graph
    for index, output in enumerate(list(graph.outputs)):
        if output.dtype is ir.DataType.INT8:
            graph.outputs[index] = _requantize_output(output)
    ends = {end.producer() for end in graph.outputs if end.dtype is ir.DataType.INT8}
    for node in list(graph):
        if node not in ends and _is_per_tensor_int8(node) and not _is_weight(node):
            _shift(node)
    RemoveUnusedNodesPass()(shifted)
    NameFixPass()(shifted)
    proto = ir.to_proto(shifted)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _is_per_tensor_int8(node: ir.Node) -> bool:
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return False
    zero_point = constant(node.inputs[2])
    return zero_point is not None and zero_point.dtype == np.int8 and zero_point.ndim == 0


def _is_weight(node: ir.Node) -> bool:
    """Whether a node decodes the weights of a layer: int8, also where they have one scale."""
    return constant(node.inputs[0]) is not None and any(
        user.op_type in ("Conv", "ConvTranspose", "Gemm") and index == 1
        for user, index in node.outputs[0].uses()
    )


def _shift(node: ir.Node) -> None:
    """Move a node's zero point, and the codes it reads (constant) or writes, up by 128."""
    _shift_constant(node, 2)
    if node.op_type == "QuantizeLinear":
        node.outputs[0].dtype = ir.DataType.UINT8
    elif constant(node.inputs[0]) is not None:
        _shift_constant(node, 0)


def _shift_constant(node: ir.Node, index: int) -> None:
    """Read an int8 initializer's uint8 twin instead; all nodes that read it share one twin."""
    value = node.inputs[index]
    array = constant(value)
    if value is None or array is None:
        raise ValueError(f"input {index} of {node.name} is computed")
    graph, name = owner(node), f"{value.name}_unsigned"
    twin = graph.initializers.get(name)
    if twin is None:
        twin = add_initializer(graph, name, (array.astype(np.int16) + SHIFT).astype(np.uint8))
    node.replace_input_with(index, twin)


def _requantize_output(output: ir.Value) -> ir.Value:
    """Append DequantizeLinear → QuantizeLinear (int8) to a quantized output, under its name."""
    producer = output.producer()
    if producer is None:
        raise ValueError(f"output {output.name} is made by no node")
    parameters = producer.inputs[1:3]
    name, output.name = output.name, f"{output.name}_unsigned"
    back = ir.node("DequantizeLinear", [output, *parameters], name=f"{name}_back")
    end = ir.Value(name=name, shape=output.shape, type=ir.TensorType(ir.DataType.INT8))
    requantize = ir.node(
        "QuantizeLinear", [back.outputs[0], *parameters], outputs=[end], name=f"{name}_requantize"
    )
    owner(producer).insert_after(producer, [back, requantize])
    return end
