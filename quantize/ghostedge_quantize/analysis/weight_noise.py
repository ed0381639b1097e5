"""The error in int8 weights, although a QDQ file holds the codes alone.

Three ways, the first that applies: the file has the float values in front of a QuantizeLinear; a
float model has them, up to factors per channel that equalization or folding moved between layers
(``fit`` finds those, so that functions are compared and not spellings); or they are unknown, and
the error is taken as what rounding does to any number: uniform within a step, ``step² / 12``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx

from ghostedge_quantize.analysis.findings import Weights, WeightSource
from ghostedge_quantize.analysis.qdq_graph import Codes

_SWEEPS = 20
_TINY = 1e-30
_FOREIGN = 0.5
"""A fit that leaves more than this share of the power unexplained is of other weights."""


@dataclass(frozen=True)
class WeightNoise:
    """Weights without and with their error.

    Attributes:
        reference: float32, the tensor's shape.
        quantized: ``reference`` plus the error.
        facts: What is reported.
    """

    reference: np.ndarray
    quantized: np.ndarray
    facts: Weights

    @property
    def error(self) -> np.ndarray:
        """The error alone."""
        return np.asarray(self.quantized - self.reference)


def weight_noise(
    codes: Codes, node: onnx.NodeProto, original: np.ndarray | None, random: np.random.Generator
) -> WeightNoise:
    """Find, or assume, the error of a node's weights.

    Args:
        codes: The weights.
        node: Conv, ConvTranspose, Gemm or MatMul that uses them.
        original: The same node's weights in the float model, None where it is not known.
        random: Draws the assumed errors.
    """
    if codes.original is not None:
        return _known(codes, node, codes.original, "file")
    if original is not None:
        fitted = fit(codes, node, original)
        if fitted is not None:
            return _known(codes, node, fitted, "float model")
    step = codes.along_axis(codes.scale) * rounding_step(codes)
    width = np.broadcast_to(step, codes.values.shape).astype(np.float32)
    dither = (random.random(codes.values.shape, np.float32) - np.float32(0.5)) * width
    rows, noise = _rows(codes.real, node), _rows(width**2 / np.float32(12), node)
    ratio = _mean_ratio(noise.sum(1), (rows**2).sum(1))
    return WeightNoise(codes.real, codes.real + dither, _facts(codes, node, ratio, "rounding step"))


def rounding_step(codes: Codes) -> int:
    """Distance between neighbouring codes that occur: above 1 where bits were thrown away.

    It is the greatest common divisor of all the tensor's codes.
    """
    shifted = codes.values.astype(np.int64) - codes.along_axis(codes.zero_point.astype(np.int64))
    return max(1, int(np.gcd.reduce(np.abs(shifted), axis=None)))


def fit(codes: Codes, node: onnx.NodeProto, original: np.ndarray) -> np.ndarray | None:
    """Rescale float weights channel by channel until they are nearest to the codes.

    Minimises ``Σ (q[o,i,k] - r[o] · w[o,i,k] · c[i])²`` over r and c by turns, within each group
    of a convolution, q being codes without their scale, so that every output channel's rounding
    error weighs the same.

    Returns:
        The rescaled weights, float32 in the shape of the codes; None where they are not the same
        weights, or of an op whose channels cannot be told apart here.
    """
    if original.shape != codes.values.shape or node.op_type == "ConvTranspose":
        return None
    unit = codes.values.astype(np.float64) - codes.along_axis(codes.zero_point.astype(np.float64))
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    shape = _blocks(node, codes.values.shape, groups)
    target = _output_first(unit, node).reshape(shape)
    source = _output_first(original.astype(np.float64), node).reshape(shape)
    fitted = _rescale(source, target)
    # So many free factors explain a share of any weights, which the limit is lowered by.
    factors = groups * (shape[1] + shape[2] - 1)
    undecided = max(1, target.size - factors) / target.size
    if _mean_ratio(*_powers(target - fitted, target)) > _FOREIGN * undecided:
        return None
    flat = fitted.reshape(_output_first(unit, node).shape)
    real = _output_first(flat, node) * codes.along_axis(codes.scale.astype(np.float64))
    return np.ascontiguousarray(real, np.float32)


def _rescale(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``r[o] · source · c[i]`` nearest to ``target``; both [groups, o, i, taps], float64."""
    columns = np.ones((source.shape[0], 1, source.shape[2], 1))
    rows = np.ones((source.shape[0], source.shape[1], 1, 1))
    for _ in range(1 if source.shape[2] == 1 else _SWEEPS):
        moved = source * columns
        rows = _ratio(moved, target, (2, 3))
        if source.shape[2] > 1:
            columns = _ratio(source * rows, target, (1, 3))
    return source * rows * columns


