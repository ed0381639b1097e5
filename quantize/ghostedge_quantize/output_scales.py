"""The scales of integer graph outputs, which ONNX keeps out of its signature."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from ghostedge_runtime.metadata import OutputQuantization


def integer_outputs(model: onnx.ModelProto) -> tuple[OutputQuantization, ...]:
    """Scale and zero point of every output that a QuantizeLinear makes, in the graph's order.

    Args:
        model: A QDQ graph as ``quantize`` or ``Prepared.qdq`` writes it.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    found = []
    for output in graph.output:
        maker = makers.get(output.name)
        if maker is not None and maker.op_type == "QuantizeLinear":
            scale, zero_point = (numpy_helper.to_array(constants[name]) for name in maker.input[1:])
            found.append(OutputQuantization(output.name, float(scale), int(zero_point)))
    return tuple(found)
