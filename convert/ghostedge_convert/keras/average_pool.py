"""Average pooling with "same" padding as Keras documents it, on the torch backend.

The elements that padding adds are no part of the average. Where the padding is not symmetric, the
torch backend repeats the border and averages over that too (Keras 3.15), so a model trained on
TensorFlow would compute something else.
"""

from __future__ import annotations

from typing import Any

import keras
import torch

_TO_LAST = (0, 2, 3, 1)
_TO_FIRST = (0, 3, 1, 2)


def mend_average_pools(model: Any) -> None:
    """Give each AveragePooling2D of a model that pads to "same" the documented behaviour."""
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, keras.layers.AveragePooling2D) and layer.padding == "same":
            object.__setattr__(layer, "call", _Pool(layer))


class _Pool:
    """The ``call`` of one layer."""

    def __init__(self, layer: Any) -> None:
        self._size = tuple(layer.pool_size)
        self._strides = tuple(layer.strides)
        self._last = layer.data_format == "channels_last"

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        images = inputs.permute(_TO_FIRST) if self._last else inputs
        height, width = images.shape[2:]
        around = [*self._around(width, 1), *self._around(height, 0)]
        averages = self._averages(images, around)
        share = self._averages(torch.ones(1, 1, height, width), around)
        result = averages * (1.0 / share)
        return result.permute(_TO_LAST) if self._last else result

    def _averages(self, images: torch.Tensor, around: list[int]) -> torch.Tensor:
        padded = torch.nn.functional.pad(images, around)
        return torch.nn.functional.avg_pool2d(padded, self._size, self._strides)

    def _around(self, size: int, axis: int) -> tuple[int, int]:
        """Elements before and after: as many as keep ``ceil(size / stride)`` windows."""
        stride, kernel = self._strides[axis], self._size[axis]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2
