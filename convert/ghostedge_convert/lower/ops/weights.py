"""Constant weights and biases of linear ops: float32, stored small, or int8."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ghostedge_convert.lower.emitter import Emitter
from ghostedge_convert.lower.graph import Node
from ghostedge_convert.lower.program import Array, Order, Quant

_BIAS = 2  # Its input position in Conv and Gemm; MatMul has none.
_SMALL = (np.int8, np.float16)
"""What TFLite decodes to float32 weights, int8 with zero points of 0."""


@dataclass(frozen=True)
class Weights:
    """The weights of a linear op as they are stored.

    Attributes:
        name: Of the ONNX tensor.
        data: float32, float16 or int8.
        coded: How int8 stands for reals.
        integer: Whether the op computes on them as they are. Otherwise it computes in float32:
            what is stored as something else is decoded when the file is loaded.
    """

    name: str
    data: Array
    coded: Quant | None
    integer: bool

    @property
    def quant(self) -> Quant | None:
        """What an integer op computes with, None in float."""
        return self.coded if self.integer else None

    def transposed(self, order: Order) -> Weights:
        """The same with the axes in another order, the channel axis following."""
        coded = self.coded and self.coded.along(order.index(self.coded.axis))
        return replace(self, data=self.data.transpose(order), coded=coded)

    def over_image(self) -> Weights:
        """Weights O, I, … of a convolution over height and width; over one axis, of one row."""
        shape = (*self.data.shape[:2], *(1,) * (4 - self.data.ndim), *self.data.shape[2:])
        return replace(self, data=self.data.reshape(shape))

    def columns(self, places: Array) -> Weights:
        """A matrix with the input features in another order."""
        return replace(self, data=self.data[:, places])

    def times(self, factor: float) -> Weights:
        """Float weights multiplied: as float32, unless the factor is 1."""
        if factor == 1.0 or self.integer:
            return self
        real = self.data if self.coded is None else self.coded.dequantize(self.data)
        return Weights(self.name, (real * np.float32(factor)).astype(np.float32), None, False)

    def stored(self, e: Emitter) -> int:
        """Write them; the tensor that the op reads.

        TFLite could also compute float activations times int8 weights ("hybrid" kernels). They
        are not used: in LiteRT 2.3 the depthwise one is outside XNNPACK and makes GhostNet 1.0x at
        224 take 1.8 times as long, the convolution is no faster than in float on x86 and less
        exact, and tflite-runtime 2.14 gets per-channel FULLY_CONNECTED wrong without an error.
        """
        index = e.constant(self.data, self.name, self.coded)
        if self.integer or self.data.dtype == np.float32:
            return index
        real = np.dtype(np.float32)
        target = e.temporary(f"{self.name}/real", self.data.shape, index, dtype=real, quant=None)
        per_channel = self.coded is not None and not self.coded.per_tensor
        traits = {"half": self.coded is None, "per_channel": per_channel}
        return e.op("DEQUANTIZE", [index], [target], [t for t, has in traits.items() if has])


def weights(e: Emitter, node: Node, position: int, *, channel_axis: int) -> Weights:
    """The weights of a node in ONNX's order.

    Raises:
        UnsupportedOpError: They are computed, or quantized in a way TFLite has no kernel for.
    """
    name = node.inputs[position]
    value = e.value(name)
    if value.data is None:
        node.refuse("its weights are computed by the graph", "make the weights constants")
    quant = value.quant
    if not node.integer or quant is None:
        if value.data.dtype in _SMALL and (quant is None or not any(quant.zero_points)):
            return Weights(name, value.data, quant, integer=False)
        return Weights(name, e.real(name), None, integer=False)
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
    return Weights(name, value.data, quant, integer=True)


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
        repeat: How often the channels follow one another (:func:`.conv.fold_columns`).
    """
    name = node.input(_BIAS)
    if name is not None and not e.graph.is_constant(name):
        node.refuse("its bias is computed by the graph", "add it with an Add instead")
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
