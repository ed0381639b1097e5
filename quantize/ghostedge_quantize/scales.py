"""A scale and a zero point for every tensor, within what integer kernels can compute.

Kernels multiply integer sums by a fixed-point factor made of the scales around a node; XNNPACK
refuses factors outside the limits below (LiteRT's delegate checks them, and falls back to slower
kernels or fails). Calibrated ranges rarely come near; where one does, a range is widened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ghostedge_quantize.graph.canonical import constant
from ghostedge_quantize.graph.ops import Role, data_inputs, output_first
from ghostedge_quantize.graph.plan import Plan, fused_output, name_of, shared_edges
from ghostedge_quantize.ranges.methods import QuantParams, Range, Ranges, affine, hull
from ghostedge_quantize.tuning.weights import channel_scales
from ghostedge_runtime.errors import InputError

SLACK = 1 + 2.0**-10
"""Widening goes this far past a limit, so that float32 rounding cannot fall back over it."""


@dataclass(frozen=True)
class Factor:
    """``factor * product of the sources' scales / target's scale`` must lie in [low, high).

    Sources and target are sharing groups.
    """

    node: str
    sources: tuple[str, ...]
    target: str
    low: float
    high: float
    factor: float = 1.0

    def value(self, ranges: Mapping[str, Range]) -> float:
        """The factor as the groups' ranges have it now."""
        scales = [float(affine(ranges[source]).scale) for source in self.sources]
        return self.factor * math.prod(scales) / float(affine(ranges[self.target]).scale)


def assign(graph: ir.Graph, plan: Plan, ranges: Ranges) -> dict[str, QuantParams]:
    """Scale and zero point of every sharing group.

    Raises:
        InputError: ``ranges`` lacks a tensor of the plan, or no widening satisfies the kernels.
    """
    groups = _group_ranges(graph, plan, ranges)
    factors = [factor for node in graph for factor in _factors(node, plan)]
    _widen(groups, factors, frozenset(plan.fixed))
    return {group: affine(ends) for group, ends in groups.items()}


def _group_ranges(graph: ir.Graph, plan: Plan, ranges: Ranges) -> dict[str, Range]:
    members: dict[str, list[Range]] = {group: [] for group in plan.groups.values()}
    for name in plan.measured:
        if name not in ranges.tensors:
            raise InputError(
                "no range was measured for this tensor",
                where=name,
                remedy="calibrate on the same model that is quantized",
            )
        members[plan.groups[name]].append(ranges.tensors[name])
    for name, ends in plan.constants.items():
        members[plan.groups[name]].append(ranges.tensors.get(name, ends))
    for group, ends in plan.fixed.items():
        members[group].append(ends)
    hulls = {group: hull(each) for group, each in members.items()}
    for node in graph:
        if str(node.name) in plan.nodes:
            for _, name, group in shared_edges(node, plan):
                hulls[group] = hull([hulls[group], hulls[plan.groups[name]]])
    return hulls


def _factors(node: ir.Node, plan: Plan) -> Iterator[Factor]:
    """The limits around one node.

    Source: XNNPACK's operator and subgraph definitions (convolution below 256; add and subtract
    from 2^-10 to below 2^8 for each operand; multiply from 2^-16 to below 2^8; mean below 2^8).
    """
    rule = plan.nodes.get(str(node.name))
    if rule is None:
        return
    sources = [plan.groups[name_of(value)] for _, value in data_inputs(node, rule)]
    target = plan.groups[name_of(fused_output(node, rule))]
    name = str(node.name)
    if rule.role is Role.WEIGHTED:
        yield Factor(name, tuple(sources), target, 0.0, 2.0**8, _largest_weight_scale(node))
    elif rule.role is Role.MEAN:
        yield Factor(name, tuple(sources), target, 0.0, 2.0**8)
    elif rule.role is Role.ARITHMETIC:
        yield from _arithmetic_factors(node, sources, target)


def _arithmetic_factors(node: ir.Node, sources: Sequence[str], target: str) -> Iterator[Factor]:
    if node.op_type == "Mul":
        yield Factor(str(node.name), tuple(sources), target, 2.0**-16, 2.0**8)
    else:
        for source in sources:
            yield Factor(str(node.name), (source,), target, 2.0**-10, 2.0**8)


def _largest_weight_scale(node: ir.Node) -> float:
    weight = constant(node.inputs[1])
    return (
        0.0 if weight is None else float(channel_scales(output_first(node.op_type, weight)).max())
    )


def _widen(groups: dict[str, Range], factors: Sequence[Factor], fixed: frozenset[str]) -> None:
    """Stretch ranges until every factor lies within its limits.

    Ranges only grow, and each growth follows from one factor, so a chain of them is at most as
    long as the graph; a loop that outlasts it has no solution.
    """
    for _ in range(len(factors) + 1):
        broken = [factor for factor in factors if _stretch(groups, factor, fixed)]
        if not broken:
            return
    raise InputError(
        "no int8 scales exist that its kernel can compute: its weights or inputs are too large "
        "for its output",
        where=broken[0].node,
    )


def _stretch(groups: dict[str, Range], factor: Factor, fixed: frozenset[str]) -> bool:
    """Widen one range where a factor is outside its limits; True where it was."""
    value = factor.value(groups)
    if factor.low <= value < factor.high:
        return False
    if value >= factor.high:
        stretched, by = factor.target, value / factor.high * SLACK
    else:
        free = [source for source in factor.sources if source not in fixed]
        stretched, by = (free or list(factor.sources))[0], factor.low / value * SLACK
    groups[stretched] = groups[stretched].scaled(by)
    return True
