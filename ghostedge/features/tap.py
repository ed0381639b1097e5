"""A network whose inner tensors can be read, whatever file it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ghostedge.features.graph import Layer, Layers
from ghostedge_runtime.formats.backend import Array
from ghostedge_runtime.metadata import ModelMetadata, Precision

Maps = npt.NDArray[np.float32]
"""Feature maps of one image: float32 [channels, height, width]."""


@dataclass(frozen=True)
class Building:
    """How a network is made of MODEL, where it is not one yet: flags of `ghostedge convert`."""

    ema: bool = False
    key_prefix: str | None = None
    arch: str | None = None
    unsafe_pickle: bool = False
    factory: str | None = None
    factory_args: str | None = None
    input_size: tuple[int, int] | None = None

    def stated(self) -> list[str]:
        """The flags that were given."""
        given = (name for name, value in asdict(self).items() if value)
        return [f"--{name.replace('_', '-')}" for name in given]


NO_FLAGS = Building()


@dataclass(frozen=True)
class Tap:
    """An opened network.

    Attributes:
        path: The file.
        sha256: Of its bytes.
        format: ``onnx``, ``tflite``, or what the network was built of, such as ``checkpoint``.
        precision: As the metadata has it, else whether it computes on codes.
        metadata: With the preprocessing; assumed where the file carries none.
        assumed: What had to be assumed, a sentence each.
        layers: Its feature maps.
        encode: Makes the network's input, a batch of one, of an image.
        read: Runs the network on such an input; the layers' real values, in the order asked for.
    """

    path: Path
    sha256: str
    format: str
    precision: Precision
    metadata: ModelMetadata
    assumed: tuple[str, ...]
    layers: Layers
    encode: Callable[[Any], Array]
    read: Callable[[Array, Sequence[Layer]], list[Maps]]


def precision_of(metadata: ModelMetadata | None, *, coded: bool) -> Precision:
    """What a file says of itself; without metadata ``int8`` where its tensors are codes."""
    if metadata is not None:
        return metadata.precision
    return "int8" if coded else "float32"


def full_batch(batch: Array, size: int | None) -> Array:
    """A batch of one image, repeated to the size that a file is fixed to."""
    return batch if size in (None, 1) else np.repeat(batch, size, axis=0)
