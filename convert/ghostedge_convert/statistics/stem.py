"""What the first batch norm would see of images, whatever their mean, std and order of colours.

What a network computes before its first batch norm is affine in the image: as a rule one
convolution. The batch norm's input under ``(pixel / 255 - mean) / std`` is therefore a weighted sum
of the responses to each colour and to ones, and its mean and mean square follow from the means and
mean products of these responses. They are taken once of each image; every preprocessing is judged
from them without looking at an image again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime

from ghostedge_convert.passes.graph import static_shape
from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes
from ghostedge_convert.statistics.measure import BatchNorm, NormLayer, trained_norms
from ghostedge_runtime.images import MODES
from ghostedge_runtime.metadata import ColorOrder

Array = npt.NDArray[np.float64]

_AFFINE_TOLERANCE = 1e-3
"""How far the response to a sum may be from the sum of responses, in float32, of its size."""


@dataclass(frozen=True)
class Stem:
    """The first batch norm: what it remembers, and what its input is made of for each image.

    A term is the response to one colour of the image in one input channel (pixel / 255, zeros in
    the others), to ones in one input channel, or to zeros. `term_indices` has their order.

    Attributes:
        norm: What it remembers.
        colors: How many channels an image has.
        means: Each term's mean over positions, (images, channels, terms).
        products: The mean over positions of each product of two terms, (images, channels, terms,
            terms).
    """

    norm: BatchNorm
    colors: int
    means: Array
    products: Array

    @property
    def images(self) -> int:
        """How many images it was measured on."""
        return len(self.means)

    @property
    def is_grey(self) -> bool:
        """Whether R and B are the same in every image, so that no order of colours shows."""
        of_red, of_blue = self.means[..., 0], self.means[..., self.colors]
        return self.colors >= 3 and bool(np.allclose(of_red, of_blue, rtol=1e-4, atol=1e-6))

    def under(self, scale: Array, shift: Array, order: ColorOrder) -> NormLayer:
        """What the batch norm sees of the images under ``scale · pixel / 255 + shift``.

        Args:
            scale: For each channel of the network's input.
            shift: The same.
            order: Of the colours in the network's input.
        """
        weights = np.zeros(self.means.shape[2])
        weights[term_indices(self.colors, order)] = [*scale, *shift, 1.0]
        norm = self.norm
        return NormLayer(
            norm.name,
            norm.running_mean,
            norm.running_var,
            norm.epsilon,
            self.means @ weights,
            (self.products @ weights) @ weights,
        )


def term_indices(colors: int, order: ColorOrder) -> list[int]:
    """Which terms make up the response to an image: each input channel's, its ones', and zeros'.

    Terms are, for three colours, R, G and B in channels 0, 1 and 2, then B in 0 and R in 2, then
    ones in each channel, then zeros.
    """
    ones = range(colors + len(_exchanged(colors)), 2 * colors + len(_exchanged(colors)) + 1)
    own = list(range(colors))
    if order == "BGR" and _exchanged(colors):
        own[0], own[2] = colors, colors + 1
    return [*own, *ones]


def _exchanged(colors: int) -> tuple[tuple[int, int], ...]:
    """Input channel and colour of the terms that only BGR has."""
    return ((0, 2), (2, 0)) if colors >= 3 else ()


def measure_stem(model: onnx.ModelProto, pixels: Iterable[npt.NDArray[np.uint8]]) -> Stem | None:
    """Measure what images bring to a network's first batch norm.

    Args:
        model: A float graph with its batch norms and one static float32 input (batch, channels,
            height, width).
        pixels: Batches of images as uint8 (images, height, width, channels), colours in RGB
            order, resized and cropped for the network.

    Returns:
        None where no preprocessing can be told from it: it has no batch norm, what comes before
        the first one is not affine in the image, its input is no image, or there are no images.
    """
    norms, graph = trained_norms(model), ir.from_proto(model)
    shape = static_shape(graph.graph.inputs[0])
    if not norms or shape is None or len(shape) != 4 or shape[1] not in MODES:
        return None
    before = _BeforeNorm(graph, norms[0].reads, shape)
    if not before.is_affine():
        return None
    measured = [before.moments(image) for batch in pixels for image in batch]
    if not measured:
        return None
    means, products = (np.stack(moments) for moments in zip(*measured, strict=True))
    return Stem(norms[0], shape[1], means, products)


class _BeforeNorm:
    """What a graph computes before one of its batch norms.

    Args:
        graph: The model; cut down to this part.
        reads: The tensor that the batch norm reads.
        shape: Of the model's input.
    """

    def __init__(self, graph: ir.Model, reads: str, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._input = str(graph.graph.inputs[0].name)
        graph.graph.outputs[:] = [ir.convenience.create_value_mapping(graph.graph)[reads]]
        remove_dead_nodes(graph)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            ir.to_proto(graph).SerializeToString(), options, ["CPUExecutionProvider"]
        )
        colors, size = shape[1], shape[2:]
        constants = np.zeros((colors + 1, colors, *size), np.float32)
        constants[range(colors), range(colors)] = 1
        self._ones_and_zeros = self._run(constants)

    def is_affine(self) -> bool:
        """Whether the response to a sum is the sum of responses, on noise of two sizes."""
        image = np.random.default_rng(0).random((1, *self._shape[1:]), np.float32)
        at_zeros, of_image, of_more = self._run(np.concatenate([0 * image, image, -3 * image]))
        if at_zeros.ndim != 3:
            return False
        error = (of_more - at_zeros) + 3 * (of_image - at_zeros)
        return bool(np.abs(error).max() <= _AFFINE_TOLERANCE * np.abs(of_image - at_zeros).max())

    def moments(self, pixels: npt.NDArray[np.uint8]) -> tuple[Array, Array]:
        """Means over positions (channels, terms) of the terms and of their products."""
        values = np.moveaxis(pixels, -1, 0).astype(np.float32) / np.float32(255)
        colors = self._shape[1]
        placed = [*((index, index) for index in range(colors)), *_exchanged(colors)]
        alone = np.zeros((len(placed), *self._shape[1:]), np.float32)
        for term, (channel, color) in enumerate(placed):
            alone[term, channel] = values[color]
        responses = self._run(alone)
        responses[: len(placed)] -= self._ones_and_zeros[-1]
        terms = np.concatenate([responses, self._ones_and_zeros]).astype(np.float64)
        flat = terms.reshape(*terms.shape[:2], -1).swapaxes(0, 1)
        return flat.mean(2), flat @ flat.swapaxes(1, 2) / flat.shape[2]

    def _run(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The responses to any number of inputs, which fill batches of the graph's own size."""
        batch = self._shape[0]
        filled = np.resize(inputs, (-(-len(inputs) // batch) * batch, *inputs.shape[1:]))
        outputs = [
            self._session.run(None, {self._input: filled[start : start + batch]})[0]
            for start in range(0, len(filled), batch)
        ]
        return np.concatenate(outputs)[: len(inputs)]
