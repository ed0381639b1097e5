"""ONNX → calibrated QDQ ONNX."""

__version__ = "0.1.0"
