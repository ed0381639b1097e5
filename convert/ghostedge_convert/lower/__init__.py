"""ONNX → TFLite, written directly: no TensorFlow in the path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostedge_convert.lower.lower import TFLiteModel, lower_to_tflite

__all__ = ["TFLiteModel", "lower_to_tflite"]


def __getattr__(name: str) -> Any:
    """Import onnx and the schema bindings only when lowering is asked for."""
    if name in __all__:
        from ghostedge_convert.lower import lower  # noqa: PLC0415 - keeps the package import light

        return getattr(lower, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
