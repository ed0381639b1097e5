"""What is chosen for a layer's int8 weights and bias beyond their nearest codes.

The float and the quantized graph run side by side, node by node (``stepwise``): when a layer's turn
comes, its quantized inputs are final, its weights are rounded for them and its bias is corrected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from ghostedge_quantize.bias_correction import Tail, bias_shift, mean_shift, sample_positions, tails
from ghostedge_quantize.columns import gram
from ghostedge_quantize.graph.ops import output_first
from ghostedge_quantize.ranges.methods import QuantParams, quantize_array
from ghostedge_quantize.stepwise import Stepwise
from ghostedge_quantize.tuning.rounding import learned_codes, output_error

BiasCorrection = Literal["none", "fast", "full"]
Rounding = Literal["nearest", "adaptive"]

HELD_BYTES = 2**26
"""The largest activation of all images together may be this large; a handful are held at once."""
WORTHWHILE = 0.9
"""Learned rounding is kept where it brings a layer's squared error below this part."""


@dataclass(frozen=True)
class Tuning:
    """Changes to layers, by node name; a layer that is not named is quantized as it is.

    Attributes:
        bias_shift: float32 [O], added to the layer's bias before it is quantized.
        weight_codes: int8 weights in place of the nearest, on the same scales.
    """

    bias_shift: Mapping[str, np.ndarray] = field(default_factory=dict)
    weight_codes: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """A layer of a QDQ graph.

    Attributes:
        source: Code of its input.
        codes: int8 weights [O, …].
        scale: float32 [O] or [].
        weight: Name of the tensor that the codes are decoded to.
    """

    source: QuantParams
    codes: np.ndarray
    scale: np.ndarray
    weight: str


def tune(
    floating: ir.Model,
    qdq: onnx.ModelProto,
    batches: Iterable[np.ndarray],
    *,
    bias_correction: BiasCorrection,
    rounding: Rounding,
) -> Tuning:
    """Choose weights' codes and biases, layer by layer in the order of the graph.

    Args:
        floating: The canonical float graph that ``qdq`` was made of, with the same input.
        qdq: The quantized graph, nearest codes, int8 activations.
        batches: What both take, in the graphs' own batch size; as many are used as memory allows.
        bias_correction: ``full`` measures each layer's output behind all that is quantized before
            it; ``fast`` estimates each layer's own shift, with the codes that it ends up with.
        rounding: ``adaptive`` learns each weight's rounding where that helps its layer.
    """
    if rounding == "nearest" and bias_correction == "none":
        return Tuning()
    layers = _layers(qdq)
    images = _as_many_as_fit(floating, batches)
    reference = Stepwise(ir.to_proto(floating), images)
    if rounding == "nearest" and bias_correction == "fast":
        return Tuning(bias_shift=_fast_shifts(reference, layers))
    tuner = _Tuner(reference, layers, tails(floating.graph), bias_correction, rounding)
    return tuner.run(Stepwise(qdq, images))


class _Tuner:
    """One walk along both graphs."""

    def __init__(
        self,
        reference: Stepwise,
        layers: Mapping[str, Layer],
        behind: Mapping[str, Tail],
        bias_correction: BiasCorrection,
        rounding: Rounding,
    ) -> None:
        self._reference, self._steps = reference, reference.run()
        self._layers, self._behind = layers, behind
        self._bias_correction, self._rounding = bias_correction, rounding
        self._shifts: dict[str, np.ndarray] = {}
        self._codes: dict[str, np.ndarray] = {}

    def run(self, quantized: Stepwise) -> Tuning:
        for node in quantized.run():
            if node.name in self._layers:
                twin = next(step for step in self._steps if step.name == node.name)
                weight = self._reference.constant(twin.input[1])
                if self._rounding == "adaptive" and _has_columns(node, weight):
                    self._round(quantized, node, weight)
                if self._bias_correction != "none":
                    self._correct(quantized, node, twin)
        return Tuning(self._shifts, self._codes)

    def _round(self, quantized: Stepwise, node: onnx.NodeProto, weight: np.ndarray) -> None:
        layer = self._layers[node.name]
        moments = gram(node, weight.shape, quantized.inputs(node.input[0]))
        learned = learned_codes(weight, layer.scale, moments)
        before = output_error(weight, layer.codes, layer.scale, moments).sum()
        after = output_error(weight, learned, layer.scale, moments).sum()
        if after < WORTHWHILE * before:
            self._codes[node.name] = learned
            quantized.replace(layer.weight, _decoded(learned, layer.scale))

    def _correct(self, quantized: Stepwise, node: onnx.NodeProto, twin: onnx.NodeProto) -> None:
        outputs = quantized.compute(node)
        if self._bias_correction == "fast":
            layer = self._layers[node.name]
            codes = self._codes.get(node.name, layer.codes)
            shift = _own_shift(self._reference, twin, layer, codes)
        else:
            target = sample_positions(self._reference.compute(twin))
            shift = bias_shift(target, sample_positions(outputs), self._behind[node.name])
        for each in outputs:
            np.add(each, shift.reshape(-1, *[1] * (each.ndim - 2)), out=each)
        self._shifts[node.name] = shift


