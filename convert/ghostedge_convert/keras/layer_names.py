"""A Keras model as a torch module of one NCHW input whose nodes are named by Keras's layers.

torch names what it traces after the modules it passes through, and Keras calls its layers without
passing through torch. So each layer's ``call`` is led through a small module of the layer's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_TO_LAST = (0, 2, 3, 1)
_TO_FIRST = (0, 3, 1, 2)


class Named(torch.nn.Module):
    """Maps float32 ``[N, C, H, W]`` to the model's output, or a dict of its outputs by name.

    Args:
        model: A Keras model on the torch backend.
        channels_last: Whether the model itself takes, and returns, images channels last.
    """

    def __init__(self, model: Any, *, channels_last: bool) -> None:
        super().__init__()
        self.model = model
        self._channels_last = channels_last
        for layer in model._flatten_layers(include_self=False, recursive=True):
            if not getattr(layer, "layers", None):
                self._lead_through(layer)

    def forward(self, images: torch.Tensor) -> Any:
        """Run the model as it is at inference."""
        found = self.model(
            images.permute(_TO_LAST) if self._channels_last else images, training=False
        )
        if isinstance(found, dict):
            return {str(name): self._first(value) for name, value in found.items()}
        if isinstance(found, (list, tuple)):
            if len(found) == 1:
                return self._first(found[0])
            return {
                name: self._first(value)
                for name, value in zip(self.model.output_names, found, strict=True)
            }
        return self._first(found)

    def _first(self, value: torch.Tensor) -> torch.Tensor:
        return value.permute(_TO_FIRST) if self._channels_last and value.ndim == 4 else value

    def _lead_through(self, layer: Any) -> None:
        name = str(layer.name).replace(".", "_")
        if hasattr(self, name):
            return
        led = _Led(layer.call)
        self.add_module(name, led)
        object.__setattr__(layer, "call", led)


class _Led(torch.nn.Module):
    """A layer's ``call`` as a module; the layer itself is not its child."""

    def __init__(self, call: Callable[..., Any]) -> None:
        super().__init__()
        self._call = call

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)
