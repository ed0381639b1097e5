"""Which nodes run in int8, which tensors carry int8, which of those share one scale, and its value.

A plan is made from the float graph alone. Calibration asks it what to measure, quantization where
the Q/DQ pairs go. Given ranges, every sharing group gets a scale and a zero point.

Integer kernels multiply their sums by a fixed-point factor made of the scales around a node;
XNNPACK refuses factors outside certain limits (LiteRT's delegate checks them, and falls back to
slower kernels or fails). Calibrated ranges rarely come near; where one does, a range is widened.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ghostedge_quantize.codes import QuantParams, Range, affine, channel_scales, hull
from ghostedge_quantize.graph.canonical import constant
from ghostedge_quantize.graph.ops import FUSES, OpRule, Role, data_inputs, output_first, rule_of
from ghostedge_quantize.settings import OutputType
from ghostedge_runtime.errors import InputError

SLACK = 1 + 2.0**-10
"""Widening goes this far past a limit, so that float32 rounding cannot fall back over it."""


@dataclass(frozen=True)
class Plan:
    """The quantization plan of one graph; tensors and nodes by name.

    Attributes:
        nodes: The nodes that run in int8, in graph order, with their rules.
        groups: Tensor that carries int8 (activation or constant) → name of its sharing group.
        carried: Those activations that an int8 node makes, or that enter the graph: every
            consumer reads their int8 value. The others are made in float and quantized for
            their int8 consumers only.
        measured: The tensors whose range has to be measured, in graph order.
        fixed: Groups whose range the kernels dictate.
        constants: Constant operands of int8 nodes → their exact range.
    """

    nodes: Mapping[str, OpRule]
    groups: Mapping[str, str]
    carried: frozenset[str]
    measured: tuple[str, ...]
    fixed: Mapping[str, Range]
    constants: Mapping[str, Range]

    @property
    def dictated(self) -> dict[str, Range]:
        """The range of every tensor that the kernels dictate one for."""
        groups = self.groups.items()
        return {name: self.fixed[group] for name, group in groups if group in self.fixed}


@dataclass(frozen=True)
class Tuning:
    """Changes to layers, by node name; a layer that is not named is quantized as it is.

    Attributes:
        bias_shift: float32 [O], added to the layer's bias before it is quantized.
        weight_codes: int8 weights in place of the nearest, on the same scales.
    """

    bias_shift: Mapping[str, np.ndarray] = field(default_factory=dict)
    weight_codes: Mapping[str, np.ndarray] = field(default_factory=dict)


def make_plan(
    graph: ir.Graph, output_type: OutputType = "float32", keep_float: Collection[str] = ()
) -> Plan:
    """Plan a canonical graph (see ``canonical``).

    Args:
        graph: The float graph; it is not changed.
        output_type: ``int8`` quantizes the graph's outputs even where a float op makes them.
        keep_float: Names of nodes that stay float although int8 is possible. What lies between
            them stays float too: nodes without weights whose inputs all come from such nodes.
    """
    planner = _Planner(graph)
    for node in graph:
        if node.name in keep_float or planner.follows_float(node):
            planner.leave_float(node)
        else:
            planner.visit(node)
    for output in graph.outputs if output_type == "int8" else ():
        if output.dtype is ir.DataType.FLOAT:  # labels and masks are integers already
            planner.enter(output)
    return planner.plan()


def fused_output(node: ir.Node, rule: OpRule) -> ir.Value:
    """The node's output, behind the activation that its kernel applies itself, if any."""
    output = node.outputs[0]
    uses = list(output.uses())
    if rule.role not in FUSES or output.is_graph_output() or len(uses) != 1:
        return output
    user = uses[0].node
    return user.outputs[0] if rule_of(user).role is Role.ACTIVATION else output


def name_of(value: ir.Value) -> str:
    """The value's name; every value of a canonical graph has one."""
    if value.name is None:
        raise ValueError(f"a value without a name in a canonical graph: {value!r}")
    return value.name


