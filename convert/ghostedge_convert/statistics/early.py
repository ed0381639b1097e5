"""What images bring to a network's first batch norms, prepared in one way or another.

The first of all sees six numbers of a preprocessing and little more: where two are close, and the
layer has few channels, a set of images hides which of them is right. The layers behind it see
edges, textures and colours under it, and tell. So that it stays cheap, only the first quarter of
the batch norms is run, under those few preprocessings that are asked for, once each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes
from ghostedge_convert.statistics.candidates import Candidate
from ghostedge_convert.statistics.measure import NormStatistics, measure_norms, trained_norms
from ghostedge_runtime.images import normalize
from ghostedge_runtime.metadata import Preprocessing

EarlyNorms = Callable[[Candidate], NormStatistics]
"""What is measured of the first quarter of the batch norms, on the same images, under one way."""

_BATCH = 16


def early_norms(model: onnx.ModelProto, pixels: Sequence[npt.NDArray[np.uint8]]) -> EarlyNorms:
    """What measures the first quarter of a network's batch norms, under each preprocessing once.

    Args:
        model: As ``measure_norms`` takes it, with a batch norm that remembers something.
        pixels: Images, uint8 (height, width, channels) each, colours in RGB order.
    """
    quarter = _first_quarter(model)
    measured: dict[Candidate, NormStatistics] = {}

    def under(candidate: Candidate) -> NormStatistics:
        if candidate not in measured:
            statistics = measure_norms(quarter, _batches(pixels, candidate))
            assert statistics is not None
            measured[candidate] = statistics
        return measured[candidate]

    return under


def _first_quarter(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph up to the outputs of the first quarter of its batch norms."""
    norms = trained_norms(model)
    reads = {norm.reads for norm in norms[: (len(norms) + 3) // 4]}
    graph = ir.from_proto(model)
    graph.graph.outputs[:] = [
        node.outputs[0]
        for node in graph.graph
        if node.op_type == "BatchNormalization"
        and node.inputs[0] is not None
        and node.inputs[0].name in reads
    ]
    remove_dead_nodes(graph)
    return ir.to_proto(graph)


def _batches(
    pixels: Sequence[npt.NDArray[np.uint8]], candidate: Candidate
) -> Iterator[npt.NDArray[np.float32]]:
    prepared = Preprocessing(
        input_size=(pixels[0].shape[0], pixels[0].shape[1]),
        mean=candidate.mean,
        std=candidate.std,
        color_order=candidate.color_order,
    )
    colors = [0, 1, 2, 3][: len(candidate.mean)]
    if candidate.color_order == "BGR":
        colors[:3] = 2, 1, 0
    for start in range(0, len(pixels), _BATCH):
        batch = np.stack(pixels[start : start + _BATCH])[..., colors]
        yield np.ascontiguousarray(normalize(batch, prepared).transpose(0, 3, 1, 2))
