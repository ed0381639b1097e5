"""Networks of somebody else's, which may do what cannot be exported, or take images otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch.utils import _pytree as pytree

from ghostedge.conversion.network import Answers
from ghostedge_convert import export_onnx
from ghostedge_convert.sources.float32 import in_float32
from ghostedge_convert.sources.module import in_a_line
from ghostedge_convert.sources.onnx import GivenOnnx
from ghostedge_runtime.errors import GhostEdgeError, InputError, ModelFileError

_DTYPES = {"tensor(float16)": np.float16, "tensor(double)": np.float64}


@dataclass(frozen=True)
class GivenTorchNetwork:
    """A module in evaluation mode; see ``Network``.

    Attributes:
        module: Maps float32 (N, C, H, W) to a tensor, or to several.
        title: What it is, for messages.
        in_channels: C.
        input_size: Height and width in pixels.
    """

    module: torch.nn.Module
    title: str
    in_channels: int
    input_size: tuple[int, int]

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """Export the module.

        Raises:
            InputError: It cannot be exported; says what torch says.
        """
        try:
            return export_onnx(
                self.module, input_size=self.input_size, batch=batch, in_channels=self.in_channels
            )
        except GhostEdgeError:
            raise
        except Exception as error:  # torch raises what it likes, and the module's code too
            raise InputError(
                f"torch cannot export it ({in_a_line(error)})",
                where=self.title,
                remedy="its forward may not branch on the values of tensors, nor compute outside "
                "torch: torch.export.export(module, (example,)) has to succeed",
            ) from error

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """The module's own outputs."""
        with torch.inference_mode():
            found = self.module(torch.from_numpy(images))
        return tuple(tensor.numpy() for tensor in pytree.tree_leaves(found))


@dataclass(frozen=True)
class GivenOnnxNetwork:
    """A float ONNX model: converted in the form it was brought to, asked as it was read."""

    given: GivenOnnx = field(repr=False)

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """See ``Network``; its batch has been fixed."""
        del batch
        return self.given.model

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """The outputs of the model as it was read, in ONNX Runtime."""
        images = self.given.original_input(images)
        session = self._session
        image = session.get_inputs()[0]
        feed = images.astype(_DTYPES.get(image.type, images.dtype))
        found = session.run(None, {image.name: feed})
        return tuple(each.astype(np.float32) if each.dtype.kind == "f" else each for each in found)

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
        original = self.given.original
        try:
            return _session_of(original), None
        except Exception as error:  # onnxruntime's errors have no common base
            try:
                return _session_of(in_float32(original)), error
            except Exception:  # as above; the first one says more
                raise ModelFileError(
                    f"ONNX Runtime cannot load it ({in_a_line(error)})",
                    where=self.given.source.file,
                    remedy="export it again; see that onnxruntime.InferenceSession takes it",
                ) from error


def _session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what it warns of in somebody's file is not ours to mend
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
