"""A QDQ graph whose activation pairs can be switched on and off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from ghostedge_quantize.analysis.qdq_graph import QdqGraph


def test_with_every_pair_on_the_graph_computes_what_the_model_does(
    ghost_int8: onnx.ModelProto,
    feed: list[np.ndarray],
    run: Callable[..., np.ndarray],
) -> None:
    graph = QdqGraph(ghost_int8)
    everything = onnx.ModelProto.FromString(graph.variant(on=list(graph.pairs.values())))
    batches = [image[None] for image in feed]
    step = max(float(p.scale) for p in graph.pairs.values() if p.tensor.startswith("logits"))
    difference = run(everything, batches, optimise=False) - run(ghost_int8, batches, optimise=False)
    assert np.abs(difference).max() <= step * 1.01


def test_with_every_pair_off_it_computes_on_the_decoded_weights_alone(
    named: onnx.ModelProto,
    ghost_int8: onnx.ModelProto,
    feed: list[np.ndarray],
    run: Callable[..., np.ndarray],
) -> None:
    graph = QdqGraph(ghost_int8)
    decoded = onnx.ModelProto.FromString(graph.variant())
    ops = {node.op_type for node in decoded.graph.node}
    assert "QuantizeLinear" not in ops
    batches = [image[None] for image in feed]
    exact = run(named, batches)
    error = np.square(run(decoded, batches) - exact).mean() / np.square(exact).mean()
    assert 0 < error < 0.01