class _Planner:
    """Walks the graph once, in topological order."""

    def __init__(self, graph: ir.Graph) -> None:
        self._nodes: dict[str, OpRule] = {}
        self._parents: dict[str, str] = {}
        self._carried: set[str] = set()
        self._measured: dict[str, None] = {}
        self._fixed: dict[str, Range] = {}
        self._constants: dict[str, Range] = {}
        self._left_float: set[str] = set()
        self._inputs = {
            name_of(value) for value in graph.inputs if value.dtype is ir.DataType.FLOAT
        }

    def leave_float(self, node: ir.Node) -> None:
        """Keep the node out of the plan and remember whose outputs are float on request."""
        self._left_float.update(name_of(value) for value in node.outputs)

    def follows_float(self, node: ir.Node) -> bool:
        """Whether the node has no weights and only reads what nodes left float made.

        An int8 addition between two float layers would quantize twice for nothing.
        """
        if rule_of(node).role is Role.WEIGHTED:
            return False
        read = [name_of(v) for v in node.inputs if v is not None and constant(v) is None]
        return bool(read) and self._left_float.issuperset(read)

    def visit(self, node: ir.Node) -> None:
        """Plan a node for int8, where its rule has that.

        Only layers with weights are worth quantizing what float ops made.
        """
        rule = rule_of(node)
        if rule.role in (Role.FLOAT, Role.ACTIVATION):
            return
        inputs = [value for _, value in data_inputs(node, rule)]
        if rule.role is not Role.WEIGHTED and not any(map(self._holds_int8, inputs)):
            return
        self._nodes[str(node.name)] = rule
        for value in inputs:
            self.enter(value)
        outputs = [fused_output(node, rule), *node.outputs[1:]]
        self._carried.update(self._join(name_of(value)) for value in outputs)
        if rule.role is Role.SHARES:
            self._share(inputs, outputs)
        elif rule.output is not None:
            self._fixed[name_of(outputs[0])] = rule.output
        else:
            self._measured[name_of(outputs[0])] = None

    def enter(self, value: ir.Value) -> None:
        """Have a tensor carry int8 that no int8 node made: from a float op, input, constant."""
        name = name_of(value)
        if name in self._parents:
            return
        self._join(name)
        array = constant(value)
        if array is not None:
            self._constants[name] = Range(min(float(array.min()), 0), max(float(array.max()), 0))
            return
        self._measured[name] = None
        if name in self._inputs:
            self._carried.add(name)

    def plan(self) -> Plan:
        groups = {name: self._find(name) for name in self._parents}
        return Plan(
            nodes=self._nodes,
            groups=groups,
            carried=frozenset(self._carried),
            measured=tuple(self._measured),
            fixed={self._find(name): ends for name, ends in self._fixed.items()},
            constants=self._constants,
        )

    def _holds_int8(self, value: ir.Value) -> bool:
        """Whether an int8 node, the caller or a DequantizeLinear made it, as of raw pixels."""
        above = value.producer()
        stored = above is not None and above.op_type == "DequantizeLinear"
        return stored or name_of(value) in self._carried or name_of(value) in self._inputs

    def _share(self, inputs: list[ir.Value], outputs: list[ir.Value]) -> None:
        """Unite inputs and outputs, but for fixed inputs beside free ones: those are requantized.

        Nodes come in topological order, so the outputs are in no other group yet.
        """
        names = [name_of(value) for value in inputs]
        fixed_groups = {self._find(name) for name in self._fixed}
        free = [name for name in names if self._find(name) not in fixed_groups]
        for name in [*(free or names), *(name_of(value) for value in outputs[1:])]:
            self._parents[self._find(name_of(outputs[0]))] = self._find(name)

    def _join(self, name: str) -> str:
        self._parents.setdefault(name, name)
        return name

    def _find(self, name: str) -> str:
        while self._parents[name] != name:
            name = self._parents[name]
        return name


def shared_edges(node: ir.Node, plan: Plan) -> Iterator[tuple[int, str, str]]:
    """Data inputs of a sharing node that have another scale: index, tensor, the node's group."""
    rule = plan.nodes[str(node.name)]
    if rule.role is Role.SHARES:
        group = plan.groups[name_of(node.outputs[0])]
        for index, value in data_inputs(node, rule):
            if plan.groups[name_of(value)] != group:
                yield index, name_of(value), group


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


def assign(graph: ir.Graph, plan: Plan, ranges: Mapping[str, Range]) -> dict[str, QuantParams]:
    """Scale and zero point of every sharing group.

    Raises:
        InputError: ``ranges`` lacks a tensor of the plan, or no widening satisfies the kernels.
    """
    groups = _group_ranges(graph, plan, ranges)
    factors = [factor for node in graph for factor in _factors(node, plan)]
    _widen(groups, factors, frozenset(plan.fixed))
    return {group: affine(ends) for group, ends in groups.items()}


def _group_ranges(graph: ir.Graph, plan: Plan, ranges: Mapping[str, Range]) -> dict[str, Range]:
    members: dict[str, list[Range]] = {group: [] for group in plan.groups.values()}
    for name in plan.measured:
        if name not in ranges:
            raise InputError(
                "no range was measured for this tensor",
                where=name,
                remedy="calibrate on the same model that is quantized",
            )
        members[plan.groups[name]].append(ranges[name])
    for name, ends in plan.constants.items():
        members[plan.groups[name]].append(ranges.get(name, ends))
    for group, ends in plan.fixed.items():
        members[group].append(ends)
    hulls = {group: hull(parts) for group, parts in members.items()}
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
