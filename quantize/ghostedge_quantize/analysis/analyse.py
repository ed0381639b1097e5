"""Where a QDQ graph loses accuracy: every layer's noise, and what it does to the output.

The float reference is the QDQ graph itself with every activation pair taken out and the error taken
out of its weights (``weight_noise`` says how). It computes the same function as the float model, in
the QDQ graph's own channel scaling, so equalized and folded models need no matching.

Each layer's effect is measured alone: its weights and its output quantized, all else float. To the
first order the effects add up, and each is free of what other layers do. As many variants of the
graph run at a time as there are cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime

from ghostedge_quantize.analysis.activation_loss import ActivationLoss
from ghostedge_quantize.analysis.findings import (
    Activation,
    Analysis,
    Culprit,
    Effect,
    LayerAnalysis,
    decibels,
    explain,
)
from ghostedge_quantize.analysis.qdq_graph import WEIGHTED, Layer, QdqGraph
from ghostedge_quantize.analysis.weight_noise import WeightNoise, weight_noise
from ghostedge_quantize.graph.canonical import canonical_ir, constant
from ghostedge_runtime.errors import InputError, ModelFileError

T = TypeVar("T")
R = TypeVar("R")
_FREE_BATCH = 8
_ERRORS_ONLY = 3
WORST = 3
Progress = Callable[[int, int], None]


class Feed:
    """Images in batches as a model's input takes them; the last is filled up with copies.

    Args:
        tensor: The input.
        images: Each [H, W, C] or [C, H, W], whatever the input takes, without the batch axis.

    Raises:
        InputError: There is no image, or one of another shape or dtype than the input's.
    """

    def __init__(self, tensor: onnx.ValueInfoProto, images: Iterable[np.ndarray]) -> None:
        self.name = tensor.name
        dims = [d.dim_value or None for d in tensor.type.tensor_type.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type)
        self._images = [_checked(image, dims[1:], kind, i) for i, image in enumerate(images)]
        if not self._images:
            raise InputError("there is no image to measure on", remedy="pass at least one")
        self._size = (dims[0] if dims else None) or _FREE_BATCH

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        """Yield each batch, and how many of it are images and not copies."""
        for start in range(0, len(self._images), self._size):
            images = self._images[start : start + self._size]
            filled = images + [images[-1]] * (self._size - len(images))
            yield np.stack(filled), len(images)


def _checked(
    image: np.ndarray, dims: Sequence[int | None], kind: np.dtype, index: int
) -> np.ndarray:
    fits = len(dims) == image.ndim and all(
        want in (None, have) for want, have in zip(dims, image.shape, strict=True)
    )
    if not fits or image.dtype != kind:
        expected = [dim or "?" for dim in dims]
        raise InputError(
            f"image {index} is {image.dtype} of shape {list(image.shape)}, the model takes "
            f"{kind} of shape {expected}"
        )
    return image


def runs(model: bytes, feed: Feed) -> Iterator[list[np.ndarray]]:
    """The outputs of each batch, without the copies.

    Raises:
        ModelFileError: ONNX Runtime cannot run the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Compute the pairs as they are written: ONNX Runtime would merge them into integer kernels.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        for batch, count in feed:
            yield [array[:count] for array in session.run(None, {feed.name: batch})]
    # ONNX Runtime's errors derive from Exception one by one, without a common base.
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise ModelFileError(
            f"ONNX Runtime cannot run it ({str(error).splitlines()[0]})",
            remedy="check that the file runs with `ghostedge run`",
        ) from error


def outputs(model: bytes, feed: Feed) -> np.ndarray:
    """The first output of every image, [images, values], float64."""
    rows = [batch[0].reshape(len(batch[0]), -1) for batch in runs(model, feed)]
    return np.concatenate(rows).astype(np.float64)


def effect(reference: np.ndarray, disturbed: np.ndarray) -> Effect:
    """Compare two results of ``outputs``."""
    changed = float((reference.argmax(1) != disturbed.argmax(1)).mean())
    if reference.shape[1] > 1:
        reference = reference - reference.mean(1, keepdims=True)
        disturbed = disturbed - disturbed.mean(1, keepdims=True)
    mse = float(np.square(disturbed - reference).mean())
    return Effect(mse, decibels(float(np.square(reference).mean()), mse), changed)


def in_parallel(work: Callable[[T], R], items: Sequence[T], done: Callable[[], None]) -> list[R]:
    """``work`` on each item, one per core at a time; ``done`` is called after each, in order."""
    results = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for result in pool.map(work, items):
            results.append(result)
            done()
    return results


