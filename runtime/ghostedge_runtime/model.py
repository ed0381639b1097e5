"""A model file, loaded and ready to run.

`Model` ties the pieces together: the interpreter that fits the file, the preprocessing inside it,
and the clock. Real numbers are made here of what a graph puts out: integers dequantized, logits
turned into probabilities. It does not score (`evaluation`) or benchmark (`bench.inference`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ghostedge_runtime.errors import InputError, ModelFileError
from ghostedge_runtime.formats.backend import Array, Backend, ModelIO, TensorInfo, format_shape
from ghostedge_runtime.formats.loading import open_backend
from ghostedge_runtime.formats.table import PrecisionMode
from ghostedge_runtime.images import ImageSource, is_image
from ghostedge_runtime.inputs import ImageInput
from ghostedge_runtime.latency import Latency, LatencyRecorder
from ghostedge_runtime.metadata import ModelMetadata
from ghostedge_runtime.record import Delegation

WHOLE = frozenset({"bool", "int32", "int64"})
"""Types of numbers that stand for themselves: labels, indices, masks."""


def real_values(output: Array, tensor: TensorInfo, where: Path) -> npt.NDArray[np.float32]:
    """An output as float32, whatever it is stored as.

    Args:
        output: As the interpreter gave it.
        tensor: Which output it is.
        where: The model file, for error messages.

    Raises:
        ModelFileError: The scale of an int8 or uint8 output is not known, or a number is not
            finite.
    """
    values = _dequantized(output, tensor, where)
    if not np.isfinite(values).all():
        raise ModelFileError(
            "it computes infinite numbers or none at all (NaN) for this input",
            where=where,
            remedy="its weights are damaged: convert the model again",
        )
    return values


def _dequantized(output: Array, tensor: TensorInfo, where: Path) -> npt.NDArray[np.float32]:
    if output.dtype.kind == "f":
        return output.astype(np.float32, copy=False)
    if tensor.scale is None:
        if output.dtype.name in WHOLE:
            return output.astype(np.float32)
        raise ModelFileError(
            f"its output {tensor.name!r} is {tensor.dtype} and nothing in the file tells the scale",
            where=where,
            remedy="use predict() for the raw numbers, or convert the model with float32 output",
        )
    steps = output.astype(np.float32) - np.float32(tensor.zero_point or 0)
    return np.asarray(steps * np.float32(tensor.scale))


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Probabilities of one row of logits."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(powers / powers.sum())


def two_classes(output: npt.NDArray[np.float32], *, probabilities: bool) -> npt.NDArray[np.float32]:
    """The scores of both classes of a binary classifier.

    Of equal scores the first class comes first, so the second needs a probability above 0.5.

    Args:
        output: float32 (images, 1): the second class's logit or probability.
        probabilities: Which of the two it is.

    Returns:
        float32 (images, 2): 1 - p and p; or 0 and the logit, whose softmax is the logit's sigmoid.
    """
    first = 1 - output if probabilities else np.zeros_like(output)
    return np.concatenate([first, output], axis=1)


@dataclass(frozen=True)
class Classification:
    """One guess.

    Attributes:
        index: Place of the class in the model's output.
        label: Its name; the index as text where the file names none.
        score: Softmax probability, 0 to 1.
    """

    index: int
    label: str
    score: float


class Model:
    """A ``.tflite`` or ``.onnx`` file, loaded and ready to run.

    Safe to call from several threads: TFLite runs one call at a time, ONNX Runtime several. A
    context manager, as is every other holder of something big; `close` does the same.

    Args:
        path: The model file.
        threads: CPU threads that one inference may use.
        backend: ``litert`` runs a ``.tflite`` file with XNNPACK's kernels, ``litert-reference``
            with TFLite's own reference kernels, ``onnxruntime`` runs an ``.onnx`` file. None:
            ``litert`` or ``onnxruntime``, as the file needs.
        precision_mode: ``fp16`` computes a float ``.tflite`` in half precision throughout, on
            ``litert`` and a processor that has such arithmetic.

    Attributes:
        path: The model file.
        threads: As given.
        backend: The one that runs it.
        precision_mode: As given.
        load_ms: Milliseconds to read the file and ready the interpreter; the import of the
            interpreter's library comes before and is not in it.

    Raises:
        ModelFileError: No such file, or not one that can be run.
        MissingDependencyError: The interpreter for this format is not installed.
        InputError: ``threads`` is not a positive whole number, the backend does not run such a
            file, or half precision is not to be had: from this file, or on this machine.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        threads: int = 1,
        backend: str | None = None,
        precision_mode: PrecisionMode = "default",
    ) -> None:
        if not isinstance(threads, int) or threads < 1:
            raise InputError(f"threads must be a whole number from 1 on, got {threads!r}")
        self.path = Path(path)
        self.threads = threads
        self._backend: Backend | None
        self._backend, self.backend, self.load_ms = open_backend(
            self.path, threads, backend, precision_mode
        )
        self.precision_mode = precision_mode
        self._io = self._backend.io
        self._metadata = self._backend.metadata
        self._runtime = (self._backend.name, self._backend.version)
        self._shape = self._io.input.shape
        self._dtype = np.dtype(self._io.input.dtype)
        self._preprocessing_clock = LatencyRecorder()
        self._inference_clock = self._backend.clock

    @property
    def io(self) -> ModelIO:
        """The input and the outputs: name, shape, dtype, scale, zero point."""
        return self._io

    @property
    def metadata(self) -> ModelMetadata | None:
        """What the file says about itself; None for a file that another tool wrote."""
        return self._metadata

    @property
    def runtime(self) -> tuple[str, str]:
        """The interpreter: its distribution and version."""
        return self._runtime

    @cached_property
    def delegation(self) -> Delegation | None:
        """What delegates took of the graph: for ``.tflite`` XNNPACK, if the interpreter tells.

        None for ``.onnx``: ONNX Runtime is asked for its CPU provider alone, which takes all.

        Raises:
            InputError: The model is closed.
        """
        if self._backend is None:
            raise self._closed()
        return self._backend.delegation()

    @property
    def num_classes(self) -> int | None:
        """Size of the first output's last axis; None where the file leaves it open.

        Two for a binary classifier, whose one number parts two classes.
        """
        if self._is_binary:
            return 2
        shape = self._io.outputs[0].shape
        return shape[-1] if shape else None

    @property
    def is_classifier(self) -> bool:
        """Whether it has one output, a row of class scores for each image.

        A single number is one only where the file says that it parts two classes.
        """
        may_classify = self._metadata is None or self._metadata.classifies
        (shape, *others) = (output.shape for output in self._io.outputs)
        return (
            may_classify and not others and len(shape) == 2 and (shape[1] != 1 or self._is_binary)
        )

    @property
    def _is_binary(self) -> bool:
        return self._metadata is not None and self._metadata.binary

    @property
    def latency(self) -> Latency:
        """Times of this model's calls so far, percentiles over the newest `latency.WINDOW`.

        One inference sample is one run of the interpreter, from setting the input to reading the
        outputs, without waiting for other threads.
        """
        return Latency(self._preprocessing_clock.summary(), self._inference_clock.summary())

    @property
    def first_inference_ms(self) -> float | None:
        """Milliseconds of the very first inference; None before it."""
        first = self._inference_clock.first_ns
        return None if first is None else first / 1e6

    def classify(self, image: ImageSource, top_k: int = 5) -> tuple[Classification, ...]:
        """Name what an image shows.

        Args:
            image: A path, the bytes of an image file, a Pillow image, or a uint8 array of shape
                (height, width, 3) in RGB order. A network of one channel gets it in grey, one
                of four in RGBA; both also take arrays of their own channels.
            top_k: How many classes to return, at most.

        Returns:
            The likeliest classes, best first; of equal scores the lower index first.

        Raises:
            ImageError: The image cannot be used.
            InputError: The file carries no metadata, ``top_k`` is below 1, or the model is closed.
            ModelFileError: Metadata and graph contradict each other.
        """
        if top_k < 1:
            raise InputError(f"top_k must be at least 1, got {top_k}")
        scores = self._scores(self.logits(self.preprocess(image))[0])
        labels = self._labels(len(scores))
        best = np.argsort(-scores, kind="stable")[:top_k]
        return tuple(Classification(int(i), labels[i], float(scores[i])) for i in best)

    def _scores(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probabilities of the classes; of a network that gives them itself, its own."""
        if self._metadata is not None and self._metadata.probabilities:
            return logits.astype(np.float64)
        return softmax(logits)

    def preprocess(self, image: ImageSource) -> Array:
        """Make the model's input of one image, as the metadata inside the file says.

        Args:
            image: As for `classify`.

        Returns:
            A batch of one for `predict`, in the input's dtype and layout.

        Raises:
            ImageError: The image cannot be used.
            InputError: The file carries no metadata.
            ModelFileError: Metadata and graph contradict each other.
        """
        convert = self._image_input
        start = perf_counter_ns()
        batch = convert(image)
        spent = perf_counter_ns() - start
        with self._preprocessing_clock.lock:
            self._preprocessing_clock.add(spent)
        return batch

    def encode(self, pixels: npt.NDArray[np.uint8]) -> Array:
        """As `preprocess`, of pixels that are resized and cropped as `images.prepare` does it."""
        return self._image_input.of_pixels(pixels)

    def predict(self, batch: Array | ImageSource) -> Array | dict[str, Array]:
        """Run an image, or raw arrays, through the model.

        Args:
            batch: An image as for `classify`, or arrays of the input's dtype and, the number of
                images aside, its shape (see `io`). More images than the file's own batch size run
                in chunks of it, the last one padded with zeros.

        Returns:
            The output as the model gives it, with as many rows as ``batch`` (one for an image);
            for a model of several outputs a dict by their names, in the file's order. TFLite's
            feature maps are channels-last, ONNX's channels-first: the shapes are in `io`.

        Raises:
            ImageError: The image cannot be used.
            InputError: Another dtype or shape, or the model is closed.
            ModelFileError: The interpreter cannot run the graph.
        """
        backend = self._backend
        if backend is None:
            raise self._closed()
        # The common case gets by with these three comparisons: after an inference the caches are
        # cold, and each Python step costs microseconds. What is equal but not the same (a
        # subclass, a dtype that was unpickled) takes the other way and arrives there too.
        if (
            type(batch) is not np.ndarray
            or batch.dtype is not self._dtype
            or batch.shape != self._shape
        ):
            if is_image(batch, len(self._shape)):
                batch = self.preprocess(batch)
            return self._named(self._predict_chunks(backend, self._checked(batch)))
        outputs = backend.run(batch)
        return outputs[0] if len(outputs) == 1 else self._named(outputs)

    def values(self, batch: Array | ImageSource) -> dict[str, npt.NDArray[np.float32]]:
        """Run an image, or raw arrays, through the model and return real numbers by output name.

        Args:
            batch: As for `predict`.

        Returns:
            Every output, one or several, as float32, integers dequantized.

        Raises:
            ImageError: As `predict`.
            InputError: As `predict`.
            ModelFileError: The scale of an integer output is not known, or the numbers are not
                finite.
        """
        result = self.predict(batch)
        outputs = result if isinstance(result, dict) else {self._io.outputs[0].name: result}
        return {
            tensor.name: real_values(outputs[tensor.name], tensor, self.path)
            for tensor in self._io.outputs
        }

    def logits(self, batch: Array) -> npt.NDArray[np.float32]:
        """Run raw arrays through a classifier and return real numbers, an int8 output dequantized.

        Args:
            batch: As for `predict`.

        Returns:
            float32 (images, classes); of a binary classifier's one number both classes' scores, see
            `two_classes`.

        Raises:
            InputError: As `predict`.
            ModelFileError: Not a classifier (one output, a row of numbers per image), the scale
                of an integer output is not known, or the numbers are not finite.
        """
        output = self.predict(batch)
        if isinstance(output, dict) or not self.is_classifier:
            raise ModelFileError(
                "it is not a classifier: its outputs are "
                + ", ".join(f"{tensor.name} {tensor}" for tensor in self._io.outputs),
                where=self.path,
                remedy="use predict() for the raw outputs, values() for real numbers by name",
            )
        scores = real_values(output, self._io.outputs[0], self.path)
        if self._metadata is None or not self._metadata.binary:
            return scores
        return two_classes(scores, probabilities=self._metadata.probabilities)

    def close(self) -> None:
        """Let go of the interpreter and its memory; calls that run now still end well."""
        self._backend = None

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        name, version = self._runtime
        outputs = ", ".join(str(tensor) for tensor in self._io.outputs)
        return f"Model({str(self.path)!r}: {self._io.input} → {outputs}, {name} {version})"

    @cached_property
    def _image_input(self) -> ImageInput:
        return ImageInput(self.described, self._io.input, self.path)

    @property
    def described(self) -> ModelMetadata:
        """The metadata, of a file that is to be given images; InputError where it has none."""
        if self._metadata is None:
            raise InputError(
                "it carries no ghostedge metadata, so how to prepare an image for it is not known",
                where=self.path,
                remedy="prepare arrays yourself and call predict(), or convert the model with "
                "`ghostedge convert`",
            )
        return self._metadata

    def _labels(self, count: int) -> tuple[str, ...]:
        labels = None if self._metadata is None else self._metadata.labels
        if labels is None:
            return tuple(str(index) for index in range(count))
        if len(labels) != count:
            raise ModelFileError(
                f"its metadata has {len(labels)} labels, but it tells {count} classes apart",
                where=self.path,
                remedy="convert the model again with the right labels",
            )
        return labels

    def _named(self, outputs: list[Array]) -> Array | dict[str, Array]:
        if len(outputs) == 1:
            return outputs[0]
        return {tensor.name: out for tensor, out in zip(self._io.outputs, outputs, strict=True)}

    def _checked(self, batch: Any) -> Array:
        """The batch, if only the number of images differs from the input's own shape."""
        shape = self._shape
        if not isinstance(batch, np.ndarray):
            got = f"a {type(batch).__name__}"
        elif (
            batch.dtype != self._dtype
            or batch.ndim != len(shape)
            or batch.shape[0] == 0
            or any(w not in (None, h) for h, w in zip(batch.shape[1:], shape[1:], strict=True))
        ):
            got = f"{batch.dtype} {format_shape(batch.shape)}"
        else:
            return batch
        raise InputError(
            f"the input {self._io.input.name!r} takes {self._dtype} {format_shape(shape)}, "
            f"got {got}",
            where=self.path,
            remedy="only the first axis, the number of images, may differ (1 or more); "
            "classify() takes images as they are",
        )

    def _predict_chunks(self, backend: Backend, batch: Array) -> list[Array]:
        size = self._shape[0]
        if size is None or size == len(batch):
            return backend.run(batch)
        chunks = []
        for start in range(0, len(batch), size):
            chunk = batch[start : start + size]
            rows = len(chunk)
            if rows < size:
                padding = np.zeros((size - rows, *batch.shape[1:]), batch.dtype)
                chunk = np.concatenate([chunk, padding])
            outputs = backend.run(chunk)
            if any(output.shape[:1] != (size,) for output in outputs):
                raise InputError(
                    f"its outputs do not hold a row per image, so {len(batch)} images cannot run "
                    f"in batches of {size}",
                    where=self.path,
                    remedy=f"call predict() with exactly {format_shape(self._shape)}",
                )
            chunks.append([output[:rows] for output in outputs])
        return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]

    def _closed(self) -> InputError:
        return InputError(
            "the model is closed",
            where=self.path,
            remedy="call it inside its `with` block, or open it again with Model(path)",
        )
