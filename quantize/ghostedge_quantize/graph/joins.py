"""Outputs that join parts of unlike ranges: boxes of 0 to 320 pixels beside scores of 0 to 1.

A concat of int8 tensors has one scale, TFLite's as well as ours. Where its result leaves the graph
(moved perhaps, but never computed with), that one step is too coarse for the smaller parts and
gains nothing: scores of 0.01 to 0.98 in steps of 1.88 are 0 or 1.88. Such a concat stays float, and
with it whatever moves its result on; every part is dequantized with its own scale.

A sigmoid that leaves the graph as float is computed in float: in steps of 1/256, the only ones that
the kernels know, the many scores near zero of a detector are 0 or 0.004. So is a product that makes
channels unlike, of relative boxes beside scores with the picture's sides and ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ghostedge_quantize.codes import MIN_SPAN, Range
from ghostedge_quantize.graph.canonical import constant
from ghostedge_quantize.graph.ops import Role, data_inputs, rule_of
from ghostedge_quantize.graph.plan import Plan, make_plan, name_of
from ghostedge_runtime.errors import InputError

MOST_UNLIKE = 4.0
"""Times that a part's range may lie within another's: two of the eight bits, 12 dB."""


@dataclass(frozen=True)
class Join:
    """A concat whose result reaches an output through what moves values, or scales its channels.

    Attributes:
        node: The concat's name.
        output: The graph output's.
        parts: What is joined: computed tensors behind any concats and moves in between.
    """

    node: str
    output: str
    parts: tuple[str, ...]

    def is_unlike(self, ranges: Mapping[str, Range]) -> bool:
        """Whether one scale cannot serve all parts; those that are always zero need none."""
        spans = [high - low for low, high in (ranges[name] for name in self.parts)]
        spans = [span for span in spans if span >= MIN_SPAN]
        return bool(spans) and max(spans) > MOST_UNLIKE * min(spans)


def output_joins(graph: ir.Graph) -> tuple[Join, ...]:
    """The joins of a canonical graph that a plan with every output in int8 has, outermost first."""
    plan = make_plan(graph, "int8")
    return tuple(
        Join(str(node.name), name_of(output), tuple(_parts(node, plan)))
        for output in graph.outputs
        for node in _concats(output, plan)
    )


def float_ends(graph: ir.Graph, float_joins: Collection[str]) -> frozenset[str]:
    """What makes a canonical graph's float outputs and is better computed in float.

    Args:
        graph: The graph.
        float_joins: Concats that stay float anyway.

    Returns:
        The sigmoids whose results leave the graph, concats of nothing else, and products with
        constants that make channels unlike.
    """
    names: set[str] = set()
    waiting, seen = list(graph.outputs), set()
    while waiting:
        node = waiting.pop().producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        joins = node.op_type == "Concat" and node.name not in float_joins
        if joins and not _joins_sigmoids(node):
            continue
        ends = joins or node.op_type == "Sigmoid" or _parts_channels(node)
        if ends:
            names.add(str(node.name))
        if ends or _moves(node):
            waiting.extend(source for _, source in data_inputs(node, rule_of(node)))
    return frozenset(names)


def part_ranges(
    joins: Collection[Join], plan: Plan, measured: Mapping[str, Range]
) -> dict[str, Range]:
    """The range of every part.

    Args:
        joins: Of the graph.
        plan: In which they stay float, so that no part shares another's scale.
        measured: By tensor; those of the plan's groups and those of float parts.
    """
    ranges = {}
    for name in dict.fromkeys(part for join in joins for part in join.parts):
        dictated = plan.fixed.get(plan.groups.get(name, name))
        ranges[name] = dictated or plan.constants.get(name) or measured[name]
    return ranges


def refuse_int8(graph: ir.Graph, float_joins: Collection[str], ranges: Mapping[str, Range]) -> None:
    """Refuse to give an output one int8 scale that its parts cannot share.

    Args:
        graph: The canonical graph.
        float_joins: Concats that stay float.
        ranges: Of their parts.

    Raises:
        InputError: There are such concats.
    """
    joins = [join for join in output_joins(graph) if join.node in float_joins]
    if not joins:
        return
    ends = part_ranges(joins, make_plan(graph, "int8", float_joins), ranges)
    spans = [f"{name} ({ends[name].low:.3g} to {ends[name].high:.3g})" for name in joins[0].parts]
    raise InputError(
        f"it joins parts of unlike ranges, which one int8 scale cannot serve: {', '.join(spans)}",
        where=f"output {joins[0].output}",
        remedy="use --output-type float32, where every part keeps a scale of its own, or let the "
        "network return the parts as outputs of their own",
    )


def _concats(output: ir.Value, plan: Plan) -> Iterator[ir.Node]:
    """The concats behind an output, itself included, outermost first.

    A concat may be multiplied by a constant on its way, as boxes beside scores are.
    """
    seen: dict[ir.Node, None] = {}
    waiting = [output]
    while waiting:
        value = waiting.pop()
        maker = value.producer()
        scales = maker is not None and maker.name in plan.nodes and _parts_channels(maker)
        node = maker if scales else _mover(value, plan)
        if node is not None and node not in seen:
            seen[node] = None
            waiting.extend(_data(node, plan))
    return (node for node in seen if node.op_type == "Concat")


def _parts(node: ir.Node, plan: Plan) -> Iterator[str]:
    """What a concat joins, each tensor once, in order."""
    waiting, seen = list(reversed(_data(node, plan))), set()
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        mover = _mover(value, plan)
        if mover is None:
            yield name_of(value)
        else:
            waiting.extend(reversed(_data(mover, plan)))


def _parts_channels(node: ir.Node) -> bool:
    """Whether a node is a product with a constant whose numbers are unlike."""
    sizes = [np.abs(array) for array in map(constant, node.inputs) if array is not None]
    if node.op_type != "Mul" or not sizes:
        return False
    (numbers,) = sizes
    return bool(numbers.max() > MOST_UNLIKE * numbers.min())


def _mover(value: ir.Value, plan: Plan) -> ir.Node | None:
    """The node that made a tensor, where it only moves int8 values."""
    node = value.producer()
    rule = None if node is None else plan.nodes.get(str(node.name))
    return node if rule is not None and rule.role is Role.SHARES else None


def _joins_sigmoids(node: ir.Node) -> bool:
    """Whether a concat joins nothing but results of sigmoids, moved perhaps."""
    waiting, seen = [node], {node}
    while waiting:
        moving = waiting.pop()
        for _, value in data_inputs(moving, rule_of(moving)):
            maker = value.producer()
            if maker is None or not (maker.op_type == "Sigmoid" or _moves(maker)):
                return False
            if maker.op_type != "Sigmoid" and maker not in seen:
                seen.add(maker)
                waiting.append(maker)
    return True


def _moves(node: ir.Node) -> bool:
    """Whether a node's results are elements of its input, all of them or some, each unchanged.

    Ops that share their input's scale but compute are slow in float on large maps.
    """
    rule = rule_of(node)
    return rule.role is Role.SHARES and not rule.computes


def _data(node: ir.Node, plan: Plan) -> list[ir.Value]:
    return [value for _, value in data_inputs(node, plan.nodes[str(node.name)])]
