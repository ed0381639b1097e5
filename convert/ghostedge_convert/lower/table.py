"""The op table: every ONNX op that can be lowered, as data.

A row says which TFLite operator an op becomes, what it asks of the axis order, which attributes
are understood, and whether it exists on integers; a handler of its own stands only where the
behaviour differs. Versions of the TFLite operators are in :mod:`.builtins`. What is not here is
refused with the node's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import DEQUANTIZE, QUANTIZE, Graph, Node
from ghostedge_convert.lower.layout import Rule
from ghostedge_convert.lower.ops import conv, elementwise, linear, pool, reduce, resize, shape

Emit = Callable[[Emitter, Node], None]
OnIntegers = Callable[[Graph, Node], bool]


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
    """

    op: str
    emit: Emit
    rule: Rule = Rule.SAME
    attributes: tuple[str, ...] = ()
    on_integers: OnIntegers = _always
    fuses: bool = False


def _unary(op: str, builtin: str, on_integers: OnIntegers = _always) -> Row:
    return Row(op, partial(elementwise.unary, builtin=builtin), on_integers=on_integers)


def _binary(op: str, builtin: str, on_integers: OnIntegers = _always) -> Row:
    emit = partial(elementwise.binary, builtin=builtin)
    return Row(op, emit, on_integers=on_integers, fuses=True)


def _reduction(op: str, emit: Emit, on_integers: OnIntegers = _always) -> Row:
    attributes = ("axes", "keepdims", "noop_with_empty_axes")
    return Row(op, emit, attributes=attributes, on_integers=on_integers)


def _moves(op: str, emit: Emit, *attributes: str) -> Row:
    return Row(op, emit, Rule.FREE, attributes)


_WINDOW = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")
_PAIR = ("axis", "block_size", "output_dtype", "precision", "saturate")
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
    _unary("HardSwish", "HARD_SWISH"),
    _unary("Sqrt", "SQRT", _never),
    Row("Pow", elementwise.power, on_integers=_never),
    Row("Reciprocal", elementwise.reciprocal, on_integers=_never),
    Row("Max", partial(elementwise.extremum, builtin="MAXIMUM"), on_integers=_never),
    Row("Min", partial(elementwise.extremum, builtin="MINIMUM"), on_integers=_never),
    Row("Sigmoid", elementwise.sigmoid),
    Row(
        "Softmax",
        elementwise.softmax,
        attributes=("axis",),
        on_integers=elementwise.softmax_on_integers,
    ),
    _unary("Tanh", "TANH", _never),
    Row("LeakyRelu", elementwise.leaky_relu, attributes=("alpha",)),
    Row("PRelu", elementwise.prelu, on_integers=_never),
    Row("Relu", elementwise.clamp),
    Row("Clip", elementwise.clamp, on_integers=elementwise.clamps_on_integers),
    Row(
        "HardSigmoid",
        elementwise.hard_sigmoid,
        attributes=("alpha", "beta"),
        on_integers=_never,
        fuses=True,
    ),
    Row(
        "BatchNormalization",
        elementwise.batch_norm,
        attributes=("epsilon", "momentum", "training_mode"),
        on_integers=_never,
        fuses=True,
    ),
    Row("Identity", elementwise.identity),
    Row(QUANTIZE, elementwise.quantize, attributes=_PAIR),
    Row(DEQUANTIZE, elementwise.dequantize, attributes=_PAIR),
    Row("Conv", conv.conv, Rule.CHANNELS_LAST, ("group", *_WINDOW), fuses=True),
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
    Row("GlobalAveragePool", reduce.global_average_pool, Rule.CHANNELS_LAST),
    _reduction("ReduceMean", partial(reduce.reduce, builtin="MEAN")),
    _reduction("ReduceSum", partial(reduce.reduce, builtin="SUM"), _never),
    _reduction("ReduceL2", reduce.reduce_l2, _never),
    Row("Resize", resize.resize, Rule.CHANNELS_LAST, _RESIZE),
    Row(
        "Gemm",
        linear.gemm,
        Rule.FREE,
        ("alpha", "beta", "transA", "transB"),
        linear.gemm_on_integers,
        fuses=True,
    ),
    Row("MatMul", linear.matmul, Rule.FREE, on_integers=linear.matmul_on_integers, fuses=True),
    Row("Concat", shape.concat, attributes=("axis",)),
    Row("Slice", shape.slice_),
    Row("Split", shape.split, attributes=("axis", "num_outputs")),
    Row("Pad", shape.pad, attributes=("mode",)),
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
