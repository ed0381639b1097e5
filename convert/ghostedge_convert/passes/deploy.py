"""The exported graph becomes the deploy graph: the same function, written for a device.

For a GhostNet only Conv, Relu, Clip, Add, Mul, Concat, GlobalAveragePool, Flatten and Gemm remain.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass, ShapeInferencePass

from ghostedge_convert.passes import DEPLOY_PASSES, PassNote, run_passes
from ghostedge_runtime.errors import ModelFileError


@dataclass(frozen=True)
class DeployResult:
    """A deploy graph and what was done to get it.

    Attributes:
        model: The graph, batch norm folded and simplified; the input model is untouched.
        applied: A note of each pass, in the order they ran.
    """

    model: onnx.ModelProto
    applied: tuple[PassNote, ...]


def to_deploy_graph(model: onnx.ModelProto) -> DeployResult:
    """Run the passes over a copy of a float model.

    Args:
        model: Any valid ONNX model; names and metadata are kept.

    Returns:
        The deploy graph with the shape of every tensor inside, checked in full by onnx.

    Raises:
        ModelFileError: The model is not valid ONNX.
        PassFailedError: A pass failed, which is a fault of ours.
    """
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelFileError(
            f"it is not a valid ONNX model ({error})",
            where=model.graph.name or "model",
            remedy="export it again",
        ) from error
    graph = ir.from_proto(model)
    ShapeInferencePass()(graph)
    applied = run_passes(graph, DEPLOY_PASSES)
    NameFixPass()(graph)
    ShapeInferencePass()(graph)
    proto = ir.to_proto(graph)
    onnx.checker.check_model(proto, full_check=True)
    return DeployResult(proto, applied)
