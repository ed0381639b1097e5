"""Which numbers of an output belong together, so that none hide behind larger ones.

A detector's one output may hold boxes of 0 to 320 beside scores of 0 to 1: a signal-to-noise ratio
of both together is that of the boxes. Where a concat made the output, its parts are told apart;
where none did, the channels are. Both are followed through what moves elements (transposes,
reshapes, slices, further concats) by moving labels, not values, through the graph's own nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper

MOVES = frozenset(
    {
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherND",
        "Identity",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops whose results hold elements of their data inputs, unchanged."""

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """The parts of one output.

    Attributes:
        kind: Whether they were joined by a concat, or are the channels of one tensor.
        names: Of each part, for a report.
        labels: int64, which part each element is of; of the output's rank, with size 1 along axes
            where the part does not change.
    """

    kind: Literal["part", "channel"]
    names: tuple[str, ...]
    labels: Labels

    def total(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Sum of an output-shaped array over each part: float64 [parts]."""
        sums = values.sum(axis=self._constant_axes(values), keepdims=True)
        labels = np.broadcast_to(self.labels, sums.shape)
        counted = np.bincount(labels.reshape(-1), sums.reshape(-1), minlength=len(self.names))
        return counted.astype(np.float64)

    def largest(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Largest element of a non-negative output-shaped array in each part: float64 [parts]."""
        tops = values.max(axis=self._constant_axes(values), keepdims=True, initial=0.0)
        largest = np.zeros(len(self.names))
        np.maximum.at(
            largest, np.broadcast_to(self.labels, tops.shape).reshape(-1), tops.reshape(-1)
        )
        return largest

    def _constant_axes(self, values: npt.NDArray[np.float64]) -> tuple[int, ...]:
        return tuple(axis for axis in range(values.ndim) if self.labels.shape[axis] == 1)


def output_parts(model: onnx.ModelProto) -> dict[str, Parts]:
    """The parts of every output of a float graph with static shapes."""
    inferred = onnx.shape_inference.infer_shapes(model)
    values = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    shapes = {value.name: _shape(value) for value in values if all(_shape(value))}
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    return {
        output.name: _parts(output.name, model, makers, shapes) for output in model.graph.output
    }


def _parts(
    output: str,
    model: onnx.ModelProto,
    makers: Mapping[str, onnx.NodeProto],
    shapes: Mapping[str, tuple[int, ...]],
) -> Parts:
    constants = {tensor.name for tensor in model.graph.initializer}
    passed = set(_moves(output, makers, constants))
    nodes = [node for node in model.graph.node if node.output[0] in passed]
    outputs = {name for node in nodes for name in node.output}
    leaves = list(dict.fromkeys(n for node in nodes for n in _data(node) if n not in outputs))
    if not leaves or not shapes.keys() >= set(leaves):
        nodes, leaves = [], [output]
    joined = len(leaves) > 1
    labels = {
        leaf: np.full(shapes[leaf], index) if joined else _channels(shapes[leaf])
        for index, leaf in enumerate(leaves)
    }
    moved = _moved(output, nodes, labels, model)
    if joined:
        return Parts("part", tuple(_part_names(moved, leaves)), _narrow(moved))
    names = tuple(f"channel {index}" for index in range(int(moved.max(initial=0)) + 1))
    return Parts("channel", names, _narrow(moved))


def _moves(output: str, makers: Mapping[str, onnx.NodeProto], constants: set[str]) -> Iterator[str]:
    """The first outputs of the nodes between an output and what is computed."""
    waiting, seen = [output], set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.output[0] in seen or node.op_type not in MOVES:
            continue
        data = _data(node)
        if constants.issuperset(name for name in node.input if name and name not in data):
            seen.add(node.output[0])
            yield node.output[0]
            waiting.extend(data)


def _data(node: onnx.NodeProto) -> Sequence[str]:
    return list(node.input) if node.op_type == "Concat" else list(node.input[:1])


def _channels(shape: tuple[int, ...]) -> Labels:
    """The number of each element's channel: along axis 1, of rows (N, A, B) the shorter axis."""
    if len(shape) < 2:
        return np.zeros(shape, np.int64)
    axis = 2 if len(shape) == 3 and shape[2] < shape[1] else 1
    along = [1] * len(shape)
    along[axis] = -1
    return np.broadcast_to(np.arange(shape[axis]).reshape(along), shape)


def _moved(
    output: str,
    nodes: Sequence[onnx.NodeProto],
    labels: Mapping[str, Labels],
    model: onnx.ModelProto,
) -> Labels:
    """The labels of an output's elements, by running the nodes that move them."""
    if not nodes:
        return labels[output]
    inputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, array.shape)
        for name, array in labels.items()
    ]
    ends = [onnx.ValueInfoProto(name=output)]
    read = {name for node in nodes for name in node.input}.difference(labels)
    constants = [tensor for tensor in model.graph.initializer if tensor.name in read]
    graph = helper.make_graph(nodes, "labels", inputs, ends, constants)
    moving = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = onnxruntime.InferenceSession(
        moving.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed = {name: array.astype(np.float32) for name, array in labels.items()}
    (moved,) = session.run(None, feed)
    return np.asarray(np.rint(moved), np.int64)


def _narrow(labels: Labels) -> Labels:
    """The labels with size 1 along every axis where they do not change."""
    for axis in range(labels.ndim):
        first = labels.take([0], axis)
        labels = first if (labels == first).all() else labels
    return labels


def _part_names(labels: Labels, leaves: Sequence[str]) -> Iterator[str]:
    """Where each part lies and the tensor that it was: ``channels 4 to 83: Sigmoid``."""
    for index, leaf in enumerate(leaves):
        places = [np.unique(where) for where in (labels == index).nonzero()]
        narrower = {
            axis: _place_words(positions)
            for axis, positions in enumerate(places)
            if 0 < len(positions) < labels.shape[axis]
        }
        if narrower.keys() == {1}:
            yield f"channels {narrower[1]}: {leaf}"
        else:
            axes = [f"axis {axis}: {words}" for axis, words in narrower.items()]
            yield ", ".join(axes) + f" ({leaf})" if axes else leaf


def _place_words(positions: npt.NDArray[np.int64]) -> str:
    first, last = int(positions[0]), int(positions[-1])
    if len(positions) == last - first + 1:
        return str(first) if first == last else f"{first} to {last}"
    return f"{len(positions)} from {first} on"


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
