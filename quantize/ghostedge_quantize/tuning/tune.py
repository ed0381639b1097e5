"""Chooses what a layer's int8 weights and bias are beyond their nearest codes.

The float and the quantized graph run side by side, node by node: when a layer's turn comes, its
quantized inputs are final, its weights are rounded for them (``rounding``) and its bias is
corrected (``bias``). Running the whole graph again for each layer would take the square of its
length; here each node runs once, over all images, and only tensors that a later node still reads
are held. The float graph is a layer ahead, in a thread of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import helper, numpy_helper

from ghostedge_quantize.codes import QuantParams, quantize_array
from ghostedge_quantize.graph.ops import LAYERS, Role, output_first, rule_of
from ghostedge_quantize.graph.plan import Tuning
from ghostedge_quantize.parallel import ahead
from ghostedge_quantize.settings import BiasCorrection, Rounding
from ghostedge_quantize.tuning.bias import Tail, bias_shift, mean_shift, sample_positions, tails
from ghostedge_quantize.tuning.rounding import gram, learned_codes, output_error

Batches = list[np.ndarray]

HELD_BYTES = 2**26
"""The largest activation of all images together may be this large; a handful are held at once."""
WORTHWHILE = 0.9
"""Learned rounding is kept where it brings a layer's squared error below this part."""


class NodeRunner:
    """One run of a graph over a list of batches.

    Args:
        model: Any ONNX graph with one input.
        batches: What to feed, each of the graph's own batch size.
    """

    def __init__(self, model: onnx.ModelProto, batches: Sequence[np.ndarray]) -> None:
        graph = model.graph
        self._opsets = model.opset_import
        self._ir_version = model.ir_version
        self._constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        (source,) = [value for value in graph.input if value.name not in self._constants]
        self._held: dict[str, Batches] = {source.name: list(batches)}
        self._reads = Counter(name for node in graph.node for name in node.input if name)
        self._nodes = list(graph.node)
        self._ready: list[Sequence[np.ndarray]] = []

    def run(self) -> Iterator[onnx.NodeProto]:
        """Yield each node that reads an activation, before it runs.

        Until the next one is asked for, what it reads can be looked at (``inputs``, ``constant``)
        and replaced, and its output computed and changed (``compute``).
        """
        for node in self._nodes:
            if all(name in self._constants or not name for name in node.input):
                self._fold(node)
                continue
            yield node
            self._step(node)

    def inputs(self, name: str) -> Batches:
        """A tensor that a later node reads, batch by batch."""
        return self._held[name]

    def constant(self, name: str) -> np.ndarray:
        """A constant operand, or one that was computed from constants alone."""
        return self._constants[name]

    def replace(self, name: str, value: np.ndarray) -> None:
        """Let the nodes still to run read another constant."""
        self._constants[name] = value

    def compute(self, node: onnx.NodeProto) -> Batches:
        """Run a node that was yielded, now, with its operands as they are.

        Returns:
            Its first output. What is written into these arrays is what later nodes read.
        """
        self._ready = list(self._outputs(node))
        return [outputs[0] for outputs in self._ready]

    def _fold(self, node: onnx.NodeProto) -> None:
        session = self._session(node, ())
        for name, value in zip(node.output, session.run(None, {}), strict=True):
            self._constants[name] = value

    def _step(self, node: onnx.NodeProto) -> None:
        columns = zip(*(self._ready or self._outputs(node)), strict=True)
        self._ready = []
        for name, arrays in zip(node.output, columns, strict=True):
            if self._reads[name]:
                self._held[name] = list(arrays)
        for name in node.input:
            self._reads[name] -= 1
            if not self._reads[name]:
                self._held.pop(name, None)

    def _outputs(self, node: onnx.NodeProto) -> Iterator[Sequence[np.ndarray]]:
        names = list(dict.fromkeys(name for name in node.input if name in self._held))
        session = self._session(node, names)
        for arrays in zip(*(self._held[name] for name in names), strict=True):
            yield session.run(None, dict(zip(names, arrays, strict=True)))

    def _session(
        self, node: onnx.NodeProto, activations: Iterable[str]
    ) -> onnxruntime.InferenceSession:
        """A graph of this node alone."""
        constants = {name for name in node.input if name in self._constants}
        graph = helper.make_graph(
            [node],
            "step",
            [_input(name, self._held[name][0]) for name in activations],
            [onnx.ValueInfoProto(name=name) for name in node.output],
            [numpy_helper.from_array(self._constants[name], name) for name in sorted(constants)],
        )
        model = helper.make_model(graph, opset_imports=self._opsets, ir_version=self._ir_version)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the other core runs the other graph
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


def _input(name: str, example: np.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(example.dtype), [None] * example.ndim
    )


