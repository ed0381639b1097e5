"""Ops that treat every element alike: arithmetic, comparisons, types; activations are apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.program import Array, Quant

_MOST_FACTORS = 8
"""Up to this exponent a power is a product: two or three multiplications in XNNPACK."""

_ERF_END = 4.0
"""From here on erf is 1 in float32."""

_ERF_ABOVE = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
    -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
)  # fmt: skip
_ERF_BELOW = (
    -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
    -1.42647390514189e-02,
)  # fmt: skip
"""erf(x) = x·above(x²) / below(x²) in float32, highest power first (source: Eigen's ``perf``)."""


def first(e: Emitter, node: Node) -> int:
    """A node's first input in the axis order of its output."""
    return e.operand(node, 0, e.order(node.outputs[0]))


def unary(e: Emitter, node: Node, builtin: str, **options: Any) -> None:
    """One input, one output of the same shape."""
    e.result(node, builtin, [first(e, node)], **options)


def binary(e: Emitter, node: Node, builtin: str) -> None:
    """Two operands, broadcast as ONNX does."""
    order = e.order(node.outputs[0])
    a, b = e.operand(node, 0, order), e.operand(node, 1, order)
    if builtin == "MUL":
        _product(e, node, a, b)
    else:
        e.result(node, builtin, [a, b])


def _product(e: Emitter, node: Node, a: int, b: int) -> None:
    e.result(node, "MUL", [a, b], traits=["upscaling"] if _upscales(e, node, a, b) else [])


def _upscales(e: Emitter, node: Node, a: int, b: int) -> bool:
    """Whether an int8 product has a larger step than the output: a newer MUL."""
    quants = (e.tensor(a).quant, e.tensor(b).quant, e.value(node.outputs[0]).quant)
    if not node.integer or None in quants:
        return False
    one, two, out = (q.scale for q in quants if q is not None)
    return one * two / out >= 1.0


def negative(e: Emitter, node: Node) -> None:
    """Neg; in int8 as a product with -1, which XNNPACK has."""
    if not node.integer:
        unary(e, node, "NEG")
        return
    _product(e, node, first(e, node), e.constant(np.int8(-1), "minus_one", Quant((1.0,), (0,))))


def absolute(e: Emitter, node: Node) -> None:
    """Abs; in int8 as a leaky ReLU with a slope of -1, which XNNPACK has."""
    if node.integer:
        unary(e, node, "LEAKY_RELU", alpha=-1.0)
    else:
        unary(e, node, "ABS")


def power(e: Emitter, node: Node) -> None:
    """Pow: products, roots and quotients for the exponents that are these, else POW."""
    exponent = e.graph.constant(node, 1)
    value = None
    if exponent is not None and exponent.size == 1:
        value = float(exponent.reshape(-1)[0])
    x = first(e, node)
    if value in _POWERS:
        _POWERS[value](e, node, x)
    elif exponent is None:
        e.result(node, "POW", [x, e.operand(node, 1, e.order(node.outputs[0]))])
    else:
        e.result(node, "POW", [x, _real_operand(e, node, exponent)])


def _real_operand(e: Emitter, node: Node, data: Array) -> int:
    """A constant that ONNX may store as integers, as float32 in the output's axis order."""
    order = e.order(node.outputs[0])
    shape = (1,) * (len(order) - data.ndim) + data.shape
    return e.constant(data.astype(np.float32).reshape(shape).transpose(order), node.inputs[1])


def _whole_power(e: Emitter, node: Node, x: int, factors: int) -> None:
    half = _factor(e, node, x, factors // 2)
    other = half if factors % 2 == 0 else e.computed(node, "MUL", half, x)
    e.result(node, "MUL", [half, other])


def _factor(e: Emitter, node: Node, x: int, factors: int) -> int:
    if factors == 1:
        return x
    half = _factor(e, node, x, factors // 2)
    square = e.computed(node, "MUL", half, half)
    return square if factors % 2 == 0 else e.computed(node, "MUL", square, x)


_POWERS: dict[float | None, Callable[[Emitter, Node, int], None]] = {
    **{float(n): partial(_whole_power, factors=n) for n in range(2, _MOST_FACTORS + 1)},
    1.0: lambda e, node, x: e.bind(node, x),
    0.5: lambda e, node, x: e.result(node, "SQRT", [x]),
    -0.5: lambda e, node, x: e.result(node, "RSQRT", [x]),
    -1.0: lambda e, node, x: e.result(node, "DIV", [e.scalar(1.0), x]),
}


def reciprocal(e: Emitter, node: Node) -> None:
    """One divided by each element."""
    e.result(node, "DIV", [e.scalar(1.0), first(e, node)])


def extremum(e: Emitter, node: Node, builtin: str) -> None:
    """Max and Min of any number of operands, two at a time."""
    order = e.order(node.outputs[0])
    x, *others = (e.operand(node, position, order) for position in range(len(node.inputs)))
    for other in others[:-1]:
        x = e.computed(node, builtin, x, other)
    if others:
        e.result(node, builtin, [x, others[-1]])
    else:
        e.bind(node, x)


def erf(e: Emitter, node: Node) -> None:
    """The error function as a quotient of polynomials: TFLite has no operator for it."""
    x = e.computed(node, "MINIMUM", first(e, node), _ERF_END)
    x = e.computed(node, "MAXIMUM", x, -_ERF_END)
    square = e.computed(node, "MUL", x, x)
    above, below = (_polynomial(e, node, square, c) for c in (_ERF_ABOVE, _ERF_BELOW))
    e.result(node, "DIV", [e.computed(node, "MUL", x, above), below])


def _polynomial(e: Emitter, node: Node, x: int, coefficients: tuple[float, ...]) -> int:
    highest, following, *rest = coefficients
    total = e.computed(node, "ADD", e.computed(node, "MUL", x, highest), following)
    for coefficient in rest:
        total = e.computed(node, "ADD", e.computed(node, "MUL", total, x), coefficient)
    return total


def where(e: Emitter, node: Node) -> None:
    """One operand where the condition holds, the other elsewhere, broadcast as ONNX does."""
    order = e.order(node.outputs[0])
    e.result(node, "SELECT_V2", [e.operand(node, position, order) for position in range(3)])


def cast(e: Emitter, node: Node) -> None:
    """Another element type; to the same one it is nothing."""
    x, target = first(e, node), e.value(node.outputs[0]).dtype
    source = e.tensor(x).dtype
    if source == target:
        e.bind(node, x)
    else:
        e.result(node, "CAST", [x], inDataType=source.name, outDataType=target.name)


def identity(e: Emitter, node: Node) -> None:
    """Nothing: the output is the input's tensor."""
    e.bind(node, e.activation(node.inputs[0]))


def dequantize(e: Emitter, node: Node) -> None:
    """From int8 (or the caller's uint8) to float32."""
    unary(e, node, "DEQUANTIZE")


def quantize(e: Emitter, node: Node) -> None:
    """To int8, from float32, from other parameters, or from the caller's uint8.

    From uint8 it goes through float, which gives the same integers: XNNPACK has both steps but no
    uint8 → int8, which LiteRT's own kernel computes value by value, outside the delegate.
    """
    x = first(e, node)
    source = e.tensor(x)
    if source.dtype == np.uint8:
        real = np.dtype(np.float32)
        target = e.temporary(f"{source.name}/real", source.shape, x, dtype=real, quant=None)
        x = e.op("DEQUANTIZE", [x], [target])
    e.result(node, "QUANTIZE", [x])
