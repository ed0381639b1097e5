"""From an image to exactly the array that a model's input takes.

The one place where a file's metadata meets its graph: what the metadata promises about the input
is checked against the input itself, once, so that a wrong pairing is an error and not a wrong
answer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.backend import Array, TensorInfo
from ghostedge_runtime.images import MODES, ImageSource, normalize, prepare
from ghostedge_runtime.metadata import ModelMetadata, Preprocessing

_Encoder = Callable[[npt.NDArray[np.uint8], Preprocessing], Array]

# By what the input takes: its element type, and whether the caller normalises.
_ENCODERS: dict[tuple[str, bool], _Encoder] = {
    ("uint8", False): lambda pixels, _: pixels,
    ("float32", False): lambda pixels, _: pixels.astype(np.float32),
    ("float32", True): normalize,
}


class ImageInput:
    """Makes a model's input of an image.

    Args:
        metadata: From the model file.
        tensor: The model's input.
        where: The model file, for error messages.

    Raises:
        ModelFileError: The metadata does not describe this input.
    """

    def __init__(self, metadata: ModelMetadata, tensor: TensorInfo, where: Path) -> None:
        self._preprocessing = metadata.preprocessing
        spec = metadata.input
        height, width = metadata.preprocessing.input_size
        self._channels_first = spec.layout == "NCHW"
        channels = len(metadata.preprocessing.mean)
        item = (channels, height, width) if self._channels_first else (height, width, channels)
        encoder = _ENCODERS.get((spec.dtype, spec.normalized))
        if encoder is None or spec.dtype != tensor.dtype or not _fits(item, tensor.shape[1:]):
            raise ModelFileError(
                f"its metadata describes {'normalised' if spec.normalized else 'raw'} "
                f"{spec.dtype} images of shape {list(item)}, but its input takes {tensor}",
                where=where,
                remedy="convert the model again with `ghostedge convert`",
            )
        if channels not in MODES:
            raise ModelFileError(
                f"its input has {channels} channels, which no image has",
                where=where,
                remedy="prepare arrays of its own shape and pass them to predict()",
            )
        self._encode: _Encoder = encoder

    def __call__(self, image: ImageSource) -> Array:
        """One image as a batch of one, in the input's dtype and layout.

        Raises:
            ImageError: As `images.prepare`.
        """
        return self.of_pixels(prepare(image, self._preprocessing))

    def of_pixels(self, pixels: npt.NDArray[np.uint8]) -> Array:
        """An image that is prepared already, as a batch of one in the input's dtype and layout.

        Args:
            pixels: As `images.prepare` returns them.
        """
        values = self._encode(pixels, self._preprocessing)
        if self._channels_first:
            values = np.ascontiguousarray(values.transpose(2, 0, 1))
        return values[np.newaxis]


def _fits(item: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(item) == len(shape) and all(
        want is None or have == want for have, want in zip(item, shape, strict=True)
    )