def _ratio(source: np.ndarray, target: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Least-squares factor from one array to another, over ``axes``."""
    power = (source**2).sum(axes, keepdims=True)
    product = (source * target).sum(axes, keepdims=True)
    return np.asarray(product / np.maximum(power, _TINY))


def _known(
    codes: Codes, node: onnx.NodeProto, reference: np.ndarray, source: WeightSource
) -> WeightNoise:
    error = _rows(codes.real.astype(np.float64) - reference, node)
    ratio = _mean_ratio((error**2).sum(1), (_rows(reference, node) ** 2).sum(1))
    return WeightNoise(reference, codes.real, _facts(codes, node, ratio, source))


def _facts(codes: Codes, node: onnx.NodeProto, ratio: float, source: WeightSource) -> Weights:
    magnitudes = np.abs(
        codes.values.astype(np.int32) - codes.along_axis(codes.zero_point.astype(np.int32))
    )
    low, high = (0, 255) if codes.values.dtype == np.uint8 else (-127, 127)
    # One code at the end of the range is expected per scale, its largest weight; more are clipped.
    at_the_end = int(((codes.values <= low) | (codes.values >= high)).sum()) - codes.scale.size
    peaks = _rows(magnitudes, node).max(1)
    spread = float(peaks.max() / max(1, peaks.min())) if codes.scale.size == 1 else 1.0
    return Weights(
        sqnr_db=None if ratio <= 0 else -10 * math.log10(ratio),
        source=source,
        clipped=max(0, at_the_end) / magnitudes.size,
        used=int(np.unique(magnitudes).size),
        spread=spread,
    )


def _powers(error: np.ndarray, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power per output channel of [groups, o, i, taps] arrays."""
    return (error**2).sum((2, 3)).reshape(-1), (signal**2).sum((2, 3)).reshape(-1)


def _mean_ratio(noise: np.ndarray, signal: np.ndarray) -> float:
    """Mean over channels of noise over signal; a channel lost in noise counts 1, a dead one not."""
    alive = signal > _TINY
    if not alive.any():
        return 0.0
    return float(np.minimum(1.0, noise[alive] / signal[alive]).mean())


def _rows(array: np.ndarray, node: onnx.NodeProto) -> np.ndarray:
    """The weights of each output channel, [channels, rest]."""
    first = _output_first(array, node)
    return first.reshape(first.shape[0], -1)


def _is_input_first(node: onnx.NodeProto) -> bool:
    """Whether a node's weights have their input channels on the first axis."""
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return node.op_type in ("ConvTranspose", "MatMul") or (
        node.op_type == "Gemm" and not transposed
    )


def _output_first(array: np.ndarray, node: onnx.NodeProto) -> np.ndarray:
    """Output channels on the first axis; its own inverse."""
    return array.swapaxes(0, 1) if _is_input_first(node) else array


def _blocks(node: onnx.NodeProto, shape: tuple[int, ...], groups: int) -> tuple[int, int, int, int]:
    """Shape of weights as [groups, outputs of a group, inputs of a group, taps]."""
    outputs, inputs = (shape[1], shape[0]) if _is_input_first(node) else shape[:2]
    return groups, outputs // groups, inputs, math.prod(shape[2:])
