"""What pairs state is read or refused, and repeated behind values that only move."""

from __future__ import annotations

import numpy as np
import pytest

from ghostedge_convert import normalize_qdq
from ghostedge_convert.qdq_in.normalize import left_float
from ghostedge_runtime.errors import UnsupportedOpError


def test_a_scale_that_is_no_positive_number_is_refused(conv_model):
    with pytest.raises(UnsupportedOpError, match="not a positive number"):
        normalize_qdq(conv_model(np.ones((1, 1, 1, 1), np.int8), 0.0, np.int8(0)))


def test_a_moved_value_stays_integer(qdq_graph, same_outputs):
    graph = qdq_graph(1, 2, 1, 1)
    flat = graph.add("Reshape", graph.pair("x", 0.1, np.int8(3)), np.asarray([1, 2]))
    y = graph.add("Gemm", flat, graph.real(np.ones((3, 2), np.int8), 0.1, np.int8(0)), transB=1)
    source = graph.model(graph.pair(y, 0.1, np.int8(0)))
    found = normalize_qdq(source)
    assert left_float(found.model) == ()
    assert same_outputs(source, found.model, 1, 2, 1, 1)
