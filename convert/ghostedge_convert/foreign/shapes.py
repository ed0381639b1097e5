"""Shape inference over a model that may contradict itself."""

from __future__ import annotations

import onnx
from onnx import shape_inference

from ghostedge_runtime.errors import ModelFileError


def with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model with the shape of every tensor that can be told.

    Raises:
        ModelFileError: Its shapes contradict each other.
    """
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except shape_inference.InferenceError as error:
        raise ModelFileError(
            f"its shapes contradict each other ({str(error).strip()})",
            where=f"graph {model.graph.name!r}",
            remedy="check the model with onnx.checker.check_model(model, full_check=True)",
        ) from error
