"""Ops that treat every element alike: activations, arithmetic, batch norm, softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.fuse import FUSABLE, bounds
from ghostedge_convert.lower.graph import Graph, Node
from ghostedge_convert.lower.words import Quant

PROBABILITY = Quant((1 / 256,), (-128,))
"""The only output quantization that TFLite's int8 LOGISTIC and SOFTMAX kernels take."""

_SIX = 6.0
_SQUARE, _ROOT = 2.0, 0.5


def unary(e: Emitter, node: Node, builtin: str, **options: Any) -> None:
    """One input, one output of the same shape."""
    x = e.operand(node, 0, e.order(node.outputs[0]))
    e.result(node, builtin, [x], **options)


def sigmoid(e: Emitter, node: Node) -> None:
    """Sigmoid; in int8 the kernel fixes the output's quantization."""
    unary(e, node, "LOGISTIC", quant=PROBABILITY if node.integer else None)


def leaky_relu(e: Emitter, node: Node) -> None:
    """LeakyRelu: one slope for all that is negative."""
    unary(e, node, "LEAKY_RELU", alpha=float(node.attributes.get("alpha", 0.01)))


def prelu(e: Emitter, node: Node) -> None:
    """PRelu: a slope for each channel, or whatever broadcasts."""
    order = e.order(node.outputs[0])
    e.result(node, "PRELU", [e.operand(node, 0, order), e.operand(node, 1, order)])


def softmax(e: Emitter, node: Node) -> None:
    """Softmax along any axis: TFLite's works along the last."""
    rank = e.value(node.outputs[0]).rank
    axis = int(node.attributes.get("axis", -1)) % rank
    order = e.order(node.outputs[0])
    order = (*(a for a in order if a != axis), axis)
    x = e.operand(node, 0, order)
    quant = PROBABILITY if node.integer else None
    e.result(node, "SOFTMAX", [x], order=order, quant=quant, beta=1.0)


def softmax_on_integers(graph: Graph, node: Node) -> bool:
    """Only where the pair behind it has the kernel's own steps of 1/256.

    Over many channels all probabilities are small: requantizing those steps to finer ones would
    leave a few codes of what the pair holds. Softmax in float between two conversions is faster
    besides, being in XNNPACK: half the time from 32 channels on, x86, LiteRT 2.3.
    """
    readers = graph.consumers.get(node.outputs[0], ())
    return all(graph.values[reader.outputs[0]].quant == PROBABILITY for reader in readers)


def binary(e: Emitter, node: Node, builtin: str) -> None:
    """Two operands, broadcast as ONNX does."""
    order = e.order(node.outputs[0])
    a, b = e.operand(node, 0, order), e.operand(node, 1, order)
    traits = ["upscaling"] if builtin == "MUL" and _upscales(e, node, a, b) else []
    e.result(node, builtin, [a, b], traits=traits)


def _upscales(e: Emitter, node: Node, a: int, b: int) -> bool:
    """Whether an int8 product has a larger step than the output: a newer MUL."""
    quants = (e.tensor(a).quant, e.tensor(b).quant, e.value(node.outputs[0]).quant)
    if not node.integer or None in quants:
        return False
    one, two, out = (q.scale for q in quants if q is not None)
    return one * two / out >= 1.0


def clamp(e: Emitter, node: Node) -> None:
    """Relu and Clip that stand alone."""
    low, high = bounds(e.graph, node)
    x = e.operand(node, 0, e.order(node.outputs[0]))
    if (low, high) in FUSABLE:
        e.result(node, FUSABLE[low, high], [x])
    elif math.isinf(low) and math.isinf(high):
        e.bind(node, x)
    elif math.isinf(high):
        e.result(node, "MAXIMUM", [x, _scalar(e, low)])
    else:
        if not math.isinf(low):
            shape = e.tensor(x).shape
            raised = e.temporary(f"{node.outputs[0]}/raised", shape, x)
            x = e.op("MAXIMUM", [x, _scalar(e, low)], [raised])
        e.result(node, "MINIMUM", [x, _scalar(e, high)])


