"""The plan written down: QuantizeLinear / DequantizeLinear pairs around a float graph.

The float ops stay in the graph; both ONNX Runtime and the TFLite lowering read an int8 op from
the pairs around it. What is outside a pair is float.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass, RemoveUnusedNodesPass

from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.joins import float_ends, refuse_int8
from ghostedge_quantize.graph.plan import OutputType, make_plan
from ghostedge_quantize.graph.raw_input import float_shift, take_raw_image
from ghostedge_quantize.ranges.methods import Range, Ranges
from ghostedge_quantize.scales import assign
from ghostedge_quantize.tuning.tune import Tuning
from ghostedge_quantize.writer import Writer
from ghostedge_runtime.metadata import METADATA_KEY, Preprocessing


def quantize(
    model: onnx.ModelProto,
    ranges: Ranges,
    *,
    preprocessing: Preprocessing | None,
    output_type: OutputType = "float32",
    per_channel: bool = True,
    keep_float: Collection[str] = (),
    tuning: Tuning | None = None,
) -> onnx.ModelProto:
    """Quantize a float deploy graph to a QDQ graph of the same opset.

    Args:
        model: The float graph: input float32 NCHW, normalised. It is not changed.
        ranges: From ``calibrate`` on the same model.
        preprocessing: Given, the result takes raw pixels instead: ``image``, uint8 NHWC in the
            colour order that it names, and normalises them itself. None: the input stays.
        output_type: ``float32`` ends with a DequantizeLinear, ``int8`` without it.
        per_channel: A weight scale for every output channel; False: one per weight tensor, for
            accelerators that know nothing else.
        keep_float: Names of nodes that stay float although int8 is possible.
        tuning: Weights and biases that are not the nearest codes; None: all nearest.

    Returns:
        A new model, checked by onnx; equal arguments give equal bytes. The metadata that
        describes the float model is not carried over.

    Raises:
        InputError: The model's opset is below 13, ``ranges`` lacks one of its tensors, its input
            cannot take raw images, no int8 scales exist that kernels can compute, or an output
            that is to be int8 joins parts of unlike ranges.
    """
    quantized, known = float_graph(model, preprocessing)
    float_nodes = {*keep_float, *float_shift(quantized.graph, keep_float), *ranges.float_joins}
    if output_type == "int8":
        refuse_int8(quantized.graph, ranges.float_joins, ranges.tensors)
    else:
        known |= make_plan(quantized.graph, output_type, float_nodes).dictated
        float_nodes |= float_ends(quantized.graph, ranges.float_joins)
    plan = make_plan(quantized.graph, output_type, float_nodes)
    everything = replace(ranges, tensors={**ranges.tensors, **known})
    params = assign(quantized.graph, plan, everything)
    Writer(quantized.graph, plan, params, per_channel=per_channel, tuning=tuning or Tuning()).write(
        output_type
    )
    RemoveUnusedNodesPass()(quantized)
    NameFixPass()(quantized)
    quantized.metadata_props.pop(METADATA_KEY, None)
    proto = ir.to_proto(quantized)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def float_graph(
    model: onnx.ModelProto, preprocessing: Preprocessing | None
) -> tuple[ir.Model, dict[str, Range]]:
    """The canonical graph that is quantized, still float, with the input that it will have.

    Returns:
        The graph, and the ranges of its new activations.

    Raises:
        InputError: As ``quantize``.
    """
    graph = canonical_ir(model)
    return graph, {} if preprocessing is None else take_raw_image(graph.graph, preprocessing)
