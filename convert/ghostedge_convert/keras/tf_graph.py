"""A frozen TensorFlow graph is written as ONNX, from its outputs back to its input.

Only what the outputs need is written, so shape arithmetic, whose results the static shapes give,
never is. Images keep TensorFlow's axis order between ops; an op that ONNX knows channels first only
stands between two transposes, which the passes cancel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

from ghostedge_convert.export import INPUT_NAME, OPSET
from ghostedge_convert.naming import name_constants, strip_origin
from ghostedge_convert.passes import fold_constants, remove_dead_nodes
from ghostedge_convert.sources.keras.tf_ops import TABLE
from ghostedge_convert.sources.keras.tf_writer import TO_FIRST, TO_LAST, Writer

_IMAGE_RANK = 4


def write_onnx(
    *, source: Any, outputs: Mapping[str, Any], channels_last: bool, where: str
) -> onnx.ModelProto:
    """Write a graph of one image input as ONNX, channels first at both ends.

    Args:
        source: The input tensor, of static shape.
        outputs: The output tensors by the names to give them.
        channels_last: Whether images are, in the graph.
        where: What to call the model in messages.

    Raises:
        UnsupportedOpError: An op has no ONNX form here; it is named.
    """
    graph = Writer(TABLE, reserved=[INPUT_NAME, *outputs], where=where)
    shape = source.shape.as_list()
    first = [shape[axis] for axis in TO_FIRST] if channels_last else shape
    graph.names[source.ref()] = INPUT_NAME
    if channels_last:
        graph.names[source.ref()] = graph.node("Transpose", [INPUT_NAME], "input", perm=TO_LAST)
    results = []
    for name, tensor in outputs.items():
        value, size = graph.value(tensor), tensor.shape.as_list()
        if channels_last and len(size) == _IMAGE_RANK:
            value, size = graph.first(value, name), [size[axis] for axis in TO_FIRST]
        graph.nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}/Identity"))
        results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, size))
    made = helper.make_graph(
        graph.nodes,
        "keras",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, first)],
        results,
        initializer=graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return _named(model)


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """The weights named after their readers: freezing numbers them, otherwise in every run."""
    graph = ir.from_proto(model)
    fold_constants(graph)
    remove_dead_nodes(graph)
    name_constants(graph)
    strip_origin(graph)  # where folding took weights from, by the numbers that freezing gave
    named = ir.to_proto(graph)
    onnx.checker.check_model(named, full_check=True)
    return named
