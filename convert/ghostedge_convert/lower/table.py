"""The op table: every ONNX op that can be lowered, as data.

A row says which TFLite operator an op becomes, what it asks of the axis order, which attributes
are understood, and whether it exists on integers; a handler of its own stands only where the
behaviour differs. Versions of the TFLite operators are in :data:`.program.BUILTINS`. What is not
here is refused with the node's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import DEQUANTIZE, QUANTIZE, Graph, Node
from ghostedge_convert.lower.layout import Rule
from ghostedge_convert.lower.ops import (
    activations,
    attention,
    conv,
    einsum,
    elementwise,
    gather,
    linear,
    norm,
    pool,
    resize,
    shape,
    transpose_conv,
)

Emit = Callable[[Emitter, Node], None]
OnIntegers = Callable[[Graph, Node], bool]


NUMBERS = frozenset({"float32", "int8", "uint8"})
ALL_TYPES = NUMBERS | {"int32", "int64", "bool"}


def _always(_graph: Graph, _node: Node) -> bool:
    return True


def _never(_graph: Graph, _node: Node) -> bool:
    return False


@dataclass(frozen=True)
class Row:
    """One ONNX op.

    Attributes:
        op: ONNX op type.
        emit: Writes it.
        rule: What it asks of the axis order.
        attributes: ONNX attributes that are understood; another one is refused.
        on_integers: Whether a node of it can compute on int8.
        fuses: Whether it takes the activation after it.
        types: Element types that it can give.
    """

    op: str
    emit: Emit
    rule: Rule = Rule.SAME
    attributes: tuple[str, ...] = ()
    on_integers: OnIntegers = _always
    fuses: bool = False
    types: frozenset[str] = NUMBERS


def _unary(op: str, builtin: str, on_integers: OnIntegers = _never) -> Row:
    return Row(op, partial(elementwise.unary, builtin=builtin), on_integers=on_integers)


def _binary(op: str, builtin: str, on_integers: OnIntegers = _always) -> Row:
    emit = partial(elementwise.binary, builtin=builtin)
    return Row(op, emit, on_integers=on_integers, fuses=True)


def _condition(op: str, builtin: str) -> Row:
    emit = partial(elementwise.binary, builtin=builtin)
    return Row(op, emit, on_integers=_never, types=frozenset({"bool"}))


def _activation(
    op: str, emit: Emit, *attributes: str, on_integers: OnIntegers = _never, fuses: bool = False
) -> Row:
    return Row(op, emit, attributes=attributes, on_integers=on_integers, fuses=fuses)


def _arg(op: str, builtin: str) -> Row:
    attributes = ("axis", "keepdims", "select_last_index")
    emit = partial(pool.arg, builtin=builtin)
    return Row(op, emit, attributes=attributes, on_integers=_never, types=frozenset({"int64"}))


def _reduction(op: str, emit: Emit, on_integers: OnIntegers = _never) -> Row:
    attributes = ("axes", "keepdims", "noop_with_empty_axes")
    return Row(op, emit, attributes=attributes, on_integers=on_integers)


def _moves(op: str, emit: Emit, *attributes: str) -> Row:
    return Row(op, emit, Rule.FREE, attributes, types=ALL_TYPES)


_WINDOW = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")
_PAIR = ("axis", "block_size", "output_dtype", "precision", "saturate")
_ATTENTION = (
    "is_causal",
    "kv_num_heads",
    "q_num_heads",
    "qk_matmul_output_mode",
    "scale",
    "softcap",
    "softmax_precision",
)
_RESIZE = (
    "antialias",
    "axes",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "keep_aspect_ratio_policy",
    "mode",
    "nearest_mode",
)

ROWS: tuple[Row, ...] = (
    _binary("Add", "ADD"),
    _binary("Sub", "SUB"),
    _binary("Mul", "MUL"),
    _binary("Div", "DIV", _never),
    Row("Pow", elementwise.power, on_integers=_never),
    Row("Reciprocal", elementwise.reciprocal, on_integers=_never),
    Row("Max", partial(elementwise.extremum, builtin="MAXIMUM"), on_integers=_never),
    Row("Min", partial(elementwise.extremum, builtin="MINIMUM"), on_integers=_never),
    Row("Neg", elementwise.negative),
    Row("Abs", elementwise.absolute),
    Row("Erf", elementwise.erf, on_integers=_never),
    _unary("Sqrt", "SQRT"),
    _unary("Exp", "EXP"),
    _unary("Log", "LOG"),
    _unary("Sin", "SIN"),
    _unary("Cos", "COS"),
    _unary("Sign", "SIGN"),
    _unary("Floor", "FLOOR"),
    _unary("Ceil", "CEIL"),
    _unary("Round", "ROUND"),
    _condition("Equal", "EQUAL"),
    _condition("Greater", "GREATER"),
    _condition("GreaterOrEqual", "GREATER_EQUAL"),
    _condition("Less", "LESS"),
    _condition("LessOrEqual", "LESS_EQUAL"),
    _condition("And", "LOGICAL_AND"),
    _condition("Or", "LOGICAL_OR"),
    _condition("Xor", "NOT_EQUAL"),
    Row(
        "Not",
        partial(elementwise.unary, builtin="LOGICAL_NOT"),
        on_integers=_never,
        types=frozenset({"bool"}),
    ),
    Row("Where", elementwise.where, on_integers=_never, types=ALL_TYPES),
    Row("Cast", elementwise.cast, Rule.SAME, ("to", "saturate"), _never, types=ALL_TYPES),
    _unary("HardSwish", "HARD_SWISH", _always),
    _activation("Tanh", activations.tanh, on_integers=_always),
    _activation("Sigmoid", activations.sigmoid, on_integers=_always),
    _activation("LeakyRelu", activations.leaky_relu, "alpha", on_integers=_always),
    _activation("PRelu", activations.prelu),
    _activation("Relu", activations.clamp, on_integers=_always),
    _activation("Clip", activations.clamp, on_integers=activations.clamps_on_integers),
    _activation("ThresholdedRelu", activations.thresholded_relu, "alpha"),
    _activation("HardSigmoid", activations.hard_sigmoid, "alpha", "beta", fuses=True),
    _activation("Elu", activations.elu, "alpha", on_integers=activations.elu_on_integers),
    _activation("Selu", activations.selu, "alpha", "gamma"),
    _activation("Celu", activations.celu, "alpha"),
    _activation("Softplus", activations.softplus),
    _activation("Softsign", activations.softsign),
    _activation("Mish", activations.mish),
    _activation("Gelu", activations.gelu, "approximate"),
    _activation("Swish", activations.swish, "alpha"),
    _activation(
        "Softmax", activations.softmax, "axis", on_integers=activations.softmax_on_integers
    ),
    _activation("LogSoftmax", activations.log_softmax, "axis"),
    Row(
        "BatchNormalization",
        norm.batch_norm,
        attributes=("epsilon", "momentum", "training_mode"),
        on_integers=_never,
        fuses=True,
    ),
    Row(
        "InstanceNormalization",
        norm.instance_norm,
        Rule.CHANNELS_LAST,
        ("epsilon",),
        _never,
        fuses=True,
    ),
    Row(
        "GroupNormalization",
        norm.group_norm,
        Rule.CHANNELS_LAST,
        ("epsilon", "num_groups", "stash_type"),
        _never,
        fuses=True,
    ),
    Row(
        "LayerNormalization",
        norm.layer_norm,
        attributes=("axis", "epsilon", "stash_type"),
        on_integers=_never,
        fuses=True,
    ),
    Row("Identity", elementwise.identity, types=ALL_TYPES),
    Row(QUANTIZE, elementwise.quantize, attributes=_PAIR),
    Row(DEQUANTIZE, elementwise.dequantize, attributes=_PAIR),
    Row("Conv", conv.conv, Rule.CHANNELS_LAST, ("group", *_WINDOW), fuses=True),
    Row(
        "ConvTranspose",
        transpose_conv.conv_transpose,
        Rule.CHANNELS_LAST,
        ("group", "output_padding", "output_shape", *_WINDOW),
    ),
    Row("DepthToSpace", shape.depth_to_space, Rule.CHANNELS_LAST, ("blocksize", "mode")),
    Row("SpaceToDepth", shape.space_to_depth, Rule.CHANNELS_LAST, ("blocksize",)),
    Row(
        "MaxPool",
        pool.max_pool,
        Rule.CHANNELS_LAST,
        ("ceil_mode", "storage_order", *_WINDOW),
        fuses=True,
    ),
    Row(
        "AveragePool",
        pool.average_pool,
        Rule.CHANNELS_LAST,
        ("ceil_mode", "count_include_pad", *_WINDOW),
        _never,
        fuses=True,
    ),
    Row("GlobalMaxPool", pool.global_max_pool, Rule.CHANNELS_LAST, fuses=True),
    Row("GlobalAveragePool", pool.global_average_pool, Rule.CHANNELS_LAST),
    _reduction("ReduceMean", partial(pool.reduce, builtin="MEAN"), _always),
    _reduction("ReduceMax", partial(pool.reduce, builtin="REDUCE_MAX"), _always),
    _reduction("ReduceMin", partial(pool.reduce, builtin="REDUCE_MIN"), _always),
    _reduction("ReduceSum", partial(pool.reduce, builtin="SUM")),
    _reduction("ReduceProd", partial(pool.reduce, builtin="REDUCE_PROD")),
    _reduction("ReduceL1", pool.reduce_l1),
    _reduction("ReduceL2", pool.reduce_l2),
    _reduction("ReduceSumSquare", pool.reduce_sum_square),
    _reduction("ReduceLogSumExp", pool.reduce_log_sum_exp),
    _arg("ArgMax", "ARG_MAX"),
    _arg("ArgMin", "ARG_MIN"),
    Row("TopK", pool.top_k, attributes=("axis", "largest", "sorted"), on_integers=_never),
    Row("Resize", resize.resize, Rule.CHANNELS_LAST, _RESIZE, resize.resize_on_integers),
    Row(
        "Gemm",
        linear.gemm,
        Rule.FREE,
        ("alpha", "beta", "transA", "transB"),
        linear.gemm_on_integers,
        fuses=True,
    ),
    Row("MatMul", linear.matmul, Rule.FREE, on_integers=linear.matmul_on_integers, fuses=True),
    Row("Concat", shape.concat, attributes=("axis",), types=ALL_TYPES),
    Row("Slice", shape.slice_, types=ALL_TYPES),
    Row("Split", shape.split, attributes=("axis", "num_outputs"), types=ALL_TYPES),
    Row("Pad", shape.pad, attributes=("mode",)),
    Row("Expand", shape.expand, types=ALL_TYPES),
    Row("Tile", shape.tile, types=ALL_TYPES),
    Row("Gather", gather.gather, attributes=("axis",), types=ALL_TYPES),
    _moves("GatherND", gather.gather_nd, "batch_dims"),
    Row("ScatterND", gather.scatter_nd, Rule.FREE, ("reduction",), _never),
    Row("Attention", attention.attention, Rule.FREE, _ATTENTION, _never),
    Row("Einsum", einsum.einsum, Rule.FREE, ("equation",), _never),
    Row("CumSum", pool.cumulative_sum, attributes=("exclusive", "reverse"), on_integers=_never),
    _moves("Reshape", shape.reshape, "allowzero"),
    _moves("Flatten", shape.reshape, "axis"),
    _moves("Squeeze", shape.reshape),
    _moves("Unsqueeze", shape.reshape),
    _moves("Transpose", shape.transpose, "perm"),
)


def register(rows: Iterable[Row]) -> dict[str, Row]:
    """The rows by op.

    Raises:
        ValueError: Two rows claim the same op.
    """
    table: dict[str, Row] = {}
    for row in rows:
        if row.op in table:
            raise ValueError(f"{row.op} has two rows in the op table")
        table[row.op] = row
    return table


TABLE = register(ROWS)


def row_of(node: Node) -> Row:
    """The row of a node's op.

    Raises:
        UnsupportedOpError: The op, or an attribute of it, is not in the table.
    """
    row = TABLE.get(node.op)
    if row is None:
        node.refuse(
            f"the op {node.op!r} cannot be lowered to TFLite",
            f"replace it by ops that can: {', '.join(sorted(TABLE))}",
        )
    for name in node.attributes:
        if name not in row.attributes:
            node.refuse(
                f"its attribute {name!r} is not understood",
                f"known for {node.op}: {', '.join(row.attributes) or 'none'}",
            )
    return row