def clamps_on_integers(graph: Graph, node: Node) -> bool:
    """TFLite's int8 kernels clamp to the bounds of its activations only."""
    return bounds(graph, node) in FUSABLE


def _scalar(e: Emitter, value: float) -> int:
    return e.constant(np.float32(value), "scalar")


def power(e: Emitter, node: Node) -> None:
    """Pow with the exponents that have a kernel of their own: 2 and 1/2."""
    exponent = e.graph.constant(node, 1)
    known = exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0])
    x = e.operand(node, 0, e.order(node.outputs[0]))
    if known == _SQUARE:
        e.result(node, "MUL", [x, x])
    elif known == _ROOT:
        e.result(node, "SQRT", [x])
    else:
        node.refuse("an exponent other than 2 and 0.5", "write it with Mul, Div and Sqrt")


def reciprocal(e: Emitter, node: Node) -> None:
    """One divided by each element."""
    x = e.operand(node, 0, e.order(node.outputs[0]))
    e.result(node, "DIV", [_scalar(e, 1.0), x])


def extremum(e: Emitter, node: Node, builtin: str) -> None:
    """Max and Min of two operands."""
    if len(node.inputs) != 2:
        node.refuse(f"{len(node.inputs)} operands", "compare two at a time")
    order = e.order(node.outputs[0])
    e.result(node, builtin, [e.operand(node, position, order) for position in (0, 1)])


def hard_sigmoid(e: Emitter, node: Node) -> None:
    """clip(alpha·x + beta, 0, 1) as relu6(6·alpha·x + 6·beta) / 6, all of it in XNNPACK."""
    alpha = _SIX * float(node.attributes.get("alpha", 0.2))
    beta = _SIX * float(node.attributes.get("beta", 0.5))
    out = node.outputs[0]
    x = e.operand(node, 0, e.order(out))
    shape = e.tensor(x).shape
    if not math.isclose(alpha, 1.0, rel_tol=1e-6):
        scaled = e.temporary(f"{out}/scaled", shape, x)
        x = e.op("MUL", [x, _scalar(e, alpha)], [scaled], fusedActivationFunction="NONE")
    gate = e.temporary(f"{out}/gate", shape, x)
    x = e.op("ADD", [x, _scalar(e, beta)], [gate], fusedActivationFunction="RELU6")
    e.result(node, "MUL", [x, _scalar(e, 1 / _SIX)])


def batch_norm(e: Emitter, node: Node) -> None:
    """A batch norm that no convolution absorbed: one multiply, one add."""
    if node.attributes.get("training_mode", 0) or len(node.outputs) > 1:
        node.refuse("training mode", "export the model in evaluation mode")
    parameters = [e.graph.constant(node, position) for position in range(1, 5)]
    scale, shift, mean, variance = (
        p.astype(np.float64)
        if p is not None
        else node.refuse("its parameters are computed", "make them constants")
        for p in parameters
    )
    factor = scale / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    order = e.order(node.outputs[0])
    per_channel = (1, -1) + (1,) * (len(order) - 2)
    x = e.operand(node, 0, order)
    factors, shifts = (
        e.constant(v.astype(np.float32).reshape(per_channel).transpose(order), node.name)
        for v in (factor, shift - mean * factor)
    )
    scaled = e.temporary(f"{node.outputs[0]}/scaled", e.tensor(x).shape, x)
    x = e.op("MUL", [x, factors], [scaled], fusedActivationFunction="NONE")
    e.result(node, "ADD", [x, shifts])


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
    x = e.operand(node, 0, e.order(node.outputs[0]))
    source = e.tensor(x)
    if source.dtype == np.uint8:
        real = np.dtype(np.float32)
        target = e.temporary(f"{source.name}/real", source.shape, x, dtype=real, quant=None)
        x = e.op("DEQUANTIZE", [x], [target])
    e.result(node, "QUANTIZE", [x])
