"""Float networks as a conversion sees them: exported to ONNX, and asked for their own answers.

A checkpoint's module, a module that somebody built, an ONNX file, a Keras model: a conversion needs
no more of any than the two methods of ``Network``.
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
from torch.utils import _pytree as pytree

from ghostedge_convert import export_onnx
from ghostedge_convert.sources.float32 import in_float32
from ghostedge_convert.sources.module import in_a_line
from ghostedge_convert.sources.onnx import LoadedOnnx
from ghostedge_runtime.errors import GhostEdgeError, InputError, ModelFileError

Answers = tuple[npt.NDArray[np.float32], ...]

_DTYPES = {"tensor(float16)": np.float16, "tensor(double)": np.float64}


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
    """A torch module in evaluation mode.

    Attributes:
        module: Maps float32 (N, C, H, W) to a tensor, or to several.
        input_size: Height and width in pixels.
        in_channels: C.
        title: What it is, for messages, where it may do what cannot be exported; None of a module
            of ours, of which that would be a fault.
    """

    module: torch.nn.Module
    input_size: tuple[int, int]
    in_channels: int = 3
    title: str | None = None

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """Export the module.

        Raises:
            InputError: It cannot be exported; says what torch says.
        """
        try:
            return export_onnx(
                self.module, input_size=self.input_size, batch=batch, in_channels=self.in_channels
            )
        except Exception as error:  # torch raises what it likes, and the module's code too
            if self.title is None or isinstance(error, GhostEdgeError):
                raise
            raise InputError(
                f"torch cannot export it ({in_a_line(error)})",
                where=self.title,
                remedy="its forward may not branch on the values of tensors, nor compute outside "
                "torch: torch.export.export(module, (example,)) has to succeed",
            ) from error

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """The module's own outputs."""
        with torch.inference_mode():
            outputs = self.module(torch.from_numpy(images))
        return tuple(tensor.numpy() for tensor in pytree.tree_leaves(outputs))


@dataclass(frozen=True)
class FloatOnnxNetwork:
    """A float ONNX model: converted in the form it was brought to, asked as it was read."""

    source: LoadedOnnx = field(repr=False)

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """The model, whose batch has been fixed."""
        del batch
        return self.source.model

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """The outputs of the model as it was read, in ONNX Runtime."""
        images = self.source.original_input(images)
        session = self._session
        image = session.get_inputs()[0]
        feed = images.astype(_DTYPES.get(image.type, images.dtype))
        outputs = session.run(None, {image.name: feed})
        return tuple(
            output.astype(np.float32) if output.dtype.kind == "f" else output for output in outputs
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What its answers are, where they are not the original's own."""
        if self._session_and_doubt[1] is None:
            return ()
        return (
            "ONNX Runtime does not compute it in its own precision, so the files are compared with "
            "the same graph in float32",
        )

    @property
    def _session(self) -> onnxruntime.InferenceSession:
        return self._session_and_doubt[0]

    @cached_property
    def _session_and_doubt(self) -> tuple[onnxruntime.InferenceSession, Exception | None]:
        """The original; in float32 where ONNX Runtime has no kernels for bfloat16 and float64."""
        original = self.source.original
        try:
            return _session_of(original), None
        except Exception as error:  # onnxruntime's errors have no common base
            try:
                return _session_of(in_float32(original)), error
            except Exception:  # of any class, too; the first one says more
                raise ModelFileError(
                    f"ONNX Runtime cannot load it ({in_a_line(error)})",
                    where=self.source.source.file,
                    remedy="export it again; see that onnxruntime.InferenceSession takes it",
                ) from error


def _session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what it warns of in somebody's file is not ours to mend
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
