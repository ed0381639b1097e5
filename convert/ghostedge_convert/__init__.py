"""Checkpoint → module → ONNX → TFLite."""

__version__ = "0.1.0"
