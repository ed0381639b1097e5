"""The TFLite operators that lowering writes: their option tables and their versions, as data.

Versions are the lowest that a runtime must know for the form used, so that old runtimes load the
file (source: ``op_version.cc`` of LiteRT). A trait (``"grouped"``, ``"rank5"``, …) of one op
raises its version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


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
