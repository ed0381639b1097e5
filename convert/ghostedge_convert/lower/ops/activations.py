"""Activations: one input, one output of its shape, each element (or row) a function of itself.

What TFLite has no operator for is written with those that XNNPACK has in float.
"""

from __future__ import annotations

import math

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.fuse import FUSABLE, bounds
from ghostedge_convert.lower.graph import Graph, Node
from ghostedge_convert.lower.ops.elementwise import first, unary
from ghostedge_convert.lower.program import Quant

PROBABILITY = Quant((1 / 256,), (-128,))
"""The only output quantization that TFLite's int8 LOGISTIC and SOFTMAX kernels take."""

_TANH = Quant((1 / 128,), (0,))
"""The only output quantization that TFLite's int8 TANH kernel takes."""

_SIX = 6.0
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)
"""Default alpha and gamma of ONNX's Selu."""

_EXP_LIMIT = 20.0
"""From here on mish(x) is x in float32, while exp(2·x) is still far from infinity."""


def sigmoid(e: Emitter, node: Node) -> None:
    """Sigmoid; in int8 the kernel fixes the output's quantization."""
    unary(e, node, "LOGISTIC", quant=PROBABILITY if node.integer else None)


def tanh(e: Emitter, node: Node) -> None:
    """Tanh; in int8 the kernel fixes the output's quantization."""
    unary(e, node, "TANH", quant=_TANH if node.integer else None)


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


def elu(e: Emitter, node: Node) -> None:
    """Elu: TFLite's has an alpha of 1 only."""
    alpha = float(node.attributes.get("alpha", 1.0))
    if alpha == 1.0:
        unary(e, node, "ELU")
    else:
        _scaled_elu(e, node, alpha, 1.0)


def elu_on_integers(_graph: Graph, node: Node) -> bool:
    """With an alpha of 1, which XNNPACK has a table for."""
    return float(node.attributes.get("alpha", 1.0)) == 1.0


def selu(e: Emitter, node: Node) -> None:
    """Selu: gamma·x above zero, gamma·alpha·(exp(x) - 1) below."""
    alpha, gamma = (
        float(node.attributes.get(k, v)) for k, v in zip(("alpha", "gamma"), _SELU, strict=True)
    )
    _scaled_elu(e, node, gamma * alpha, gamma)


def _scaled_elu(e: Emitter, node: Node, below: float, above: float) -> None:
    x = first(e, node)
    negative = e.computed(node, "ELU", e.computed(node, "MINIMUM", x, 0.0))
    positive = e.computed(node, "MAXIMUM", x, 0.0)
    if above != 1.0:
        positive = e.computed(node, "MUL", positive, above)
    e.result(node, "ADD", [positive, e.computed(node, "MUL", negative, below)])


def celu(e: Emitter, node: Node) -> None:
    """Celu: max(0, x) + min(0, alpha·(exp(x/alpha) - 1)), which is alpha·elu(x/alpha)."""
    alpha = float(node.attributes.get("alpha", 1.0))
    if alpha <= 0.0:
        node.refuse(f"alpha={alpha}", "use a positive alpha")
    if alpha == 1.0:
        unary(e, node, "ELU")
        return
    scaled = e.computed(node, "ELU", e.computed(node, "MUL", first(e, node), 1.0 / alpha))
    e.result(node, "MUL", [scaled, e.scalar(alpha)])


def softplus(e: Emitter, node: Node) -> None:
    """Softplus: log(1 + exp(x)) as max(x, 0) + log(1 + exp(-abs(x))), which no x overflows."""
    x = first(e, node)
    decayed = e.computed(node, "EXP", e.computed(node, "NEG", e.computed(node, "ABS", x)))
    rest = e.computed(node, "LOG", e.computed(node, "ADD", decayed, 1.0))
    e.result(node, "ADD", [e.computed(node, "MAXIMUM", x, 0.0), rest])


def mish(e: Emitter, node: Node) -> None:
    """Mish: x·tanh(log(1 + exp(x))) as x·n / (n + 2) with n = exp(x)·(exp(x) + 2)."""
    x = first(e, node)
    power = e.computed(node, "EXP", e.computed(node, "MINIMUM", x, _EXP_LIMIT))
    n = e.computed(node, "MUL", power, e.computed(node, "ADD", power, 2.0))
    gate = e.computed(node, "DIV", n, e.computed(node, "ADD", n, 2.0))
    e.result(node, "MUL", [x, gate])


