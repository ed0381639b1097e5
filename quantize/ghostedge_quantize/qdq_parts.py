"""The parts of a QDQ graph: quantized constants, pairs, layers, and how they are read.

How they hang together is in ``qdq_graph``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, numpy_helper

from ghostedge_runtime.errors import ModelFileError

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# Nibbles, 16-bit and float8 codes are somebody else's; numpy holds these three as they are.
_INTEGERS = (np.dtype(np.uint8), np.dtype(np.int8), np.dtype(np.int32))


@dataclass(frozen=True)
class Codes:
    """A quantized constant.

    Attributes:
        values: The integers, in the tensor's shape.
        scale: float32, a scalar or [channels].
        zero_point: Integers, shaped like ``scale``.
        axis: The axis that ``scale`` runs along; of no meaning for a scalar.
        original: The float values where the file still holds them (a pair on a constant).
    """

    values: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    original: np.ndarray | None = None

    def along_axis(self, array: np.ndarray) -> np.ndarray:
        """Reshape ``scale`` or ``zero_point`` so that it broadcasts over ``values``."""
        if array.ndim == 0:
            return array
        shape = [1] * self.values.ndim
        shape[self.axis] = -1
        return array.reshape(shape)

    @property
    def real(self) -> np.ndarray:
        """The numbers that the codes stand for: ``(q - z) · s``, float32."""
        shifted = self.values.astype(np.int32) - self.along_axis(self.zero_point.astype(np.int32))
        return np.asarray(shifted.astype(np.float32) * self.along_axis(self.scale))


@dataclass(frozen=True)
class Pair:
    """QuantizeLinear on an activation, with the codes it can write.

    Attributes:
        tensor: What it quantizes.
        node: The QuantizeLinear's own output, which no other node has.
        scale: A scalar, or one per channel along ``axis``.
        zero_point: Shaped like ``scale``.
        low: Smallest code of its type.
        high: Largest.
    """

    tensor: str
    node: str
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    low: int
    high: int

    @property
    def starts_at_zero(self) -> bool:
        """Whether nothing below zero has a code, as behind a ReLU."""
        return self.zero_point.ndim == 0 and int(self.zero_point) == self.low

    @property
    def ends_at_six(self) -> bool:
        """Whether the largest code stands for 6, as behind a ReLU6, to half a step."""
        top = (self.high - self.zero_point.astype(np.float64)) * self.scale
        return self.scale.ndim == 0 and abs(float(top) - 6) < float(self.scale) / 2

    def grid(self) -> tuple[bytes, bytes]:
        """Equal for pairs that represent the same real values, int8 or uint8."""
        steps = self.zero_point.astype(np.int64) - self.low
        return self.scale.tobytes(), steps.tobytes()


@dataclass(frozen=True)
class Layer:
    """What is measured together: a node, its weights, its fused activation, the pair behind it.

    Attributes:
        name: The node's; its output's where it has none.
        op: The node's type; ``input`` for a pair on the graph's own input.
        pairs: On its output; none where the output stays float.
        weight: The initializer that holds its dequantized weights, None without.
        bias: The initializer that holds its bias, None without.
    """

    name: str
    op: str
    pairs: tuple[Pair, ...]
    weight: str | None = None
    bias: str | None = None


def read_codes(
    node: NodeProto, constants: Mapping[str, np.ndarray], original: np.ndarray | None
) -> Codes:
    """What a DequantizeLinear on a constant decodes.

    Args:
        node: The DequantizeLinear.
        constants: Of the graph, by name.
        original: What a QuantizeLinear in front of it encodes, None where the codes are stored.
    """
    scale, zero_point, axis = parameters(node, constants)
    if original is None:
        return Codes(constants[node.input[0]], scale, zero_point, axis)
    empty = Codes(original, scale, zero_point, axis)
    limits = np.iinfo(zero_point.dtype)
    values = np.rint(original / empty.along_axis(scale)) + empty.along_axis(zero_point)
    values = np.clip(values, limits.min, limits.max).astype(zero_point.dtype)
    return Codes(values, scale, zero_point, axis, original)


def parameters(
    node: NodeProto, constants: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Scale, zero point and axis of a Q or DQ node, one-element arrays as scalars.

    Raises:
        ModelFileError: They are computed at run time, or of other than 8 (or 32) bits.
    """
    missing = [name for name in node.input[1:] if name and name not in constants]
    if missing:
        raise ModelFileError(
            "its scale or zero point is computed at run time",
            where=node.name or node.output[0],
            remedy="quantize the model statically",
        )
    scale = constants[node.input[1]].astype(np.float32)
    if len(node.input) > 2 and node.input[2]:
        zero_point = constants[node.input[2]]
    else:
        codes = constants.get(node.input[0])
        kind = codes.dtype if codes is not None and node.op_type == DEQUANTIZE else np.uint8
        zero_point = np.zeros(scale.shape, kind)
    if zero_point.dtype not in _INTEGERS or scale.ndim > 1:
        raise ModelFileError(
            f"its codes are {zero_point.dtype} with scales of shape {list(scale.shape)}; only "
            "8 bits, per tensor or per channel, are analysed",
            where=node.name or node.output[0],
        )
    if scale.size == 1:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    return scale, zero_point, axis


def take_constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Move initializers and Constant nodes out of a graph."""
    outside = [t.name for t in graph.initializer if t.data_location == TensorProto.EXTERNAL]
    if outside:
        raise ModelFileError(
            f"its weights ({outside[0]}, …) are in a second file",
            remedy="save the model as one file (onnx.save with save_as_external_data=False)",
        )
    found = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes = []
    for node in graph.node:
        value = next((a for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            found[node.output[0]] = numpy_helper.to_array(value.t)
        else:
            nodes.append(node)
    del graph.initializer[:]
    del graph.node[:]
    graph.node.extend(nodes)
    inputs = [value for value in graph.input if value.name not in found]
    del graph.input[:]
    graph.input.extend(inputs)
    return found
