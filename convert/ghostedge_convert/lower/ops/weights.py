"""Constant weights and biases of linear ops, float32 or int8."""

from __future__ import annotations

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.words import Array, Quant

_BIAS = 2  # Its input position in Conv and Gemm; MatMul has none.


def weights(
    e: Emitter, node: Node, position: int, *, channel_axis: int
) -> tuple[Array, Quant | None]:
    """The weights of a node in ONNX's order, with their quantization where it is integer.

    Raises:
        UnsupportedOpError: They are computed, or quantized in a way TFLite has no kernel for.
    """
    name = node.inputs[position]
    value = e.value(name)
    if value.data is None:
        node.refuse("its weights are computed by the graph", "make the weights constants")
    if not node.integer or value.quant is None:
        return e.real(name), None
    quant = value.quant
    if any(quant.zero_points):
        node.refuse(
            f"weights with a zero point of {next(z for z in quant.zero_points if z)}",
            "quantize weights symmetrically (zero point 0)",
        )
    if not quant.per_tensor and quant.axis != channel_axis:
        node.refuse(
            f"weights quantized along axis {quant.axis}",
            f"quantize them along the output channels (axis {channel_axis})",
        )
    return value.data, quant


def bias(
    e: Emitter, node: Node, x: int, count: int, weight_quant: Quant | None, *, repeat: int = 1
) -> int:
    """The bias of a linear op, always present: int32 with scale input·weight in integer ops.

    Args:
        e: The emitter.
        node: A Conv, Gemm or MatMul.
        x: The tensor it reads.
        count: Output channels.
        weight_quant: Quantization of the weights, None in float.
        repeat: How often the channels follow one another (see :mod:`.fold`).
    """
    name = node.input(_BIAS)
    real = np.zeros(count, np.float32) if name is None else e.real(name)
    label = f"{node.outputs[0]}/bias" if name is None else name
    if weight_quant is None:
        return e.constant(real.astype(np.float32), label)
    source = e.tensor(x).quant
    if source is None:
        raise ValueError(f"{node.name!r} is integer but its input has no quantization")
    scales = np.float32(source.scale) * np.asarray(weight_quant.scales, np.float32)
    quant = Quant(tuple(float(s) for s in scales), (0,) * scales.size)
    stored = None if name is None else e.value(name)
    if stored is not None and stored.data is not None and _same_scales(stored.quant, quant):
        steps = stored.data
    else:
        limits = np.iinfo(np.int32)
        exact = np.rint(real / scales.astype(np.float64))
        steps = np.clip(exact, limits.min, limits.max).astype(np.int32)
    return e.constant(np.tile(steps, repeat), label, quant.repeated(repeat))


def _same_scales(a: Quant | None, b: Quant) -> bool:
    return (
        a is not None
        and len(a.scales) == len(b.scales)
        and np.allclose(a.scales, b.scales, rtol=1e-6, atol=0.0)
    )
