"""The words of lowering: axis orders, quantization, and a TFLite program before it is bytes.

A :class:`Program` is what the emitter collects and the flatbuffer writer serialises. Shapes in
this module are in TFLite's axis order; ONNX's graph has its own words in :mod:`.graph`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Order = tuple[int, ...]
"""How a TFLite tensor's axes follow from the ONNX tensor's: ``tflite = onnx.transpose(order)``."""

CHANNELS_LAST: Order = (0, 2, 3, 1)
LINE: Order = (0, 2, 1)
"""Channels last for what has one axis in space: N, C, L becomes N, L, C."""


def identity(rank: int) -> Order:
    """The order that keeps ONNX's axes."""
    return tuple(range(rank))


def reorder(items: Sequence[int], order: Order) -> Shape:
    """Per-axis items (a shape, strides, …) taken from ONNX's axes to TFLite's."""
    return tuple(items[axis] for axis in order)


def step(source: Order, target: Order) -> Order:
    """The permutation that a TRANSPOSE needs to go from one order to the other."""
    return tuple(source.index(axis) for axis in target)


def keeps_memory(shape: Shape, permutation: Order) -> bool:
    """Whether transposing ``shape`` moves no element, i.e. only axes of size 1 change place."""
    moved = [axis for axis in permutation if shape[axis] != 1]
    return moved == sorted(moved)


def memory(shape: Shape, order: Order) -> Array:
    """Where each element of a TFLite tensor is in the flat ONNX tensor of ``shape``."""
    places: Array = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    laid_out: Array = places.transpose(order)
    return laid_out.reshape(-1)


def order_of(shape: Shape, places: Array) -> Order | None:
    """The axis order that lays an ONNX tensor of ``shape`` out as ``places`` says, if one does.

    Built from the innermost axis outwards: the one whose stride in the flat ONNX tensor is the
    distance between neighbours in memory.
    """
    strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    left = [axis for axis, size in enumerate(shape) if size > 1]
    found: list[int] = []
    block = 1
    while left:
        distance = int(places[block] - places[0])
        axis = next((a for a in left if strides[a] == distance), None)
        if axis is None:
            return None
        found.insert(0, axis)
        left.remove(axis)
        block *= shape[axis]
    order = (*(axis for axis, size in enumerate(shape) if size == 1), *found)
    if found == sorted(found):
        order = identity(len(shape))
    return order if np.array_equal(memory(shape, order), places) else None


@dataclass(frozen=True)
class Quant:
    """``real = (stored - zero_point) * scale``, per tensor or along one axis.

    Attributes:
        scales: Positive, one per channel or a single one.
        zero_points: As many as ``scales``.
        axis: The channel axis in the order of the tensor it belongs to; 0 where per tensor.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0

    def __post_init__(self) -> None:
        if len(self.scales) != len(self.zero_points):
            raise ValueError(f"{len(self.scales)} scales but {len(self.zero_points)} zero points")

    @property
    def per_tensor(self) -> bool:
        """Whether one scale serves the whole tensor."""
        return len(self.scales) == 1

    @property
    def scale(self) -> float:
        """The first scale: the only one of a per-tensor quantization."""
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        """The first zero point: the only one of a per-tensor quantization."""
        return self.zero_points[0]

    def along(self, axis: int) -> Quant:
        """The same parameters with the channels on another axis."""
        return Quant(self.scales, self.zero_points, 0 if self.per_tensor else axis)

    def repeated(self, times: int) -> Quant:
        """The parameters of channels that follow one another several times."""
        if self.per_tensor:
            return self
        return Quant(self.scales * times, self.zero_points * times, self.axis)

    def dequantize(self, stored: Array) -> npt.NDArray[np.float32]:
        """The real values, computed as ONNX's DequantizeLinear does."""
        shape = [1] * stored.ndim
        if not self.per_tensor:
            shape[self.axis] = len(self.scales)
        scales = np.asarray(self.scales, np.float32).reshape(shape if stored.ndim else ())
        zeros = np.asarray(self.zero_points, np.int32).reshape(shape if stored.ndim else ())
        return ((stored.astype(np.int32) - zeros).astype(np.float32) * scales).astype(np.float32)


@dataclass(frozen=True)
class Tensor:
    """A TFLite tensor; ``data`` is set for constants only."""

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    quant: Quant | None = None
    data: Array | None = None


@dataclass(frozen=True)
class Op:
    """One TFLite operator; tensors by index, -1 for an absent optional input."""

    builtin: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A TFLite graph ready to be written.

    Attributes:
        tensors: All tensors; ops refer to them by index.
        ops: In execution order.
        inputs: Graph input name to tensor index, in order.
        outputs: Graph output name to tensor index, in order.
        name: The subgraph's name.
    """

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    name: str
