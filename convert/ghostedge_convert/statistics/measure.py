"""What reaches each batch norm of a network, beside what it remembers from training.

A batch norm keeps the mean and the variance per channel of what it saw in training. Images like
those of training, prepared as they were then, bring it the same again; a layer where they do not
says that something before it differs. It takes no labels and a few dozen images.

The means over space are taken inside the graph that ONNX Runtime runs, so that of each activation
two numbers per image and channel leave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from ghostedge_runtime.errors import InputError

Array = npt.NDArray[np.float64]

WORST = 50.0
"""What a channel's divergence is at most: far beyond any that a network works with."""
_LEAST_SPREAD = 1e-5
"""Of the variance remembered, at least so much is taken as seen: a channel may be all zeros."""
_ADDED = "statistics/"
"""What the names of the tensors that are added to the graph begin with."""


@dataclass(frozen=True)
class NormLayer:
    """One batch norm: what it remembers, and what images brought it.

    Attributes:
        name: Of its node, after the module tree.
        running_mean: float64 (channels,), as is ``running_var``: of its input in training.
        running_var: Without epsilon.
        epsilon: What it adds to the variance.
        mean: float64 (images, channels): mean over space of its input.
        square: float64 (images, channels): mean over space of its input's square.
    """

    name: str
    running_mean: Array
    running_var: Array
    epsilon: float
    mean: Array
    square: Array

    @property
    def module(self) -> str:
        """Its place in the module tree: the name without the operator."""
        return self.name.rpartition("/")[0] or self.name

    def channel_divergences(self, images: Sequence[int] | None = None) -> Array:
        """How far each channel's input is from what the batch norm remembers.

        Half of the symmetric Kullback-Leibler divergence of two Gaussians, of the mean and
        variance remembered and of those seen (Kullback, "Information Theory and Statistics",
        1959). Both variances with epsilon, which bounds what a difference does behind the norm. A
        mean off by one standard deviation gives 0.5, a variance off by a factor of two 0.125.

        Args:
            images: Which of them, repeats allowed, as a bootstrap draws them; None: all.

        Returns:
            float64 (channels,) in [0, ``WORST``]; ``WORST`` where what was seen is not finite.
        """
        mean, square = self.mean, self.square
        if images is not None:
            mean, square = mean[list(images)], square[list(images)]
        with np.errstate(invalid="ignore", over="ignore"):
            center = mean.mean(0)
            remembered = self.running_var + self.epsilon
            spread = np.maximum(square.mean(0) - center**2, 0) + self.epsilon
            spread = np.maximum(spread, _LEAST_SPREAD * remembered)
            shift = (center - self.running_mean) ** 2
            both = (spread + shift) / remembered + (remembered + shift) / spread - 2
            worst: Array = np.minimum(np.nan_to_num(both / 4, nan=WORST, posinf=WORST), WORST)
        return worst

    def divergence(self, images: Sequence[int] | None = None) -> float:
        """Of the layer: the median over its channels, which a few dead ones do not move."""
        return float(np.median(self.channel_divergences(images)))


@dataclass(frozen=True)
class NormStatistics:
    """Of every batch norm that remembers something, in the graph's order.

    Attributes:
        layers: At least one.
        images: How many were run.
    """

    layers: tuple[NormLayer, ...]
    images: int

    def divergences(self, images: Sequence[int] | None = None) -> dict[str, float]:
        """Name of each layer → its divergence, over all images or those chosen."""
        return {layer.name: layer.divergence(images) for layer in self.layers}

    def of(self, images: Sequence[int]) -> NormStatistics:
        """The same of some of the images."""
        chosen = list(images)
        layers = tuple(
            replace(layer, mean=layer.mean[chosen], square=layer.square[chosen])
            for layer in self.layers
        )
        return NormStatistics(layers, len(chosen))


@dataclass(frozen=True)
class BatchNorm:
    """A batch norm of a graph.

    Attributes:
        name: Of its node.
        reads: The tensor that it normalises.
        running_mean: float64 (channels,), as is ``running_var``.
        running_var: Without epsilon.
        epsilon: What it adds to the variance.
    """

    name: str
    reads: str
    running_mean: Array
    running_var: Array
    epsilon: float


