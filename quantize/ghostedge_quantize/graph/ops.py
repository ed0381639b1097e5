"""Which ops run in int8, which only hand int8 values on, and which stay float.

The table is what both runtimes can do: an op is int8 when XNNPACK takes it in int8 (so that
nothing on the way falls back to a slow kernel) and ONNX Runtime computes the same. An op that is
not in the table stays float: the Q/DQ pairs around it are its boundary.

An op's row also names how channels' factors and noise pass it; ``equalization.channels`` and
``equalization.gains`` hold a function for each name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
import onnx_ir as ir

from ghostedge_quantize.codes import Range
from ghostedge_quantize.graph.canonical import constant, int_attribute, rank


class Role(Enum):
    """What int8 means for a node."""

    WEIGHTED = auto()
    """int8 weights per channel, int32 bias, an output range of its own."""
    ARITHMETIC = auto()
    """int8 inputs (activations or constants), an output range of its own."""
    MEAN = auto()
    """One int8 input, an output range of its own: means, and functions of single elements."""
    FIXED = auto()
    """One int8 input, an output whose scale the kernels fix: sigmoid and tanh."""
    SHARES = auto()
    """Moves or selects values: inputs and outputs have one scale."""
    ACTIVATION = auto()
    """int8 as the tail of the node before it, float on its own."""
    FLOAT = auto()
    """Stays float."""


class Channels(Enum):
    """How an op passes on the factors by which equalization divides channels."""

    FIXES = auto()
    """Not at all: its inputs cannot be rescaled."""
    LAYER = auto()
    """A layer's weights undo the factors of its inputs and take new ones for its outputs."""
    KEEPS = auto()
    """Each output channel has the factor of its input channel."""
    KEEPS_IN_INT8 = auto()
    """``KEEPS`` where the node can be int8, else ``FIXES``."""
    REDUCES = auto()
    """``KEEPS`` where it reduces over height and width, else ``FIXES``."""
    FLATTENS = auto()
    """Every value keeps the factor of its channel."""
    CONCATENATES = auto()
    """The inputs' factors, one after the other."""
    SLICES = auto()
    """The factors of the channels that are taken."""
    JOINS = auto()
    """All inputs need the same factors."""
    GATES = auto()
    """One input keeps its factors, the other is fixed."""


class Noise(Enum):
    """How noise on an op's inputs reaches its output."""

    PASSES = auto()
    """Unchanged."""
    LAYER = auto()
    """Through the squares of a layer's weights."""
    RECTIFIES = auto()
    """Only where the output is above zero."""
    AVERAGES = auto()
    """Divided by the number of positions that are averaged."""
    GATES = auto()
    """Times the power of the other factor."""
    CONCATENATES = auto()
    """Each input's to its own channels."""
    SLICES = auto()
    """Only from the channels that are taken."""
    FLATTENS = auto()
    """From every position of a channel."""


@dataclass(frozen=True)
class OpRule:
    """An op's place in the table.

    Attributes:
        role: What int8 means for it.
        accepts: Whether this very node can have the role; otherwise it stays float.
        all_inputs: Every input is data; else only the first is, the rest are parameters.
        output: The range that the kernels fix for a FIXED output.
        computes: Whether an op that SHARES one scale does more than move elements.
        channels: How factors of channels pass it, also where the node stays float.
        noise: How noise passes it, also where the node stays float.
    """

    role: Role
    accepts: Callable[[ir.Node], bool] = lambda _: True
    all_inputs: bool = False
    output: Range | None = None
    computes: bool = False
    channels: Channels = Channels.FIXES
    noise: Noise = Noise.PASSES


def _is_conv(node: ir.Node) -> bool:
    """True with constant weights over one or two axes in space."""
    weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    known_bias = bias is None or constant(bias) is not None
    return rank(weight) in (3, 4) and constant(weight) is not None and known_bias


def _is_transposed_conv(node: ir.Node) -> bool:
    """True without groups, whose output channels are no axis of the weights."""
    return _is_conv(node) and int_attribute(node, "group", 1) == 1


def output_first(op_type: str, weight: np.ndarray) -> np.ndarray:
    """A layer's weights with the output channels on the first axis, or back: its own inverse."""
    return weight.swapaxes(0, 1) if op_type == "ConvTranspose" else weight


def _is_dense(node: ir.Node) -> bool:
    """True for the canonical Gemm: constant weights, output channels first."""
    return (
        constant(node.inputs[1]) is not None
        and bool(int_attribute(node, "transB", 0))
        and not int_attribute(node, "transA", 0)
        and constant(node.inputs[2] if len(node.inputs) > 2 else None) is not None
    )


