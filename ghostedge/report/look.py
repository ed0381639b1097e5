"""Colours and shapes, in light and in dark.

Charts are drawn in the light colours. In the page each of them becomes a CSS variable of the same
name, which is why no two may be equal.
"""

from __future__ import annotations

from collections.abc import Mapping

SERIES = 8
MARKERS = "osD^vPX"

LIGHT: Mapping[str, str] = {
    "ink": "#1b1f24",
    "soft": "#586069",
    "line": "#d3d9e0",
    "paper": "#ffffff",
    "raised": "#f5f7f9",
    "warn": "#a83b00",
    "warned": "#fff3e8",
    "fill": "#7ba3cc",
    "s0": "#0b62c4",
    "s1": "#c2410d",
    "s2": "#14783c",
    "s3": "#7a3be0",
    "s4": "#0d7189",
    "s5": "#bc175b",
    "s6": "#6a6200",
    "s7": "#455468",
}
DARK: Mapping[str, str] = {
    "ink": "#e8ebee",
    "soft": "#a3acb6",
    "line": "#39414b",
    "paper": "#14181d",
    "raised": "#1d232a",
    "warn": "#ffad70",
    "warned": "#33241a",
    "fill": "#5581ad",
    "s0": "#69b1ff",
    "s1": "#ff9760",
    "s2": "#5ccf8b",
    "s3": "#c3a6ff",
    "s4": "#55cde3",
    "s5": "#ff8cbd",
    "s6": "#d6cf58",
    "s7": "#b4c0cd",
}


def series_name(index: int) -> str:
    """The colour of a machine; they repeat after eight, the markers do not at the same time."""
    return f"s{index % SERIES}"


def series_marker(index: int) -> str:
    """The shape of a machine's points."""
    return MARKERS[index % len(MARKERS)]


def css_variables(colours: Mapping[str, str]) -> str:
    """``--ink:#1b1f24;…``."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())
