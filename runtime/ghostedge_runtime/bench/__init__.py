"""Measure model files on the machine this runs on, side by side.

`ghostedge_runtime.record` is a measurement and its file format; the modules here fill it in.
"""
