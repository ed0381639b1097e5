"""What every way in ends at: a float network, exported to ONNX and asked for its own answers.

A checkpoint's module, a module somebody built, an ONNX file, a Keras model: the main job needs no
more of any than the two methods of ``Network``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch

from ghostedge_convert import export_onnx

Answers = tuple[npt.NDArray[np.float32], ...]


class Network(Protocol):
    """A float network of one image input."""

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """The network as ONNX: input ``input``, float32 NCHW, every size static."""

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """The origin's own outputs, in order.

        Args:
            images: One normalised batch, float32 (N, C, H, W).
        """


@dataclass(frozen=True)
class TorchNetwork:
    """A torch module in eval mode.

    Attributes:
        module: Maps float32 (N, C, H, W) to a tensor.
        input_size: Height and width in pixels.
        in_channels: C.
    """

    module: torch.nn.Module
    input_size: tuple[int, int]
    in_channels: int = 3

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """See ``Network``.

        Raises:
            InputError: As ``export_onnx``.
        """
        return export_onnx(
            self.module, input_size=self.input_size, batch=batch, in_channels=self.in_channels
        )

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """See ``Network``."""
        with torch.inference_mode():
            found = self.module(torch.from_numpy(images))
        tensors = (found,) if isinstance(found, torch.Tensor) else tuple(found)
        return tuple(tensor.numpy() for tensor in tensors)


@dataclass(frozen=True)
class OnnxNetwork:
    """A float ONNX model, its sizes fixed, its input float32 NCHW."""

    model: onnx.ModelProto = field(repr=False)

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """See ``Network``; the batch is the model's own."""
        del batch
        return self.model

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """See ``Network``."""
        session = self._session
        return tuple(session.run(None, {session.get_inputs()[0].name: images}))

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(
            self.model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
