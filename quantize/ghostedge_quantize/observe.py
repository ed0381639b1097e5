"""Runs a float graph in ONNX Runtime and hands out inner activations, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from ghostedge_runtime.errors import InputError

Activations = Iterator[tuple[str, np.ndarray]]


class Observer:
    """A session of the graph with more outputs; it uses every core.

    Args:
        model: The canonical float model, one float32 input.
        names: The tensors to hand out; the graph's input may be among them.

    Raises:
        InputError: The model has not exactly one input.
    """

    def __init__(self, model: ir.Model, names: Sequence[str]) -> None:
        proto = ir.to_proto(model)
        inputs = [value for value in model.graph.inputs if not value.is_initializer()]
        if len(inputs) != 1:
            raise InputError(
                f"the model has {len(inputs)} inputs, calibration feeds exactly one",
                where=", ".join(str(value.name) for value in inputs) or None,
            )
        self._input = str(inputs[0].name)
        self._shape = [] if inputs[0].shape is None else list(inputs[0].shape)
        self._fetched = [name for name in names if name != self._input]
        self._names = tuple(names)
        del proto.graph.output[:]
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._fetched)
        self._session = onnxruntime.InferenceSession(
            proto.SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def run(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[int, int, Activations]]:
        """Yield the first image's index, the number of images and the activations of each run.

        A batch that the model's own batch size does not divide is filled up with copies of its
        last image.
        """
        first = 0
        for count, images in self.sized(batches):
            yield first, count, self._activations(images)
            first += count

    def sized(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield batches of the model's own batch size, with the number of images that count."""
        first = 0
        for batch in batches:
            self._check(batch, first)
            size = self._shape[0] if self._shape and isinstance(self._shape[0], int) else len(batch)
            for start in range(0, len(batch), size):
                images = batch[start : start + size]
                missing = size - len(images)
                fed = np.concatenate([images, *[images[-1:]] * missing]) if missing else images
                yield len(images), fed
            first += len(batch)

    def _activations(self, images: np.ndarray) -> Activations:
        arrays = self._session.run(self._fetched, {self._input: images})
        by_name = {self._input: images, **dict(zip(self._fetched, arrays, strict=True))}
        return ((name, by_name[name]) for name in self._names)

    def _check(self, batch: np.ndarray, first: int) -> None:
        if batch.dtype != np.float32:
            raise InputError(
                f"calibration image {first} is {batch.dtype}, not float32",
                remedy="normalise the images as the model expects before passing them",
            )
        expected = self._shape[1:]
        fits = len(batch.shape) == len(self._shape) and all(
            not isinstance(want, int) or want == have
            for want, have in zip(expected, batch.shape[1:], strict=True)
        )
        if not fits:
            raise InputError(
                f"calibration image {first} has the shape {list(batch.shape[1:])}, the model "
                f"takes {expected}",
                where=self._input,
            )


def spread(batches: Iterable[np.ndarray], *, pixels: int, at_least: int) -> Sequence[np.ndarray]:
    """Batches, evenly over all, of about so many pixels altogether; fewer where there are fewer.

    Args:
        batches: [N, C, H, W], all of one size.
        pixels: How many are enough to know a tensor's values by.
        at_least: So many batches however large they are.
    """
    available = list(batches)
    if not available:
        return available
    size, _, *sides = available[0].shape
    count = max(at_least, pixels // (size * int(np.prod(sides))))
    chosen = np.linspace(0, len(available) - 1, min(count, len(available)))
    return [available[round(index)] for index in chosen]
