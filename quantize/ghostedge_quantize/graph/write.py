"""Writes a plan into its graph: QuantizeLinear / DequantizeLinear pairs around float ops.

The float ops stay in the graph; both ONNX Runtime and the TFLite lowering read an int8 op from the
pairs around it. What is outside a pair is float. Every pair of a sharing group reads the same scale
and zero point initializers. Decisions are not made here: ``plan`` says which tensors and scales.

The pairs are written with int8 activations, which TFLite wants, and ``unsigned_activations`` shifts
them to uint8, which ONNX Runtime's x86 kernels want beside int8 weights. It rewrites int8 ones
itself, but only where a tensor has one consumer, and in a ghost module most have two: those layers
then run in float (1.31). Its option that allows int8 activations (``session.qdqisint8allowed``)
runs them in slower kernels, and a caller would have to know it. Adding 128 to every code and zero
point changes no real value and needs no option; lowering takes the 128 away again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper
from onnx_ir.passes.common import NameFixPass, RemoveUnusedNodesPass

from ghostedge_quantize.codes import QuantParams, quantize_array, quantize_weights
from ghostedge_quantize.graph.canonical import add_initializer, constant, owner
from ghostedge_quantize.graph.ops import LAYERS, Role, data_inputs, output_first
from ghostedge_quantize.graph.plan import Plan, Tuning, fused_output, name_of, shared_edges
from ghostedge_quantize.settings import OutputType
from ghostedge_runtime.metadata import OutputQuantization

SHIFT = 128
"""Between an int8 code and its uint8 twin."""


class Writer:
    """Writes one plan into its graph, once.

    Args:
        graph: The canonical float graph that the plan was made from.
        plan: Which nodes and tensors.
        params: Sharing group → scale and zero point.
        per_channel: Whether weights have a scale for every output channel, or one per tensor.
        tuning: Layers whose weights or bias are not the nearest codes.
    """

    def __init__(
        self,
        graph: ir.Graph,
        plan: Plan,
        params: Mapping[str, QuantParams],
        *,
        per_channel: bool,
        tuning: Tuning,
    ) -> None:
        self._graph = graph
        self._plan = plan
        self._params = params
        self._per_channel = per_channel
        self._tuning = tuning
        self._stored: dict[str, tuple[ir.Value, ir.Value]] = {}
        self._pairs: dict[str, tuple[ir.Value, ir.Value]] = {}

    def write(self, output_type: OutputType) -> None:
        """Insert everything: constants first, while nodes still read the float tensors."""
        nodes = [node for node in self._graph if str(node.name) in self._plan.nodes]
        edges = [
            (node, index, group)
            for node in nodes
            for index, _, group in shared_edges(node, self._plan)
        ]
        activations = [
            value
            for value in (*self._graph.inputs, *_outputs(self._graph))
            if value.name in self._plan.groups
        ]
        for node in nodes:
            if self._plan.nodes[str(node.name)].role is Role.WEIGHTED:
                self._quantize_weights(node)
        self._quantize_constants(nodes)
        for value in activations:
            self._insert_pair(value)
        for node, index, group in edges:
            self._requantize(node, index, group)
        for index, value in enumerate(list(self._graph.outputs)):
            self._end(index, value, output_type)

    def _quantize_weights(self, node: ir.Node) -> None:
        """Replace a layer's float weights and bias (zero where absent) by int8 and int32."""
        weight = output_first(node.op_type, _array(node.inputs[1]))
        bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        bias = np.zeros(len(weight), np.float32) if bias is None else bias
        name = str(node.name)
        source = self._params[self._plan.groups[name_of(_present(node.inputs[0]))]]
        target = fused_output(node, self._plan.nodes[str(node.name)])
        integers = quantize_weights(
            weight,
            bias + self._tuning.bias_shift.get(name, np.float32(0)),
            source.scale,
            self._params[self._plan.groups[name_of(target)]].scale,
            per_channel=self._per_channel,
        )
        nearest = output_first(node.op_type, integers.values)
        channels = 1 if node.op_type == "ConvTranspose" else 0
        node.resize_inputs(3)
        for index, kind, codes, scale, axis in (
            (1, "weight", self._tuning.weight_codes.get(name, nearest), integers.scale, channels),
            (2, "bias", integers.bias, integers.bias_scale, 0),
        ):
            name = f"{node.name}_{kind}"
            stored = add_initializer(self._graph, f"{name}_quantized", codes)
            parameters = (
                add_initializer(self._graph, f"{name}_scale", scale),
                add_initializer(
                    self._graph, f"{name}_zero_point", np.zeros(scale.shape, codes.dtype)
                ),
            )
            dequantize = _dequantize(stored, parameters, name, axis=axis if scale.ndim else None)
            self._graph.insert_before(node, dequantize)
            node.replace_input_with(index, dequantize.outputs[0])

    def _quantize_constants(self, nodes: Iterable[ir.Node]) -> None:
        """Let int8 nodes read constant operands through a DequantizeLinear; others keep them."""
        for node in nodes:
            for index, value in data_inputs(node, self._plan.nodes[str(node.name)]):
                array = constant(value)
                if array is not None:
                    node.replace_input_with(index, self._constant(name_of(value), array))

    def _constant(self, name: str, array: np.ndarray) -> ir.Value:
        if name not in self._pairs:
            group = self._plan.groups[name]
            codes = quantize_array(array, self._params[group])
            stored = add_initializer(self._graph, f"{name}_quantized", codes)
            dequantize = _dequantize(stored, self._parameters(group), name)
            self._graph.insert_before(self._graph[0], dequantize)
            self._pairs[name] = stored, dequantize.outputs[0]
        return self._pairs[name][1]

    def _insert_pair(self, value: ir.Value) -> None:
        name = name_of(value)
        users = [
            (user, index)
            for user, index in value.uses()
            if name in self._plan.carried or str(user.name) in self._plan.nodes
        ]
        self._pairs[name] = self._pair(value, self._plan.groups[name], name)
        for user, index in users:
            user.replace_input_with(index, self._pairs[name][1])

    def _requantize(self, node: ir.Node, index: int, group: str) -> None:
        source = _present(node.inputs[index])
        pair = self._pair(source, group, f"{source.name}_as_{node.name}")
        node.replace_input_with(index, pair[1])

    def _pair(self, value: ir.Value, group: str, name: str) -> tuple[ir.Value, ir.Value]:
        """Insert value → QuantizeLinear → DequantizeLinear; returns both outputs."""
        parameters = self._parameters(group)
        output = ir.Value(
            name=f"{name}_quantized", shape=value.shape, type=ir.TensorType(ir.DataType.INT8)
        )
        quantize = ir.node(
            "QuantizeLinear", [value, *parameters], outputs=[output], name=f"{name}_quantize"
        )
        dequantize = _dequantize(output, parameters, name)
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph[0], [quantize, dequantize])
        else:
            self._graph.insert_after(producer, [quantize, dequantize])
        return output, dequantize.outputs[0]

    def _parameters(self, group: str) -> tuple[ir.Value, ir.Value]:
        """The initializers that hold a group's scale (float32 scalar) and zero point (int8)."""
        if group not in self._stored:
            params = self._params[group]
            self._stored[group] = (
                add_initializer(self._graph, f"{group}_scale", np.asarray(params.scale)),
                add_initializer(self._graph, f"{group}_zero_point", np.int8(params.zero_point)),
            )
        return self._stored[group]

    def _end(self, index: int, value: ir.Value, output_type: OutputType) -> None:
        """Make a graph output the pair's int8 or float side, under the name it had."""
        name = name_of(value)
        if name not in self._pairs or (output_type == "float32" and name not in self._plan.carried):
            return
        quantized, dequantized = self._pairs[name]
        value.name = f"{name}_float"
        end = quantized if output_type == "int8" else dequantized
        end.name = name
        self._graph.outputs[index] = end


