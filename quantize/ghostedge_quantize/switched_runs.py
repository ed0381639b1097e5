"""Runs variants of a graph on the same images, as many at a time as there are cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime

from ghostedge_quantize.analysis.findings import Effect, decibels
from ghostedge_runtime.errors import InputError, ModelFileError

T = TypeVar("T")
R = TypeVar("R")
_FREE_BATCH = 8
_ERRORS_ONLY = 3


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
        wanted = [dim or "?" for dim in dims]
        raise InputError(
            f"image {index} is {image.dtype} of shape {list(image.shape)}, the model takes "
            f"{kind} of shape {wanted}"
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
    # Pairs are to be computed where they stand, not merged into integer kernels.
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
    found = [batch[0].reshape(len(batch[0]), -1) for batch in runs(model, feed)]
    return np.concatenate(found).astype(np.float64)


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
