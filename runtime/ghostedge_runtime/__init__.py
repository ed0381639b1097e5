"""Load, run, time and score a model file on the device."""

__version__ = "0.1.0"
