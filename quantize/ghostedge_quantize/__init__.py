"""ONNX → calibrated QDQ ONNX: ``calibrate`` measures, ``quantize`` writes the pairs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostedge_quantize.analysis.analyse import analyse
    from ghostedge_quantize.analysis.findings import Analysis
    from ghostedge_quantize.codes import Range
    from ghostedge_quantize.graph.write import integer_outputs, unsigned_activations
    from ghostedge_quantize.int8 import Prepared, prepare, quantize
    from ghostedge_quantize.ranges.calibrate import Ranges, calibrate
    from ghostedge_quantize.settings import Int8Settings, Method
    from ghostedge_quantize.weights_only import float16_weights, int8_weights

__version__ = "0.1.0"
__all__ = [
    "Analysis",
    "Int8Settings",
    "Method",
    "Prepared",
    "Range",
    "Ranges",
    "analyse",
    "calibrate",
    "float16_weights",
    "int8_weights",
    "integer_outputs",
    "prepare",
    "quantize",
    "unsigned_activations",
]

_HOMES = {
    "Analysis": "analysis.findings",
    "analyse": "analysis.analyse",
    "Int8Settings": "settings",
    "Prepared": "int8",
    "prepare": "int8",
    "integer_outputs": "graph.write",
    "Method": "settings",
    "Range": "codes",
    "Ranges": "ranges.calibrate",
    "calibrate": "ranges.calibrate",
    "quantize": "int8",
    "float16_weights": "weights_only",
    "int8_weights": "weights_only",
    "unsigned_activations": "graph.write",
}


def __getattr__(name: str) -> Any:
    """Import a public name's module when it is first asked for: onnx and ORT take long."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
