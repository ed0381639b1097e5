"""Checkpoint → module → ONNX → TFLite.

Names are imported when they are first asked for, so that importing the package costs neither
torch nor onnx.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ghostedge_convert.checkpoint import Checkpoint, load_checkpoint
    from ghostedge_convert.config import CheckpointConfig
    from ghostedge_convert.deploy import DeployResult, to_deploy_graph
    from ghostedge_convert.detect import Detection, detect_architecture, identify
    from ghostedge_convert.export import export_onnx
    from ghostedge_convert.foreign.changes import Loss, Requantized
    from ghostedge_convert.foreign.left_float import left_float
    from ghostedge_convert.foreign.normalize import Normalized, normalize_qdq
    from ghostedge_convert.foreign.read import Pinned, pinned, read_onnx
    from ghostedge_convert.head import Head, gives_probabilities, head_of
    from ghostedge_convert.lower import TFLiteModel, lower_to_tflite
    from ghostedge_convert.module import build
    from ghostedge_convert.onnx_metadata import embed_onnx_metadata, read_onnx_metadata
    from ghostedge_convert.outputs import rename_outputs
    from ghostedge_convert.passes import PassNote
    from ghostedge_convert.preprocessing import ResolvedPreprocessing, resolve_preprocessing

__version__ = "0.1.0"

_HOME = {
    "Checkpoint": "checkpoint",
    "CheckpointConfig": "config",
    "DeployResult": "deploy",
    "Detection": "detect",
    "Head": "head",
    "Loss": "foreign.changes",
    "Normalized": "foreign.normalize",
    "PassNote": "passes",
    "Pinned": "foreign.read",
    "Requantized": "foreign.changes",
    "ResolvedPreprocessing": "preprocessing",
    "TFLiteModel": "lower",
    "build": "module",
    "detect_architecture": "detect",
    "embed_onnx_metadata": "onnx_metadata",
    "export_onnx": "export",
    "gives_probabilities": "head",
    "head_of": "head",
    "identify": "detect",
    "left_float": "foreign.left_float",
    "load_checkpoint": "checkpoint",
    "lower_to_tflite": "lower",
    "normalize_qdq": "foreign.normalize",
    "pinned": "foreign.read",
    "read_onnx": "foreign.read",
    "read_onnx_metadata": "onnx_metadata",
    "rename_outputs": "outputs",
    "resolve_preprocessing": "preprocessing",
    "to_deploy_graph": "deploy",
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
