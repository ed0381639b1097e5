"""A graph in parts that run in turn, so that what a change leaves alone is not run again.

A change in the middle of a graph needs a session of the part that it is in; the parts before it are
not run, and those behind it have their sessions already.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from ghostedge_quantize.parallel import session_of_one_thread

Values = dict[str, np.ndarray]
"""By the tensors' names."""
Change = Callable[[onnx.ModelProto, Collection[str]], onnx.ModelProto]
"""A part with some of its tensors changed, whose outputs keep their places."""

PARTS = 12
"""Twice or half as many take as long."""


@dataclass(frozen=True)
class Part:
    """Nodes that follow each other.

    Attributes:
        model: A graph of these alone; its inputs are what other parts computed.
        makes: All tensors that it computes.
        writes: Those of them that later parts or nobody but the user reads: its outputs.
        session: Runs it.
    """

    model: onnx.ModelProto
    makes: frozenset[str]
    writes: tuple[str, ...]
    session: onnxruntime.InferenceSession


class Segments:
    """A float graph run on some images, which can be run again from any part on.

    Args:
        model: One float32 input; no node has a graph inside.
        images: Batches in its own batch size.

    Attributes:
        values: What the parts hand on to each other, and the outputs, for each batch.
    """

    def __init__(self, model: onnx.ModelProto, images: Sequence[np.ndarray]) -> None:
        constants = {tensor.name for tensor in model.graph.initializer}
        (self._input,) = [v.name for v in model.graph.input if v.name not in constants]
        self._outputs = [output.name for output in model.graph.output]
        self.values: list[Values] = [{self._input: batch} for batch in images]
        self._parts: list[Part] = []
        for nodes, later in _cut(list(model.graph.node), set(self._outputs)):
            self._append(model, nodes, later)

    def outputs(self) -> list[list[np.ndarray]]:
        """Of each batch the outputs, in their order."""
        return [self._of(values) for values in self.values]

    def changed(self, tensors: Collection[str], change: Change) -> list[list[np.ndarray]]:
        """The outputs of each batch where ``change`` is made to these tensors and to nothing else.

        Args:
            tensors: Names of activations, the input among them or not.
            change: Called for each part that computes some of them, or reads the input where that
                is one.
        """
        sessions = {}
        for index, part in enumerate(self._parts):
            own = {name for name in tensors if name in part.makes}
            if self._input in tensors and _reads(part.model, self._input):
                own.add(self._input)
            if own:
                sessions[index] = session_of_one_thread(change(part.model, own), **_AS_STATED)
        first = min(sessions, default=len(self._parts))
        return [self._of(self._from(first, values, sessions)) for values in self.values]

    def _from(
        self, first: int, values: Values, changed: Mapping[int, onnxruntime.InferenceSession]
    ) -> Values:
        """All values of a batch, those from a part on computed again."""
        values = dict(values)
        for index, part in enumerate(self._parts[first:], first):
            values |= _run(changed.get(index, part.session), part.writes, values)
        return values

    def _of(self, values: Values) -> list[np.ndarray]:
        return [values[name] for name in self._outputs]

    def _append(
        self, model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], later: Collection[str]
    ) -> None:
        """Add a part, and run it."""
        makes = {name for node in nodes for name in node.output if name}
        reads = dict.fromkeys(name for node in nodes for name in node.input if name not in makes)
        writes = tuple(name for node in nodes for name in node.output if name in later)
        graph = helper.make_graph(
            nodes,
            "part",
            [_info(name, self.values[0][name]) for name in reads if name in self.values[0]],
            [onnx.ValueInfoProto(name=name) for name in writes],
            [tensor for tensor in model.graph.initializer if tensor.name in reads],
        )
        part = helper.make_model(
            graph, opset_imports=model.opset_import, ir_version=model.ir_version
        )
        session = session_of_one_thread(part, **_AS_STATED)
        self._parts.append(Part(part, frozenset(makes), writes, session))
        for values in self.values:
            values.update(_run(session, writes, values))


_AS_STATED = {"disable_quant_qdq": "1"}
"""A pair is to round, and not to become an integer kernel with its neighbours."""


def _cut(
    nodes: Sequence[onnx.NodeProto], outputs: Collection[str]
) -> Iterator[tuple[Sequence[onnx.NodeProto], set[str]]]:
    """Runs of nodes, each with the tensors that are read behind it."""
    size = -(-len(nodes) // PARTS)
    for start in range(0, len(nodes), size):
        behind = nodes[start + size :]
        yield nodes[start : start + size], {n for node in behind for n in node.input} | {*outputs}


def _run(session: onnxruntime.InferenceSession, writes: Sequence[str], values: Values) -> Values:
    feed = {source.name: values[source.name] for source in session.get_inputs()}
    return dict(zip(writes, session.run(None, feed), strict=True))


def _reads(part: onnx.ModelProto, name: str) -> bool:
    return any(source.name == name for source in part.graph.input)


def _info(name: str, example: np.ndarray) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(example.dtype)
    return helper.make_tensor_value_info(name, dtype, example.shape)
