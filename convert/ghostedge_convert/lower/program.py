"""A TFLite program before it is bytes: axis orders, quantization, tensors and operators.

The emitter collects a :class:`Program` and :mod:`.write` serialises it. Shapes in this module are
in TFLite's axis order; the types of ONNX's graph are in :mod:`.graph`. ``BUILTINS`` is the table of
the operators that can be written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    inner: list[int] = []
    block = 1
    while left:
        distance = int(places[block] - places[0])
        axis = next((a for a in left if strides[a] == distance), None)
        if axis is None:
            return None
        inner.insert(0, axis)
        left.remove(axis)
        block *= shape[axis]
    order = (*(axis for axis, size in enumerate(shape) if size == 1), *inner)
    if inner == sorted(inner):
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


@dataclass(frozen=True)
class Builtin:
    """A TFLite operator.

    Attributes:
        options: Name of its option table in the schema, None where it has none.
        real: Version for float32 tensors.
        int8: Version for int8 tensors.
        traits: Version that a trait of the op asks for.
        fuses: Whether it takes a fused activation.
    """

    options: str | None
    real: int = 1
    int8: int = 2
    traits: Mapping[str, int] = field(default_factory=dict)
    fuses: bool = False

    def version(self, *, integer: bool, traits: Iterable[str]) -> int:
        """The version that an op with these traits is written with."""
        base = self.int8 if integer else self.real
        return max([base, *(self.traits.get(trait, 1) for trait in traits)])


# Versions are the lowest that a runtime must know for the form used, so that old runtimes load the
# file (source: op_version.cc of LiteRT). A trait ("grouped", "rank5", …) of one op raises its
# version.
BUILTINS: dict[str, Builtin] = {
    "ADD": Builtin("AddOptions", fuses=True),
    "SUB": Builtin("SubOptions", traits={"rank5": 3}, fuses=True),
    "MUL": Builtin("MulOptions", traits={"upscaling": 3}, fuses=True),
    "DIV": Builtin("DivOptions", traits={"rank5": 2}, fuses=True),
    "MAXIMUM": Builtin("MaximumMinimumOptions", traits={"rank5": 3}),
    "MINIMUM": Builtin("MaximumMinimumOptions", traits={"rank5": 3}),
    "POW": Builtin("PowOptions"),
    "FLOOR_MOD": Builtin("FloorModOptions"),
    "EQUAL": Builtin("EqualOptions"),
    "NOT_EQUAL": Builtin("NotEqualOptions"),
    "GREATER": Builtin("GreaterOptions"),
    "GREATER_EQUAL": Builtin("GreaterEqualOptions"),
    "LESS": Builtin("LessOptions"),
    "LESS_EQUAL": Builtin("LessEqualOptions"),
    "LOGICAL_AND": Builtin("LogicalAndOptions"),
    "LOGICAL_OR": Builtin("LogicalOrOptions"),
    "LOGICAL_NOT": Builtin("LogicalNotOptions"),
    "SELECT_V2": Builtin("SelectV2Options", int8=1),
    "CAST": Builtin("CastOptions", int8=1),
    "CONV_2D": Builtin("Conv2DOptions", int8=3, traits={"grouped": 6}, fuses=True),
    "DEPTHWISE_CONV_2D": Builtin(
        "DepthwiseConv2DOptions", int8=3, traits={"dilated": 2}, fuses=True
    ),
    "TRANSPOSE_CONV": Builtin("TransposeConvOptions", real=3, int8=3),
    "DEPTH_TO_SPACE": Builtin("DepthToSpaceOptions", int8=1),
    "SPACE_TO_DEPTH": Builtin("SpaceToDepthOptions"),
    "CUMSUM": Builtin("CumsumOptions"),
    "GATHER": Builtin("GatherOptions"),
    "TILE": Builtin("TileOptions", int8=1),
    "FULLY_CONNECTED": Builtin(
        "FullyConnectedOptions", int8=4, traits={"keeps_dims": 5}, fuses=True
    ),
    "BATCH_MATMUL": Builtin("BatchMatMulOptions"),
    "AVERAGE_POOL_2D": Builtin("Pool2DOptions", fuses=True),
    "MAX_POOL_2D": Builtin("Pool2DOptions", fuses=True),
    "MEAN": Builtin("ReducerOptions"),
    "SUM": Builtin("ReducerOptions"),
    "REDUCE_MAX": Builtin("ReducerOptions"),
    "REDUCE_MIN": Builtin("ReducerOptions"),
    "REDUCE_PROD": Builtin("ReducerOptions"),
    "ARG_MAX": Builtin("ArgMaxOptions"),
    "ARG_MIN": Builtin("ArgMinOptions"),
    "TOPK_V2": Builtin("TopKV2Options"),
    "CONCATENATION": Builtin("ConcatenationOptions"),
    "RESHAPE": Builtin("ReshapeOptions", int8=1),
    "TRANSPOSE": Builtin("TransposeOptions", traits={"rank5": 4}),
    "PAD": Builtin("PadOptions", traits={"rank5": 4}),
    "PADV2": Builtin("PadV2Options", traits={"rank5": 4}),
    "MIRROR_PAD": Builtin("MirrorPadOptions"),
    "SLICE": Builtin("SliceOptions", traits={"rank5": 5}),
    "STRIDED_SLICE": Builtin("StridedSliceOptions", traits={"rank5": 4}),
    "SPLIT": Builtin("SplitOptions"),
    "SOFTMAX": Builtin("SoftmaxOptions"),
    "LOGISTIC": Builtin(None),
    "SQRT": Builtin(None),
    "RSQRT": Builtin(None),
    "EXP": Builtin("ExpOptions"),
    "LOG": Builtin(None),
    "SIN": Builtin(None),
    "COS": Builtin("CosOptions"),
    "ABS": Builtin("AbsOptions"),
    "NEG": Builtin("NegOptions"),
    "SIGN": Builtin("SignOptions"),
    "FLOOR": Builtin(None),
    "CEIL": Builtin(None),
    "ROUND": Builtin(None),
    "ELU": Builtin(None, int8=1),
    "GELU": Builtin("GeluOptions"),
    "LEAKY_RELU": Builtin("LeakyReluOptions"),
    "PRELU": Builtin(None),
    "TANH": Builtin(None),
    "RELU": Builtin(None),
    "RELU6": Builtin(None),
    "RELU_N1_TO_1": Builtin(None, int8=1),
    "HARD_SWISH": Builtin("HardSwishOptions", int8=1),
    "RESIZE_BILINEAR": Builtin("ResizeBilinearOptions", traits={"half_pixel": 3}),
    "RESIZE_NEAREST_NEIGHBOR": Builtin(
        "ResizeNearestNeighborOptions", traits={"half_pixel": 3, "align_corners": 3}
    ),
    "QUANTIZE": Builtin("QuantizeOptions", int8=1),
    "DEQUANTIZE": Builtin("DequantizeOptions", traits={"half": 3, "per_channel": 5}),
}
