"""What a model's input is fed: as its metadata says, else as its shape lets one guess."""

from __future__ import annotations

from pathlib import Path

from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.backend import TensorInfo
from ghostedge_runtime.image_input import ImageInput
from ghostedge_runtime.metadata import InputSpec, ModelMetadata, Preprocessing

# What an input is taken to be, by its dtype and the axis that holds the three channels.
_SPECS = {
    ("uint8", 3): InputSpec("NHWC", "uint8", normalized=False),
    ("uint8", 1): InputSpec("NCHW", "uint8", normalized=False),
    ("float32", 1): InputSpec("NCHW", "float32", normalized=True),
    ("float32", 3): InputSpec("NHWC", "float32", normalized=True),
}


def image_input(
    metadata: ModelMetadata | None,
    tensor: TensorInfo,
    where: Path,
    preprocessing: Preprocessing | None = None,
    origin: str | Path | None = None,
) -> tuple[ModelMetadata, tuple[str, ...], ImageInput]:
    """What makes a file's input of an image.

    Args:
        metadata: The file's, None where it carries none.
        tensor: Its input.
        where: The file.
        preprocessing: For a file without metadata, if it is for the input's size; by default
            ImageNet's.
        origin: Where that was taken from.

    Returns:
        The metadata, what had to be assumed for it (a sentence each), and the encoder.

    Raises:
        ModelFileError: The metadata does not describe the input, or it is no image.
    """
    if metadata is not None:
        return metadata, (), ImageInput(metadata, tensor, where)
    spec, size = _guess(tensor, where)
    if preprocessing is None or preprocessing.input_size != size:
        preprocessing, origin = Preprocessing(input_size=size), "ImageNet's defaults"
    note = f"{where.name} does not say how images are prepared: taken from {origin}"
    known = ModelMetadata(preprocessing, spec)
    return known, (note,), ImageInput(known, tensor, where)


def _guess(tensor: TensorInfo, where: Path) -> tuple[InputSpec, tuple[int, int]]:
    """Layout and size from the shape: raw pixels where it takes uint8, normalised ones as float."""
    kinds = {axes: spec for (dtype, axes), spec in _SPECS.items() if dtype == tensor.dtype}
    for channels, spec in kinds.items():
        shape = tensor.shape
        if len(shape) == 4 and shape[channels] == 3:
            height, width = (side for axis, side in enumerate(shape) if axis not in (0, channels))
            if height is not None and width is not None:
                return spec, (height, width)
    raise ModelFileError(
        f"its input {tensor} is no image of a known size, and it has no ghostedge metadata",
        where=where,
        remedy="give a model with a static input such as float32 1×3×224×224",
    )
