"""Checkpoint → module → ONNX → TFLite.

Names are imported when they are first used, so that importing the package costs neither
torch nor onnx.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ghostedge_convert.checkpoint.config import CheckpointConfig as CheckpointConfig
    from ghostedge_convert.checkpoint.detect import Detection as Detection
    from ghostedge_convert.checkpoint.detect import build as build
    from ghostedge_convert.checkpoint.detect import detect_architecture as detect_architecture
    from ghostedge_convert.checkpoint.detect import identify as identify
    from ghostedge_convert.checkpoint.load import Checkpoint as Checkpoint
    from ghostedge_convert.checkpoint.load import load_checkpoint as load_checkpoint
    from ghostedge_convert.checkpoint.preprocessing import (
        ResolvedPreprocessing as ResolvedPreprocessing,
    )
    from ghostedge_convert.checkpoint.preprocessing import (
        resolve_preprocessing as resolve_preprocessing,
    )
    from ghostedge_convert.export import embed_onnx_metadata as embed_onnx_metadata
    from ghostedge_convert.export import export_onnx as export_onnx
    from ghostedge_convert.export import read_onnx_metadata as read_onnx_metadata
    from ghostedge_convert.head import Head as Head
    from ghostedge_convert.head import gives_probabilities as gives_probabilities
    from ghostedge_convert.head import head_of as head_of
    from ghostedge_convert.lower import TFLiteModel as TFLiteModel
    from ghostedge_convert.lower import lower_to_tflite as lower_to_tflite
    from ghostedge_convert.names import rename_outputs as rename_outputs
    from ghostedge_convert.passes.deploy import DeployResult as DeployResult
    from ghostedge_convert.passes.deploy import splittable_modules as splittable_modules
    from ghostedge_convert.passes.deploy import to_deploy_graph as to_deploy_graph
    from ghostedge_convert.passes.deploy import with_joined_modules as with_joined_modules
    from ghostedge_convert.passes.deploy import with_split_modules as with_split_modules
    from ghostedge_convert.passes.run import PassNote as PassNote
    from ghostedge_convert.qdq_in.normalize import Normalized as Normalized
    from ghostedge_convert.qdq_in.normalize import left_float as left_float
    from ghostedge_convert.qdq_in.normalize import normalize_qdq as normalize_qdq
    from ghostedge_convert.qdq_in.requantize import Loss as Loss
    from ghostedge_convert.qdq_in.requantize import Requantized as Requantized
    from ghostedge_convert.sources.onnx_files import read_onnx as read_onnx
    from ghostedge_convert.sources.onnx_shapes import Pinned as Pinned
    from ghostedge_convert.sources.onnx_shapes import pinned as pinned

__version__ = "0.1.0"

_HOMES = {
    "Checkpoint": "checkpoint.load",
    "CheckpointConfig": "checkpoint.config",
    "DeployResult": "passes.deploy",
    "Detection": "checkpoint.detect",
    "Head": "head",
    "Loss": "qdq_in.requantize",
    "Normalized": "qdq_in.normalize",
    "PassNote": "passes.run",
    "Pinned": "sources.onnx_shapes",
    "Requantized": "qdq_in.requantize",
    "ResolvedPreprocessing": "checkpoint.preprocessing",
    "TFLiteModel": "lower",
    "build": "checkpoint.detect",
    "detect_architecture": "checkpoint.detect",
    "embed_onnx_metadata": "export",
    "export_onnx": "export",
    "gives_probabilities": "head",
    "head_of": "head",
    "identify": "checkpoint.detect",
    "left_float": "qdq_in.normalize",
    "load_checkpoint": "checkpoint.load",
    "lower_to_tflite": "lower",
    "normalize_qdq": "qdq_in.normalize",
    "pinned": "sources.onnx_shapes",
    "read_onnx": "sources.onnx_files",
    "read_onnx_metadata": "export",
    "rename_outputs": "names",
    "resolve_preprocessing": "checkpoint.preprocessing",
    "splittable_modules": "passes.deploy",
    "to_deploy_graph": "passes.deploy",
    "with_joined_modules": "passes.deploy",
    "with_split_modules": "passes.deploy",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # a list of strings, made of the one table


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
