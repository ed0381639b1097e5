"""Weights and biases of an int8 network tuned on calibration images."""
