"""Real numbers of what a graph puts out: integers dequantized, logits turned into probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.backend import Array, TensorInfo

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