def _fast_shifts(reference: Stepwise, layers: Mapping[str, Layer]) -> dict[str, np.ndarray]:
    shifts = {}
    for node in reference.run():
        layer = layers.get(node.name)
        if layer is not None:
            shifts[node.name] = _own_shift(reference, node, layer, layer.codes)
    return shifts


def _own_shift(
    reference: Stepwise, node: onnx.NodeProto, layer: Layer, codes: np.ndarray
) -> np.ndarray:
    """What a layer of the float graph would lose if it alone were int8, with these weights."""
    weight = output_first(node.op_type, reference.constant(node.input[1]))
    inputs = np.concatenate(reference.inputs(node.input[0]))
    steps = quantize_array(inputs, layer.source).astype(np.float32)
    seen = (steps - np.float32(layer.source.zero_point)) * layer.source.scale
    return mean_shift(weight, _decoded(codes, layer.scale), inputs, seen) / _strides(node)


def _has_columns(node: onnx.NodeProto, weight: np.ndarray) -> bool:
    """Whether ``columns`` knows what the layer multiplies its weights with."""
    return node.op_type != "ConvTranspose" and weight.ndim in (2, 4)


def _strides(node: onnx.NodeProto) -> float:
    """Over how many output positions a transposed convolution's taps are shared out."""
    strides = next((a.ints for a in node.attribute if a.name == "strides"), ())
    return float(np.prod(strides)) if node.op_type == "ConvTranspose" else 1.0


def _layers(qdq: onnx.ModelProto) -> dict[str, Layer]:
    """The layers whose weights are int8, by node name."""
    constants = {t.name: t for t in qdq.graph.initializer}
    decoders = {n.output[0]: n for n in qdq.graph.node if n.op_type == "DequantizeLinear"}

    def array(name: str) -> np.ndarray:
        return np.asarray(numpy_helper.to_array(constants[name]))

    found = {}
    for node in qdq.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm") and node.input[1] in decoders:
            source, weight = decoders[node.input[0]], decoders[node.input[1]]
            found[node.name] = Layer(
                source=QuantParams(np.float32(array(source.input[1])), int(array(source.input[2]))),
                codes=output_first(node.op_type, array(weight.input[0])),
                scale=array(weight.input[1]),
                weight=node.input[1],
            )
    return found


def _decoded(codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.asarray(codes * scale.reshape(-1, *[1] * (codes.ndim - 1)), np.float32)


def _as_many_as_fit(graph: ir.Model, batches: Iterable[np.ndarray]) -> Sequence[np.ndarray]:
    """Batches, spread evenly over all, of which the largest activation stays in ``HELD_BYTES``."""
    available = list(batches)
    largest = max(_bytes(value) for node in graph.graph for value in node.outputs)
    count = min(len(available), max(1, HELD_BYTES // largest))
    return [available[round(i)] for i in np.linspace(0, len(available) - 1, count)]


def _bytes(value: ir.Value) -> int:
    sizes: Iterator[int] = (size for size in value.shape or () if isinstance(size, int))
    return 4 * int(np.prod(list(sizes), dtype=np.int64))