@dataclass(frozen=True)
class _Setup:
    """What every measurement needs.

    Attributes:
        noises: By layer name.
        clean: Constants of the reference.
        noisy: By layer name, the constants that quantizing its weights changes.
        logits: The reference's.
    """

    graph: QdqGraph
    feed: Feed
    noises: Mapping[str, WeightNoise]
    clean: Mapping[str, np.ndarray]
    noisy: Mapping[str, Mapping[str, np.ndarray]]
    logits: np.ndarray

    def effect(self, layer: Layer, *, weights: bool = True, activation: bool = True) -> Effect:
        """Of one layer, or of one part of it."""
        changed = self.noisy.get(layer.name, {}) if weights else {}
        pairs = layer.pairs if activation else ()
        model = self.graph.variant(on=pairs, values={**self.clean, **changed})
        return effect(self.logits, outputs(model, self.feed))

    def everything(self) -> dict[str, np.ndarray]:
        """Constants with every layer's weights quantized."""
        changed = {
            name: array for constants in self.noisy.values() for name, array in constants.items()
        }
        return {**self.clean, **changed}


def analyse(
    model: onnx.ModelProto,
    images: Iterable[np.ndarray],
    *,
    float_model: onnx.ModelProto | None = None,
    bias_corrected: bool = False,
    progress: Progress | None = None,
) -> Analysis:
    """Measure every layer of a QDQ graph on images.

    Args:
        model: Any maker's QDQ graph of 8 bits with one input.
        images: Without the batch axis, in the dtype and layout that the input takes, e.g. uint8
            [H, W, 3] for our own files; all are held in memory.
        float_model: The same network in float, whose nodes have the same names. Without it the
            weights' error is assumed, not measured.
        bias_corrected: Whether the biases make up for the mean error of their layer's weights; it
            is then no part of that layer's effect.
        progress: Called with (measured, of how many) as layers are done.

    Raises:
        ModelFileError: The model is not a QDQ graph, cannot be run, or ``float_model`` is not of
            the same network.
        InputError: No images, or one that the model's input does not take.
    """
    graph = QdqGraph(model)
    feed = Feed(graph.input, images)
    setup = _set_up(graph, feed, float_model, bias_corrected=bias_corrected)
    losses, total = _activations(setup)
    layers, done = graph.layers, 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, len(layers))

    effects = in_parallel(setup.effect, layers, tick)
    analysed = _layers(setup, losses, effects)
    return Analysis(len(feed), bias_corrected, total, analysed, _worst(setup, analysed))


def _set_up(
    graph: QdqGraph, feed: Feed, float_model: onnx.ModelProto | None, *, bias_corrected: bool
) -> _Setup:
    """Separate weights from their error and run the reference."""
    weighted = [layer for layer in graph.layers if layer.weight]
    noises = _noises(graph, weighted, float_model)
    clean = {str(layer.weight): noises[layer.name].reference for layer in weighted}
    noisy = {layer.name: {str(layer.weight): noises[layer.name].quantized} for layer in weighted}
    biased = [layer for layer in weighted if layer.bias] if bias_corrected else []
    for layer, shift in _mean_errors(graph, feed, biased, noises, clean):
        bias, assumed = str(layer.bias), noises[layer.name].facts.source == "rounding step"
        # The file's bias already makes up for a known error, but not for an assumed one.
        clean[bias] = graph.constants[bias] + (0 if assumed else shift)
        noisy[layer.name][bias] = clean[bias] - shift
    logits = outputs(graph.variant(values=clean), feed)
    return _Setup(graph, feed, noises, clean, noisy, logits)


def _noises(
    graph: QdqGraph, weighted: Sequence[Layer], float_model: onnx.ModelProto | None
) -> dict[str, WeightNoise]:
    """The weights' error by layer name."""
    originals = {} if float_model is None else _weights_by_node(float_model)
    random = np.random.default_rng(0)
    noises = {}
    for layer in weighted:
        node = graph.node_of(layer)
        original = originals.get(layer.name, originals.get(node.output[0]))
        codes = graph.codes[str(layer.weight)]
        noises[layer.name] = weight_noise(codes, node, original, random)
    assumed = all(noise.facts.source == "rounding step" for noise in noises.values())
    if float_model is not None and weighted and assumed:
        raise ModelFileError(
            "the float model is not the one that was quantized: no layer has both its name and "
            "its weights",
            remedy="give the float .onnx that the QDQ model was made from, or none (no --float)",
        )
    return noises