@dataclass(frozen=True)
class Layer:
    """A layer of a QDQ graph.

    Attributes:
        source: Code of its input.
        codes: int8 weights [O, …].
        scale: float32 [O] or [].
        weight: Name of the tensor that the codes are decoded to.
        output_step: Scale of its output behind its activation; 0 where the output stays float.
    """

    source: QuantParams
    codes: np.ndarray
    scale: np.ndarray
    weight: str
    output_step: float


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
        rounding: ``adaptive`` learns each weight's rounding where that helps its layer; ``first``
            does so in the layers alone that read the image, and only where their weights err by
            more than the int8 code of their output.
    """
    if rounding == "nearest" and bias_correction == "none":
        return Tuning()
    layers = _layers(qdq)
    images = _as_many_as_fit(floating, batches)
    reference, quantized = NodeRunner(ir.to_proto(floating), images), NodeRunner(qdq, images)
    learning = _learning(rounding, floating.graph, layers)
    tuner = _Tuner(reference, layers, tails(floating.graph), bias_correction, learning)
    if bias_correction == "full" or rounding == "adaptive":
        return tuner.run(quantized)
    codes = tuner.learn(quantized)
    if bias_correction == "none":
        return Tuning(weight_codes=codes)
    return Tuning(_fast_shifts(NodeRunner(ir.to_proto(floating), images), layers, codes), codes)


@dataclass(frozen=True)
class _Twin:
    """A layer of the float graph.

    Attributes:
        node: As it stands there.
        weight: Its own, float32.
        target: Samples of its output, where the whole shift is to be measured.
    """

    node: onnx.NodeProto
    weight: np.ndarray
    target: np.ndarray | None


class _Tuner:
    """One walk along both graphs."""

    def __init__(
        self,
        reference: NodeRunner,
        layers: Mapping[str, Layer],
        behind: Mapping[str, Tail],
        bias_correction: BiasCorrection,
        learning: Mapping[str, float],
    ) -> None:
        self._reference, self._layers, self._behind = reference, layers, behind
        self._bias_correction, self._learning = bias_correction, learning
        self._shifts: dict[str, np.ndarray] = {}
        self._codes: dict[str, np.ndarray] = {}

    def run(self, quantized: NodeRunner) -> Tuning:
        twins = self._twins()
        if self._bias_correction == "full":  # of the float graph, it needs no more than is yielded
            twins = ahead(twins)
        for node in quantized.run():
            if node.name in self._layers:
                twin = next(twin for twin in twins if twin.node.name == node.name)
                if node.name in self._learning:
                    self._round(quantized, node, twin.weight)
                if self._bias_correction != "none":
                    self._correct(quantized, node, twin)
        return Tuning(self._shifts, self._codes)

    def learn(self, quantized: NodeRunner) -> Mapping[str, np.ndarray]:
        """Learn roundings alone, no further along the graphs than there are layers to learn."""
        waiting, twins = set(self._learning), self._twins()
        steps = quantized.run()
        while waiting:
            node = next(steps)
            if node.name in waiting:
                twin = next(twin for twin in twins if twin.node.name == node.name)
                self._round(quantized, node, twin.weight)
                waiting.remove(node.name)
        return self._codes

    def _twins(self) -> Iterator[_Twin]:
        """The layers of the float graph, which runs as far as they are asked for."""
        for node in self._reference.run():
            if node.name in self._layers:
                weight = self._reference.constant(node.input[1])
                full = self._bias_correction == "full"
                target = sample_positions(self._reference.compute(node)) if full else None
                yield _Twin(node, weight, target)

    def _round(self, quantized: NodeRunner, node: onnx.NodeProto, weight: np.ndarray) -> None:
        layer = self._layers[node.name]
        if not _has_gram(node, weight):
            return
        moments = gram(node, weight.shape, quantized.inputs(node.input[0]))
        before = output_error(weight, layer.codes, layer.scale, moments)
        if before.mean() <= self._learning[node.name]:
            return
        learned = learned_codes(weight, layer.scale, moments)
        after = output_error(weight, learned, layer.scale, moments)
        if after.sum() < WORTHWHILE * before.sum():
            self._codes[node.name] = learned
            quantized.replace(layer.weight, _decoded(learned, layer.scale))

    def _correct(self, quantized: NodeRunner, node: onnx.NodeProto, twin: _Twin) -> None:
        outputs = quantized.compute(node)
        if twin.target is None:
            layer = self._layers[node.name]
            codes = self._codes.get(node.name, layer.codes)
            shift = _own_shift(self._reference, twin.node, layer, codes)
        else:
            shift = bias_shift(twin.target, sample_positions(outputs), self._behind[node.name])
        for batch in outputs:
            np.add(batch, shift.reshape(-1, *[1] * (batch.ndim - 2)), out=batch)
        self._shifts[node.name] = shift


def layers_at_input(graph: ir.Graph) -> frozenset[str]:
    """Layers before which there is no other: what they read are pixels.

    Neighbouring pixels are alike, and their codes are exact. So errors of such a layer's few
    weights add up where each is rounded to the nearest, and learning takes most of that away.
    """
    behind: set[ir.Value | None] = set()
    first = set()
    for node in graph:
        follows = not behind.isdisjoint(node.inputs)
        layer = rule_of(node).role is Role.WEIGHTED
        if layer and not follows:
            first.add(str(node.name))
        if layer or follows:
            behind.update(node.outputs)
    return frozenset(first)


def _learning(rounding: Rounding, graph: ir.Graph, layers: Mapping[str, Layer]) -> dict[str, float]:
    """Layers whose weights learn to round → the squared error from which on they do.

    ``first`` leaves a layer as it is whose weights err less than its output's own code: learning
    would exchange one noise for another.
    """
    if rounding == "nearest":
        return {}
    if rounding == "adaptive":
        return dict.fromkeys(layers, 0.0)
    return {
        name: layers[name].output_step ** 2 / 12
        for name in layers_at_input(graph)
        if name in layers
    }


def _fast_shifts(
    reference: NodeRunner, layers: Mapping[str, Layer], learned: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    shifts = {}
    for node in reference.run():
        layer = layers.get(node.name)
        if layer is not None:
            codes = learned.get(node.name, layer.codes)
            shifts[node.name] = _own_shift(reference, node, layer, codes)
    return shifts


def _own_shift(
    reference: NodeRunner, node: onnx.NodeProto, layer: Layer, codes: np.ndarray
) -> np.ndarray:
    """What a layer of the float graph would lose if it alone were int8, with these weights."""
    weight = output_first(node.op_type, reference.constant(node.input[1]))
    inputs = np.concatenate(reference.inputs(node.input[0]))
    steps = quantize_array(inputs, layer.source).astype(np.float32)
    seen = (steps - np.float32(layer.source.zero_point)) * layer.source.scale
    return mean_shift(weight, _decoded(codes, layer.scale), inputs, seen) / _strides(node)


def _has_gram(node: onnx.NodeProto, weight: np.ndarray) -> bool:
    """Whether ``gram`` covers the layer."""
    return node.op_type != "ConvTranspose" and weight.ndim in (2, 4)


def _strides(node: onnx.NodeProto) -> float:
    """Over how many output positions a transposed convolution's taps are shared out."""
    strides = next((a.ints for a in node.attribute if a.name == "strides"), ())
    return float(np.prod(strides)) if node.op_type == "ConvTranspose" else 1.0