def _dequantize(
    codes: ir.Value, parameters: tuple[ir.Value, ir.Value], name: str, axis: int | None = None
) -> ir.Node:
    output = ir.Value(
        name=f"{name}_dequantized", shape=codes.shape, type=ir.TensorType(ir.DataType.FLOAT)
    )
    attributes = {} if axis is None else {"axis": axis}
    return ir.node(
        "DequantizeLinear",
        [codes, *parameters],
        attributes,
        outputs=[output],
        name=f"{name}_dequantize",
    )


def _outputs(graph: ir.Graph) -> Iterable[ir.Value]:
    return [value for node in graph for value in node.outputs]


def _present(value: ir.Value | None) -> ir.Value:
    if value is None:
        raise ValueError("an op of the int8 table lacks its first input")
    return value


def _array(value: ir.Value | None) -> np.ndarray:
    array = constant(value)
    if array is None:
        raise ValueError("a node with the role WEIGHTED has computed weights")
    return array


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
    """Whether a node decodes a layer's weights, which stay int8 also where they have one scale."""
    return constant(node.inputs[0]) is not None and any(
        user.op_type in LAYERS and index == 1 for user, index in node.outputs[0].uses()
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


def integer_outputs(model: onnx.ModelProto) -> tuple[OutputQuantization, ...]:
    """Scale and zero point of every output that a QuantizeLinear makes, in the graph's order.

    ONNX keeps neither in a graph's signature.

    Args:
        model: A QDQ graph as ``quantize`` or ``Prepared.qdq`` writes it.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    quantized = []
    for output in graph.output:
        maker = makers.get(output.name)
        if maker is not None and maker.op_type == "QuantizeLinear":
            scale, zero_point = (numpy_helper.to_array(constants[name]) for name in maker.input[1:])
            quantized.append(OutputQuantization(output.name, float(scale), int(zero_point)))
    return tuple(quantized)
