"""TFLite files: read, run by LiteRT or tflite-runtime, timed op by op."""