def _layers(qdq: onnx.ModelProto) -> dict[str, Layer]:
    """The layers whose weights are int8, by node name."""
    constants = {t.name: t for t in qdq.graph.initializer}
    decoders = {n.output[0]: n for n in qdq.graph.node if n.op_type == "DequantizeLinear"}
    readers = {name: node for node in qdq.graph.node for name in node.input}

    def array(name: str) -> np.ndarray:
        return np.asarray(numpy_helper.to_array(constants[name]))

    layers = {}
    for node in qdq.graph.node:
        if node.op_type in LAYERS and node.input[1] in decoders:
            source, weight = decoders[node.input[0]], decoders[node.input[1]]
            layers[node.name] = Layer(
                source=QuantParams(np.float32(array(source.input[1])), int(array(source.input[2]))),
                codes=output_first(node.op_type, array(weight.input[0])),
                scale=array(weight.input[1]),
                weight=node.input[1],
                output_step=_output_step(node, readers, constants),
            )
    return layers


def _output_step(
    node: onnx.NodeProto,
    readers: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, onnx.TensorProto],
) -> float:
    """Scale of the QuantizeLinear behind a layer, with or without an activation between."""
    reader = readers.get(node.output[0])
    if reader is not None and reader.op_type in ("Relu", "Clip"):
        reader = readers.get(reader.output[0])
    if reader is None or reader.op_type != "QuantizeLinear":
        return 0.0
    return float(numpy_helper.to_array(constants[reader.input[1]]))


def _decoded(codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.asarray(codes * scale.reshape(-1, *[1] * (codes.ndim - 1)), np.float32)


def _as_many_as_fit(graph: ir.Model, batches: Iterable[np.ndarray]) -> Sequence[np.ndarray]:
    """Batches, spread evenly over all, of which the largest activation stays in ``HELD_BYTES``."""
    available = batches if isinstance(batches, Sequence) else list(batches)
    largest = max(_bytes(value) for node in graph.graph for value in node.outputs)
    count = min(len(available), max(1, HELD_BYTES // largest))
    return [available[round(i)] for i in np.linspace(0, len(available) - 1, count)]


def _bytes(value: ir.Value) -> int:
    sizes: Iterator[int] = (size for size in value.shape or () if isinstance(size, int))
    return 4 * int(np.prod(list(sizes), dtype=np.int64))