def gelu(e: Emitter, node: Node) -> None:
    """Gelu, by the error function or by tanh."""
    unary(e, node, "GELU", approximate=node.attributes.get("approximate", "none") == "tanh")


def swish(e: Emitter, node: Node) -> None:
    """Swish: x·sigmoid(alpha·x)."""
    alpha = float(node.attributes.get("alpha", 1.0))
    x = first(e, node)
    inner = x if alpha == 1.0 else e.computed(node, "MUL", x, alpha)
    e.result(node, "MUL", [x, e.computed(node, "LOGISTIC", inner)])


def softsign(e: Emitter, node: Node) -> None:
    """Softsign: x / (1 + abs(x))."""
    x = first(e, node)
    e.result(node, "DIV", [x, e.computed(node, "ADD", e.computed(node, "ABS", x), 1.0)])


def thresholded_relu(e: Emitter, node: Node) -> None:
    """ThresholdedRelu: x above alpha, else zero."""
    x = first(e, node)
    above = e.computed(node, "GREATER", x, float(node.attributes.get("alpha", 1.0)), dtype=np.bool_)
    e.result(node, "SELECT_V2", [above, x, e.scalar(0.0)])


def log_softmax(e: Emitter, node: Node) -> None:
    """LogSoftmax along any axis.

    Not TFLite's LOG_SOFTMAX: that knows the last axis only, and XNNPACK does not have it.
    """
    out = node.outputs[0]
    x = first(e, node)
    axis = int(node.attributes.get("axis", -1)) % e.value(out).rank
    place = e.order(out).index(axis)
    shape = [1 if p == place else size for p, size in enumerate(e.tensor(x).shape)]
    places = e.int32([place], "axes")
    largest = e.computed(node, "REDUCE_MAX", x, places, shape=shape, keepDims=True)
    shifted = e.computed(node, "SUB", x, largest)
    powers = e.computed(node, "EXP", shifted)
    total = e.computed(node, "SUM", powers, places, shape=shape, keepDims=True)
    e.result(node, "SUB", [shifted, e.computed(node, "LOG", total)])


def clamp(e: Emitter, node: Node) -> None:
    """Relu and Clip that stand alone."""
    low, high = bounds(e.graph, node)
    x = e.operand(node, 0, e.order(node.outputs[0]))
    if (low, high) in FUSABLE:
        e.result(node, FUSABLE[low, high], [x])
    elif math.isinf(low) and math.isinf(high):
        e.bind(node, x)
    elif math.isinf(high):
        e.result(node, "MAXIMUM", [x, e.scalar(low)])
    else:
        if not math.isinf(low):
            shape = e.tensor(x).shape
            raised = e.temporary(f"{node.outputs[0]}/raised", shape, x)
            x = e.op("MAXIMUM", [x, e.scalar(low)], [raised])
        e.result(node, "MINIMUM", [x, e.scalar(high)])


def clamps_on_integers(graph: Graph, node: Node) -> bool:
    """TFLite's int8 kernels clamp to the bounds of its activations only."""
    return bounds(graph, node) in FUSABLE


def hard_sigmoid(e: Emitter, node: Node) -> None:
    """clip(alpha·x + beta, 0, 1) as relu6(6·alpha·x + 6·beta) / 6, all of it in XNNPACK."""
    alpha = _SIX * float(node.attributes.get("alpha", 0.2))
    beta = _SIX * float(node.attributes.get("beta", 0.5))
    out = node.outputs[0]
    x = e.operand(node, 0, e.order(out))
    shape = e.tensor(x).shape
    if not math.isclose(alpha, 1.0, rel_tol=1e-6):
        scaled = e.temporary(f"{out}/scaled", shape, x)
        x = e.op("MUL", [x, e.scalar(alpha)], [scaled], fusedActivationFunction="NONE")
    gate = e.temporary(f"{out}/gate", shape, x)
    x = e.op("ADD", [x, e.scalar(beta)], [gate], fusedActivationFunction="RELU6")
    e.result(node, "MUL", [x, e.scalar(1 / _SIX)])