def measure_norms(
    model: onnx.ModelProto, batches: Iterable[npt.NDArray[np.float32]]
) -> NormStatistics | None:
    """Run images through a network and take the moments of what its batch norms read.

    Args:
        model: A float graph of opset 18 or later, one NCHW input of any batch size, its batch norms
            not yet folded. It is left as it is.
        batches: float32 (N, C, H, W), normalised as the model takes them; N may differ from the
            model's own and from batch to batch. Iterated once.

    Returns:
        None where no batch norm remembers anything: there is none, or none was ever trained.

    Raises:
        InputError: There are no images, or they are not as the model takes them.
    """
    norms = trained_norms(model)
    if not norms:
        return None
    channels = {norm.reads: len(norm.running_mean) for norm in norms}
    reduced = _reducing(model, channels)
    session = onnxruntime.InferenceSession(
        reduced.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rows: list[list[npt.NDArray[Any]]] = []
    images = 0
    for count, feed in _fed(session, batches):
        rows.append([moment[:count] for moment in session.run(None, feed)])
        images += count
    if not images:
        raise InputError("no images to measure on", remedy="pass at least one batch of images")
    columns = [np.concatenate(column).astype(np.float64) for column in zip(*rows, strict=True)]
    moments = dict(zip(channels, zip(columns[::2], columns[1::2], strict=True), strict=True))
    layers = (
        NormLayer(n.name, n.running_mean, n.running_var, n.epsilon, *moments[n.reads])
        for n in norms
    )
    return NormStatistics(tuple(layers), images)


def trained_norms(model: onnx.ModelProto) -> tuple[BatchNorm, ...]:
    """The batch norms that remember something, in the graph's order.

    Those as initialised, of mean 0 and variance 1 in every channel, were never trained. Left out
    are also those whose parameters are computed, and those in training mode.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    norms = []
    for node in model.graph.node:
        held = node.op_type == "BatchNormalization" and set(node.input[3:5]) <= constants.keys()
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if not held or attributes.get("training_mode", 0):
            continue
        mean, var = (
            numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[3:5]
        )
        if np.any(mean != 0) or np.any(var != 1):
            epsilon = float(attributes.get("epsilon", 1e-5))
            norms.append(BatchNorm(node.name, node.input[0], mean, var, epsilon))
    return tuple(norms)


def _reducing(model: onnx.ModelProto, channels: dict[str, int]) -> onnx.ModelProto:
    """The graph with two outputs for each tensor, (N, channels): its mean and mean square."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    del graph.output[:]
    graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), f"{_ADDED}axis"))
    for number, (tensor, width) in enumerate(channels.items()):
        shape, flat, mean, product, square = (
            f"{_ADDED}{number}/{part}" for part in ("shape", "flat", "mean", "product", "square")
        )
        # 0 stands for N; -1 for the product of the sides, 1 where there are none.
        graph.initializer.append(numpy_helper.from_array(np.array([0, width, -1]), shape))
        graph.node.extend(
            [
                helper.make_node("Reshape", [tensor, shape], [flat]),
                helper.make_node("ReduceMean", [flat, f"{_ADDED}axis"], [mean], keepdims=0),
                helper.make_node("Mul", [flat, flat], [product]),
                helper.make_node("ReduceMean", [product, f"{_ADDED}axis"], [square], keepdims=0),
            ]
        )
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in (mean, square))
    return copy


def _fed(
    session: onnxruntime.InferenceSession, batches: Iterable[npt.NDArray[np.float32]]
) -> Iterator[tuple[int, dict[str, npt.NDArray[np.float32]]]]:
    """Batches of the graph's own size, the last filled up, with the number that count."""
    source = session.get_inputs()[0]
    own, *sides = source.shape
    for batch in batches:
        fits = batch.ndim == len(source.shape) and all(
            not isinstance(side, int) or side == given
            for side, given in zip(sides, batch.shape[1:], strict=True)
        )
        if batch.dtype != np.float32 or not fits:
            raise InputError(
                f"images of shape {list(batch.shape[1:])} {batch.dtype}, the network takes "
                f"{sides} float32",
                where=source.name,
                remedy="prepare the images as the network takes them",
            )
        size = own if isinstance(own, int) else 1  # one by one is as quick and takes less memory
        for start in range(0, len(batch), size):
            images = batch[start : start + size]
            missing = size - len(images)
            filled = np.concatenate([images, *[images[-1:]] * missing]) if missing else images
            yield len(images), {source.name: filled}
