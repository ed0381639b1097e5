"""What every interpreter looks like to the rest of the runtime.

One small protocol and the typed description of a model's tensors. The interpreters themselves are
in the folders beside this module, each imported only when a file of its format is opened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.latency import LatencyRecorder
from ghostedge_runtime.metadata import ModelMetadata
from ghostedge_runtime.record import Delegation

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a model.

    Attributes:
        name: As the file has it.
        shape: Sizes by axis; None where the file leaves one open.
        dtype: NumPy's name of the element type, such as ``uint8``.
        scale: Real value of one quantization step, or None for a tensor that is not quantized.
        zero_point: Quantized value of real zero, or None for a tensor that is not quantized.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None

    def __str__(self) -> str:
        return f"{self.dtype} {format_shape(self.shape)}"


@dataclass(frozen=True)
class ModelIO:
    """A model's one input and its outputs, in the file's order."""

    input: TensorInfo
    outputs: tuple[TensorInfo, ...]


def model_io(inputs: list[TensorInfo], outputs: list[TensorInfo], where: Path) -> ModelIO:
    """The model's tensors as one value.

    Raises:
        ModelFileError: It has no input or several, or no output.
    """
    if len(inputs) != 1 or not outputs:
        names = ", ".join(tensor.name for tensor in inputs)
        raise ModelFileError(
            f"it has {len(inputs)} inputs ({names}) and {len(outputs)} outputs",
            where=where,
            remedy="only models with one input and at least one output are run",
        )
    return ModelIO(inputs[0], tuple(outputs))


def with_output_scale(tensor: TensorInfo, metadata: ModelMetadata | None) -> TensorInfo:
    """An int8 output with the scale that the metadata tell, where the format cannot."""
    if tensor.dtype != "int8" or metadata is None or metadata.quantization is None:
        return tensor
    scale, zero_point = metadata.quantization.of_output(tensor.name)
    return replace(tensor, scale=scale, zero_point=zero_point)


def inference_failed(name: str, error: Exception, where: Path) -> ModelFileError:
    """The error for a model that loaded but does not run."""
    return ModelFileError(
        f"{name} cannot run it ({first_line(error)})",
        where=where,
        remedy="the graph contradicts itself: convert the model again",
    )


def first_line(error: BaseException) -> str:
    """An interpreter's message without its stack."""
    return str(error).strip().split("\n", 1)[0]


class Backend(Protocol):
    """An interpreter with a model in it.

    Attributes:
        name: The distribution that provides the interpreter.
        version: Its version.
        io: The model's tensors.
        metadata: What the file says about itself, or None.
        clock: Takes the time of every run, waiting for another thread left out.
    """

    name: str
    version: str
    io: ModelIO
    metadata: ModelMetadata | None
    clock: LatencyRecorder

    def run(self, batch: Array) -> list[Array]:
        """Run one batch of exactly the input's dtype and shape; safe from several threads.

        Returns:
            The outputs in the order of ``io.outputs``, each the caller's own.

        Raises:
            ModelFileError: The interpreter cannot run the graph.
        """
        ...

    def delegation(self) -> Delegation | None:
        """What delegates took of the graph; None where the interpreter does not say."""
        ...


class Opens(Protocol):
    """Makes a backend of a model file."""

    def __call__(self, data: bytes, *, threads: int, where: Path) -> Backend:
        """Open a file.

        Args:
            data: The file.
            threads: CPU threads that one inference may use.
            where: Its path, for error messages and for files beside it.

        Raises:
            ModelFileError: The interpreter does not take it.
            InputError: It cannot be computed in the precision that this opens files for.
        """
        ...


def format_shape(shape: tuple[int | None, ...]) -> str:
    """A shape for people, ``[?, 224, 224, 3]``: a question mark where the size is open."""
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
