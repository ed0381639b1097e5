"""ONNX files: run by ONNX Runtime, timed op by op."""