def _weights_by_node(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Constant weights of a float model by the names of their nodes and of what those make.

    They are in the spelling that quantizing gives them.
    """
    weights = {}
    for node in canonical_ir(model).graph:
        array = constant(node.inputs[1]) if node.op_type in WEIGHTED else None
        if array is not None:
            weights[str(node.name)] = weights[str(node.outputs[0].name)] = array
    return weights


def _mean_errors(
    graph: QdqGraph,
    feed: Feed,
    layers: Sequence[Layer],
    noises: Mapping[str, WeightNoise],
    clean: Mapping[str, np.ndarray],
) -> list[tuple[Layer, np.ndarray]]:
    """Each layer with the mean error of its output, float32 [channels], from its weights' error."""
    if not layers:
        return []
    nodes = [_error_node(graph.node_of(layer)) for layer in layers]
    errors = {
        node.input[1]: noises[layer.name].error for node, layer in zip(nodes, layers, strict=True)
    }
    names = [node.output[0] for node in nodes]
    model = graph.variant(values={**clean, **errors}, outputs=names, more=nodes)
    sums = [np.zeros(len(graph.constants[str(layer.bias)])) for layer in layers]
    for arrays in runs(model, feed):
        for total, array in zip(sums, arrays, strict=True):
            np.add(total, array.mean(axis=tuple(range(2, array.ndim))).sum(0), out=total)
    means = [(total / len(feed)).astype(np.float32) for total in sums]
    return list(zip(layers, means, strict=True))


def _error_node(node: onnx.NodeProto) -> onnx.NodeProto:
    """A twin of a weighted node that reads the same input, has other weights and no bias."""
    twin = onnx.NodeProto()
    twin.CopyFrom(node)
    del twin.input[1:], twin.output[:]
    twin.name = f"{node.output[0]}/error"
    twin.input.append(f"{twin.name}_weights")
    twin.output.append(twin.name)
    return twin


def _activations(setup: _Setup) -> tuple[dict[str, Activation], Effect]:
    """The loss of each layer's output, and the effect of quantizing everything."""
    graph, feed = setup.graph, setup.feed
    paired = {layer.name: layer.pairs[0] for layer in graph.layers if layer.pairs}
    losses = {name: ActivationLoss(pair) for name, pair in paired.items()}
    before = [pair.tensor for pair in paired.values()]
    after = [graph.decoded(pair) for pair in paired.values()]
    fetched = [*dict.fromkeys(name for name in before if name != feed.name), graph.output]
    quantized = graph.variant(
        on=list(graph.pairs.values()), values=setup.everything(), outputs=fetched
    )
    logits = []
    for (images, count), clean, noisy in zip(
        feed,
        runs(graph.variant(values=setup.clean, outputs=after), feed),
        runs(quantized, feed),
        strict=True,
    ):
        tensors = {feed.name: images[:count], **dict(zip(fetched, noisy, strict=True))}
        for loss, name, reference in zip(losses.values(), before, clean, strict=True):
            loss.add(reference, tensors[name])
        logits.append(tensors[graph.output].reshape(count, -1))
    total = effect(setup.logits, np.concatenate(logits).astype(np.float64))
    return {name: loss.report() for name, loss in losses.items()}, total


def _layers(
    setup: _Setup, losses: Mapping[str, Activation], effects: Sequence[Effect]
) -> tuple[LayerAnalysis, ...]:
    whole = sum(measured.mse for measured in effects) or 1.0
    return tuple(
        LayerAnalysis(
            name=layer.name,
            op=layer.op,
            activation=losses.get(layer.name),
            weights=setup.noises[layer.name].facts if layer.weight else None,
            effect=measured,
            share=measured.mse / whole,
        )
        for layer, measured in zip(setup.graph.layers, effects, strict=True)
    )


def _harm(layer: LayerAnalysis) -> float:
    """Sorts the most harmful layer first."""
    return -layer.effect.mse


def _worst(setup: _Setup, layers: Sequence[LayerAnalysis]) -> tuple[Culprit, ...]:
    """The layers with the largest effects, each taken apart into weights and activation."""
    by_name = {layer.name: layer for layer in setup.graph.layers}
    hurting = sorted((layer for layer in layers if layer.effect.mse > 0), key=_harm)
    culprits = []
    for analysis in hurting[:WORST]:
        layer = by_name[analysis.name]
        weights = setup.effect(layer, activation=False) if layer.weight else None
        activation = setup.effect(layer, weights=False) if layer.pairs else None
        cause, remedy = explain(analysis, weights, activation)
        culprits.append(Culprit(analysis.name, weights, activation, cause, remedy))
    return tuple(culprits)
