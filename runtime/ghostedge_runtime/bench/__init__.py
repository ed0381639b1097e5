"""Measure model files on the machine this runs on, side by side.

`record` holds the words of a measurement and its file format; the other modules fill them in.
"""
