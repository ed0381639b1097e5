"""Checkpoint → module → ONNX → TFLite.

Names are imported when they are first asked for, so that importing the package costs neither
torch nor onnx.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ghostedge_convert.architectures.detect import (
        Detection,
        build,
        detect_architecture,
        identify,
    )
    from ghostedge_convert.architectures.preprocessing import (
        ResolvedPreprocessing,
        resolve_preprocessing,
    )
    from ghostedge_convert.checkpoint.config import CheckpointConfig
    from ghostedge_convert.checkpoint.load import Checkpoint, load_checkpoint
    from ghostedge_convert.export import embed_onnx_metadata, export_onnx, read_onnx_metadata
    from ghostedge_convert.lower import TFLiteModel, lower_to_tflite
    from ghostedge_convert.outputs import Head, gives_probabilities, head_of, rename_outputs
    from ghostedge_convert.passes import PassNote
    from ghostedge_convert.passes.deploy import DeployResult, to_deploy_graph
    from ghostedge_convert.qdq_in.normalize import Normalized, left_float, normalize_qdq
    from ghostedge_convert.qdq_in.read import Pinned, pinned, read_onnx
    from ghostedge_convert.qdq_in.requantize import Loss, Requantized

__version__ = "0.1.0"

_HOME = {
    "Checkpoint": "checkpoint.load",
    "CheckpointConfig": "checkpoint.config",
    "DeployResult": "passes.deploy",
    "Detection": "architectures.detect",
    "Head": "outputs",
    "Loss": "qdq_in.requantize",
    "Normalized": "qdq_in.normalize",
    "PassNote": "passes",
    "Pinned": "qdq_in.read",
    "Requantized": "qdq_in.requantize",
    "ResolvedPreprocessing": "architectures.preprocessing",
    "TFLiteModel": "lower",
    "build": "architectures.detect",
    "detect_architecture": "architectures.detect",
    "embed_onnx_metadata": "export",
    "export_onnx": "export",
    "gives_probabilities": "outputs",
    "head_of": "outputs",
    "identify": "architectures.detect",
    "left_float": "qdq_in.normalize",
    "load_checkpoint": "checkpoint.load",
    "lower_to_tflite": "lower",
    "normalize_qdq": "qdq_in.normalize",
    "pinned": "qdq_in.read",
    "read_onnx": "qdq_in.read",
    "read_onnx_metadata": "export",
    "rename_outputs": "outputs",
    "resolve_preprocessing": "architectures.preprocessing",
    "to_deploy_graph": "passes.deploy",
}

__all__ = [
    "Checkpoint",
    "CheckpointConfig",
    "DeployResult",
    "Detection",
    "Head",
    "Loss",
    "Normalized",
    "PassNote",
    "Pinned",
    "Requantized",
    "ResolvedPreprocessing",
    "TFLiteModel",
    "build",
    "detect_architecture",
    "embed_onnx_metadata",
    "export_onnx",
    "gives_probabilities",
    "head_of",
    "identify",
    "left_float",
    "load_checkpoint",
    "lower_to_tflite",
    "normalize_qdq",
    "pinned",
    "read_onnx",
    "read_onnx_metadata",
    "rename_outputs",
    "resolve_preprocessing",
    "to_deploy_graph",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