_SUMS = frozenset({"GlobalAveragePool", "ReduceMean", "ReduceSum"})


def _is_no_summed_square(node: ir.Node) -> bool:
    """False for squares that are summed: they span too much for one scale."""
    squares = node.inputs[0] is node.inputs[1]
    return not (squares and any(user.op_type in _SUMS for user in _users(node)))


def _is_outside_norms(node: ir.Node) -> bool:
    """False for a difference that is squared, as a norm written as single ops has it.

    A norm's own op is float as well: a channel that varies little differs from its mean by less
    than one int8 step.
    """
    for user in _users(node):
        if user.op_type == "Pow" or (user.op_type == "Mul" and user.inputs[0] is user.inputs[1]):
            return False
    return True


def _is_mean_outside_norms(node: ir.Node) -> bool:
    """False for a mean that a norm written as single ops subtracts."""
    return not any(user.op_type == "Sub" and not _is_outside_norms(user) for user in _users(node))


def _users(node: ir.Node) -> list[ir.Node]:
    return [use.node for use in node.outputs[0].uses()]


def _is_plain_elu(node: ir.Node) -> bool:
    """True for an alpha of 1, the only one that the kernels know."""
    return node.attributes.get_float("alpha", 1.0) == 1.0


def _pads_with_zero(node: ir.Node) -> bool:
    """True where the padding is a value that int8 represents exactly."""
    if node.attributes.get_string("mode", "constant") != "constant":
        return True
    value = node.inputs[2] if len(node.inputs) > 2 else None
    array = constant(value)
    return value is None or (array is not None and float(array.reshape(-1)[0]) == 0.0)


def _picks_by_constants(node: ir.Node) -> bool:
    """True where the indices are known."""
    return constant(node.inputs[1]) is not None


def _keeps_range(node: ir.Node) -> bool:
    """True for a resize whose results lie within its inputs' range."""
    return node.attributes.get_string("mode", "nearest") in ("nearest", "linear")


_FUSED_BOUNDS = frozenset({(0.0, math.inf), (0.0, 6.0), (-1.0, 1.0)})
"""Clips that a TFLite kernel applies to its own result: RELU, RELU6, RELU_N1_TO_1."""


def _is_fused_clip(node: ir.Node) -> bool:
    return clip_bounds(node) in _FUSED_BOUNDS


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """Lower and upper bound of a Clip, None where they are computed at run time."""
    bounds = [-math.inf, math.inf]
    for index, value in enumerate(node.inputs[1:3]):
        if value is not None:
            array = constant(value)
            if array is None:
                return None
            bounds[index] = float(array.reshape(-1)[0])
    low, high = bounds
    return low, (math.inf if high >= np.finfo(np.float32).max else high)


SIGMOID_RANGE = Range(0.0, 255 / 256)
"""TFLite's LOGISTIC wants an output scale of 1/256 and a zero point of -128: this range."""

TANH_RANGE = Range(-1.0, 127 / 128)
"""TFLite's TANH wants an output scale of 1/128 and a zero point of 0."""

FLOAT = OpRule(Role.FLOAT)
MOVES = OpRule(Role.SHARES)
RESHAPES = OpRule(Role.SHARES, channels=Channels.FLATTENS, noise=Noise.FLATTENS)
SELECTS = OpRule(Role.SHARES, computes=True, channels=Channels.KEEPS)
ELEMENTWISE = OpRule(Role.MEAN, channels=Channels.KEEPS)

