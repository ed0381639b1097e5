"""ONNX → calibrated QDQ ONNX: ``calibrate`` measures, ``quantize`` writes the pairs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostedge_quantize.analysis import analyse
    from ghostedge_quantize.calibration import calibrate
    from ghostedge_quantize.findings import Analysis
    from ghostedge_quantize.output_scales import integer_outputs
    from ghostedge_quantize.preparation import Int8Settings, Prepared, prepare
    from ghostedge_quantize.qdq import quantize
    from ghostedge_quantize.ranges import Method, Range, Ranges
    from ghostedge_quantize.unsigned import unsigned_activations
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
    "Analysis": "findings",
    "analyse": "analysis",
    "Int8Settings": "preparation",
    "Prepared": "preparation",
    "prepare": "preparation",
    "integer_outputs": "output_scales",
    "Method": "ranges",
    "Range": "ranges",
    "Ranges": "ranges",
    "calibrate": "calibration",
    "quantize": "qdq",
    "float16_weights": "weights_only",
    "int8_weights": "weights_only",
    "unsigned_activations": "unsigned",
}


def __getattr__(name: str) -> Any:
    """Import a public name's module when it is first asked for: onnx and ORT take long."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
