"""Which ops of a lowered QDQ model compute on floats.

The source gave them no pair, or floats are what serves them best (see the op table).
"""

from __future__ import annotations

import numpy as np
import onnx

from ghostedge_convert.lower.graph import DEQUANTIZE, QUANTIZE
from ghostedge_convert.lower.lower import prepare
from ghostedge_convert.lower.qdq import MOVERS

_FREE = MOVERS | {QUANTIZE, DEQUANTIZE}


def left_float(model: onnx.ModelProto) -> tuple[str, ...]:
    """The names of the nodes that compute on floats, in order; moving is not computing.

    Args:
        model: What :func:`.normalize.normalize_qdq` returned.

    Raises:
        UnsupportedOpError: As ``lower_to_tflite``.
    """
    graph = prepare(model)
    return tuple(
        node.name
        for node in graph.nodes
        if node.op not in _FREE
        and not node.integer
        and graph.values[node.outputs[0]].dtype == np.float32
    )