TABLE: dict[str, OpRule] = {
    "Conv": OpRule(Role.WEIGHTED, _is_conv, channels=Channels.LAYER, noise=Noise.LAYER),
    "ConvTranspose": OpRule(
        Role.WEIGHTED, _is_transposed_conv, channels=Channels.LAYER, noise=Noise.LAYER
    ),
    "Gemm": OpRule(Role.WEIGHTED, _is_dense, channels=Channels.LAYER, noise=Noise.LAYER),
    "Add": OpRule(Role.ARITHMETIC, all_inputs=True, channels=Channels.JOINS),
    "Sub": OpRule(Role.ARITHMETIC, _is_outside_norms, all_inputs=True, channels=Channels.JOINS),
    "Mul": OpRule(
        Role.ARITHMETIC,
        _is_no_summed_square,
        all_inputs=True,
        channels=Channels.GATES,
        noise=Noise.GATES,
    ),
    "GlobalAveragePool": OpRule(
        Role.MEAN, _is_mean_outside_norms, channels=Channels.KEEPS, noise=Noise.AVERAGES
    ),
    "ReduceMean": OpRule(Role.MEAN, _is_mean_outside_norms, channels=Channels.REDUCES),
    "LeakyRelu": ELEMENTWISE,
    "Elu": OpRule(Role.MEAN, _is_plain_elu),
    # Lowered as a product with -1 and as a leaky ReLU with a slope of -1.
    "Neg": ELEMENTWISE,
    "Abs": ELEMENTWISE,
    "Sigmoid": OpRule(Role.FIXED, output=SIGMOID_RANGE),
    "Tanh": OpRule(Role.FIXED, output=TANH_RANGE),
    "Concat": OpRule(
        Role.SHARES, all_inputs=True, channels=Channels.CONCATENATES, noise=Noise.CONCATENATES
    ),
    "Reshape": RESHAPES,
    "Flatten": RESHAPES,
    "Squeeze": OpRule(Role.SHARES, channels=Channels.FLATTENS),
    "Unsqueeze": MOVES,
    "Transpose": MOVES,
    "Slice": OpRule(Role.SHARES, channels=Channels.SLICES, noise=Noise.SLICES),
    "Split": MOVES,
    "Identity": OpRule(Role.SHARES, channels=Channels.KEEPS),
    "DepthToSpace": MOVES,
    "SpaceToDepth": MOVES,
    "Gather": OpRule(Role.SHARES, _picks_by_constants),
    "GatherND": OpRule(Role.SHARES, _picks_by_constants),
    "Expand": MOVES,
    "Tile": MOVES,
    "MaxPool": SELECTS,
    "GlobalMaxPool": SELECTS,
    "ReduceMax": OpRule(Role.SHARES, computes=True, channels=Channels.REDUCES),
    "ReduceMin": OpRule(Role.SHARES, computes=True, channels=Channels.REDUCES),
    "Pad": OpRule(Role.SHARES, _pads_with_zero, computes=True, channels=Channels.KEEPS_IN_INT8),
    "Resize": OpRule(Role.SHARES, _keeps_range, computes=True, channels=Channels.KEEPS_IN_INT8),
    "Relu": OpRule(Role.ACTIVATION, channels=Channels.KEEPS, noise=Noise.RECTIFIES),
    "Clip": OpRule(Role.ACTIVATION, _is_fused_clip, noise=Noise.RECTIFIES),
    # Float on purpose: XNNPACK has no int8 kernel for these, and TFLite's plain ones are slower
    # than crossing into float and back.
    "AveragePool": OpRule(Role.FLOAT, channels=Channels.KEEPS),
    "Div": FLOAT,
    "PRelu": FLOAT,
    "HardSigmoid": FLOAT,
    "HardSwish": FLOAT,
    "Softmax": FLOAT,
    # Float on purpose: LiteRT's reference kernel sums int8 wrong, and sums are of squares or
    # exponentials mostly, which span too much for one scale.
    "ReduceSum": FLOAT,
    # Float on purpose: a MatMul without constant weights (the others became Gemm), and a batch
    # norm that could not be folded, whose per-channel factors need more than one int8 scale.
    "MatMul": FLOAT,
    "BatchNormalization": FLOAT,
}

LAYERS = frozenset(op for op, rule in TABLE.items() if rule.role is Role.WEIGHTED)
"""The ops with int8 weights."""
FUSES = frozenset({Role.WEIGHTED, Role.ARITHMETIC})
"""Roles whose TFLite kernels apply a following activation themselves."""


def row_of(node: ir.Node) -> OpRule:
    """The row of the node's op, whether or not this node can have its role."""
    return TABLE.get(node.op_type, FLOAT) if node.domain in ("", "ai.onnx") else FLOAT


def rule_of(node: ir.Node) -> OpRule:
    """The node's place in the table; what is not float data, or not accepted, stays float."""
    rule = row_of(node)
    floats = node.outputs[0].dtype is ir.DataType.FLOAT
    return rule if floats and rule.accepts(node) else FLOAT


def data_inputs(node: ir.Node, rule: OpRule) -> list[tuple[int, ir.Value]]:
    """Index and value of the inputs that carry data (not weights, axes or bounds)."""
    inputs = node.inputs if rule.all_inputs else node.inputs[:1]
    return [(index, value) for index, value in enumerate(inputs) if value is not None]
