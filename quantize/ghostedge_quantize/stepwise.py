"""Runs a graph node by node over many images, so that a layer may be changed before the next runs.

Sequential bias correction and learned rounding need what a layer receives when the layers before
it are final. Running the whole graph again for each layer would take the square of its length; here
each node runs once. Only tensors that a later node still reads are held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

Batches = list[np.ndarray]


class Stepwise:
    """One run of a graph over a list of batches.

    Args:
        model: Any ONNX graph with one input.
        batches: What to feed, each of the graph's own batch size.
    """

    def __init__(self, model: onnx.ModelProto, batches: Sequence[np.ndarray]) -> None:
        graph = model.graph
        self._opsets = model.opset_import
        self._ir_version = model.ir_version
        self._constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        (source,) = [value for value in graph.input if value.name not in self._constants]
        self._held: dict[str, Batches] = {source.name: list(batches)}
        self._reads = Counter(name for node in graph.node for name in node.input if name)
        self._nodes = list(graph.node)
        self._ready: list[Sequence[np.ndarray]] = []

    def run(self) -> Iterator[onnx.NodeProto]:
        """Yield each node that reads an activation, before it runs.

        Until the next one is asked for, what it reads can be looked at (``inputs``, ``constant``)
        and replaced, and its output computed and changed (``compute``).
        """
        for node in self._nodes:
            if all(name in self._constants or not name for name in node.input):
                self._fold(node)
                continue
            yield node
            self._step(node)

    def inputs(self, name: str) -> Batches:
        """A tensor that a later node reads, batch by batch."""
        return self._held[name]

    def constant(self, name: str) -> np.ndarray:
        """A constant operand, or one that was computed from constants alone."""
        return self._constants[name]

    def replace(self, name: str, value: np.ndarray) -> None:
        """Let the nodes still to run read another constant."""
        self._constants[name] = value

    def compute(self, node: onnx.NodeProto) -> Batches:
        """Run a node that was yielded, now, with its operands as they are.

        Returns:
            Its first output. What is written into these arrays is what later nodes read.
        """
        self._ready = list(self._outputs(node))
        return [outputs[0] for outputs in self._ready]

    def _fold(self, node: onnx.NodeProto) -> None:
        session = self._session(node, ())
        for name, value in zip(node.output, session.run(None, {}), strict=True):
            self._constants[name] = value

    def _step(self, node: onnx.NodeProto) -> None:
        columns = zip(*(self._ready or self._outputs(node)), strict=True)
        self._ready = []
        for name, arrays in zip(node.output, columns, strict=True):
            if self._reads[name]:
                self._held[name] = list(arrays)
        for name in node.input:
            self._reads[name] -= 1
            if not self._reads[name]:
                self._held.pop(name, None)

    def _outputs(self, node: onnx.NodeProto) -> Iterator[Sequence[np.ndarray]]:
        names = list(dict.fromkeys(name for name in node.input if name in self._held))
        session = self._session(node, names)
        for arrays in zip(*(self._held[name] for name in names), strict=True):
            yield session.run(None, dict(zip(names, arrays, strict=True)))

    def _session(
        self, node: onnx.NodeProto, activations: Iterable[str]
    ) -> onnxruntime.InferenceSession:
        """A graph of this node alone."""
        constants = {name for name in node.input if name in self._constants}
        graph = helper.make_graph(
            [node],
            "step",
            [_input(name, self._held[name][0]) for name in activations],
            [onnx.ValueInfoProto(name=name) for name in node.output],
            [numpy_helper.from_array(self._constants[name], name) for name in sorted(constants)],
        )
        model = helper.make_model(graph, opset_imports=self._opsets, ir_version=self._ir_version)
        options = onnxruntime.SessionOptions()
        # Hundreds of short sessions: threads that wait by spinning would cost more than the work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


def _input(name: str, example: np.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(example.dtype), [None] * example.ndim
    )
