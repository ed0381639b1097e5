"""Weights that the file stores small and the graph decodes before it computes in float32.

Two forms are read: ``Cast`` of a float16 constant, and ``Mul(Cast(int8 constant), scale)`` with a
scale per tensor or along one axis. Both are constants to everything else; only where a linear op
reads one as its weights is the stored form kept, for TFLite to store it too. Weights behind a
DequantizeLinear are :mod:`.qdq`'s, and come out the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx

from ghostedge_convert.lower.graph import Value
from ghostedge_convert.lower.program import Array, Quant

_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_WEIGHTS = 1  # Their input position.


def stored_weights(
    nodes: Iterable[onnx.NodeProto], constants: Mapping[str, Array]
) -> dict[str, Value]:
    """The weights that are stored as something else, by the name of their decoded form.

    Args:
        nodes: The model's nodes, those that decode among them.
        constants: Its constants, decoded ones included.
    """
    nodes = list(nodes)
    casts = {n.output[0]: n.input[0] for n in nodes if n.op_type == "Cast"}
    found: dict[str, Value] = {}
    for node in nodes:
        name = node.output[0] if len(node.output) else ""
        if name not in constants or constants[name].dtype != np.float32:
            continue
        if node.op_type == "Cast":
            value = _float16(name, constants[node.input[0]])
        elif node.op_type == "Mul":
            value = _int8(name, [(constants[i], casts.get(i)) for i in node.input], constants)
        else:
            value = None
        if value is not None:
            found[name] = value
    others = {
        name
        for node in nodes
        for position, name in enumerate(node.input)
        if node.op_type not in _LINEAR or position != _WEIGHTS
    }
    return {name: value for name, value in found.items() if name not in others}


def _float16(name: str, stored: Array) -> Value | None:
    return (
        Value(name, stored.shape, stored.dtype, data=stored) if stored.dtype == np.float16 else None
    )


def _int8(
    name: str, factors: list[tuple[Array, str | None]], constants: Mapping[str, Array]
) -> Value | None:
    """int8 steps times their scale, in either order; None for any other product."""
    for (steps, source), (scale, _) in (factors, factors[::-1]):
        stored = constants[source] if source else steps
        if stored.dtype != np.int8 or scale.ndim > stored.ndim or not (scale > 0).all():
            continue
        shape = (1,) * (stored.ndim - scale.ndim) + scale.shape  # aligned right, as ONNX does
        axes = [axis for axis, size in enumerate(shape) if size > 1]
        if len(axes) <= 1 and np.broadcast_shapes(shape, stored.shape) == stored.shape:
            scales = tuple(float(s) for s in scale.reshape(-1))
            quant = Quant(scales, (0,) * len(scales), axes[0] if axes else 0)
            return Value(name, stored.shape, stored.dtype, quant, stored)
    return None
