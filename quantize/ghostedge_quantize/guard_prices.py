"""What it costs to leave a layer float: an estimate from the graph, the same on every machine.

Timing each layer would let the machine's noise choose the layers, and a conversion's result would
differ from run to run; besides, the machine that converts is seldom the one that runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx
import onnx_ir as ir

from ghostedge_quantize.graph.canonical import canonical_ir
from ghostedge_quantize.graph.ops import Role, rule_of

_FLOAT_MACS, _INT8_MACS = 8, 32
"""Multiply-accumulates a cycle on a Cortex-A76: two 128-bit FMLA, or two SDOT (Arm's optimization
guide for it, section 3)."""
_BYTES = 16
"""Bytes moved a cycle beyond the first cache, about one 128-bit access."""
_FLOAT_BYTES = 4


def prices(model: onnx.ModelProto) -> Mapping[str, float]:
    """Price of leaving each layer with weights float, by node name; together they are 1.

    Half is shared out by the estimated cycles that float takes longer (four times the bytes of
    input, weights and output moved, a quarter of the multiplications done at a time), half
    equally: every layer left float also has its borders to cross, and is one more.

    Args:
        model: The float graph that is quantized, with static shapes but for the batch.
    """
    cycles = {
        str(node.name): _extra_cycles(node)
        for node in canonical_ir(model).graph
        if rule_of(node).role is Role.WEIGHTED
    }
    total = sum(cycles.values())
    return {name: 0.5 / len(cycles) + 0.5 * each / total for name, each in cycles.items()}


def _extra_cycles(node: ir.Node) -> float:
    source, weight, output = _elements(node.inputs[0]), _sizes(node.inputs[1]), node.outputs[0]
    macs = _elements(output) * math.prod(weight[1:])
    moved = source + math.prod(weight) + _elements(output)
    arithmetic = macs * (1 / _FLOAT_MACS - 1 / _INT8_MACS)
    return arithmetic + moved * (_FLOAT_BYTES - 1) / _BYTES


def _elements(value: ir.Value | None) -> int:
    return math.prod(_sizes(value))


def _sizes(value: ir.Value | None) -> list[int]:
    """Sizes of a tensor; 1 where the graph leaves one open."""
    shape = None if value is None else value.shape
    return [size if isinstance(size, int) else 1 for size in shape or ()]
