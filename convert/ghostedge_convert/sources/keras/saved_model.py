"""SavedModels, whichever Keras or TensorFlow wrote them: TensorFlow's graph → ONNX.

A SavedModel holds a program and no layers, so Keras 3 cannot build it anew on another backend.
TensorFlow loads it, inlines its functions and freezes its variables; what is left are a few dozen
kinds of op, which :mod:`.tf_ops` writes as ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import tensorflow as tf
from onnx import TensorProto, helper
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ghostedge_convert.export import INPUT_NAME, OPSET
from ghostedge_convert.names import SINGLE_OUTPUT, name_constants, strip_origin
from ghostedge_convert.passes.fold_constants import fold_constants
from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes
from ghostedge_convert.sources.keras.tf_ops import TABLE
from ghostedge_convert.sources.keras.tf_writer import TO_FIRST, TO_LAST, GraphWriter
from ghostedge_convert.sources.keras.wire import Array, KerasFacts
from ghostedge_runtime.errors import CheckpointError, InputError

_IMAGE_RANK = 4
_SIGNATURES = ("serving_default", "serve")
_TOUCHES_FILES = frozenset(
    {"EagerPyFunc", "MatchingFiles", "PyFunc", "PyFuncStateless", "ReadFile", "WriteFile"}
)
"""Ops that no network needs and that reach beyond it."""
_CHANNELS = (1, 3, 4)


class SavedModel:
    """A SavedModel that TensorFlow has loaded; ``RemoteKeras`` has the same methods.

    Args:
        path: Its folder.
    """

    def __init__(self, path: Path) -> None:
        _refuse_unsafe(path)
        self._path = path
        try:
            self._loaded = tf.saved_model.load(str(path))  # the function needs it kept alive
        except Exception as error:  # TensorFlow's errors have no common base but this
            raise CheckpointError(
                f"TensorFlow {tf.__version__} cannot load it ({str(error).splitlines()[0][:300]})",
                where=path,
                remedy="check that variables/ is whole; save it again with model.export(folder)",
            ) from error
        self._call = _signature(self._loaded, path)
        self._input, spec = _input(self._call, path)
        shape = tuple(spec.shape)
        self._channels_last = shape[3] in _CHANNELS or shape[1] not in _CHANNELS
        height, width = shape[1:3] if self._channels_last else shape[2:]
        channels = shape[3] if self._channels_last else shape[1]
        if channels is None:
            raise InputError(
                "its number of channels is open", where=path, remedy="save it with that stated"
            )
        names = tuple(sorted(self._call.structured_outputs))
        size = None if height is None or width is None else (int(height), int(width))
        self.facts = KerasFacts(size, int(channels), names, ())

    def export(self, *, input_size: tuple[int, int], batch: int) -> onnx.ModelProto:
        """The serving function as ONNX, NCHW at both ends, every size static."""
        channels = self.facts.in_channels
        last = (batch, *input_size, channels)
        first = (batch, channels, *input_size)
        spec = tf.TensorSpec(last if self._channels_last else first, tf.float32, name=INPUT_NAME)
        traced = tf.function(self._outputs).get_concrete_function(spec)
        frozen = convert_variables_to_constants_v2(traced)
        names = self.facts.outputs if len(self.facts.outputs) > 1 else (SINGLE_OUTPUT,)
        return _write_onnx(
            source=frozen.inputs[0],
            outputs=dict(zip(names, frozen.outputs, strict=True)),
            channels_last=self._channels_last,
            where=str(self._path),
        )

    def answers(self, images: Array) -> tuple[Array, ...]:
        """TensorFlow's outputs for float32 NCHW images; feature maps NCHW."""
        inputs = images.transpose(TO_LAST) if self._channels_last else images
        outputs = self._outputs(tf.constant(np.ascontiguousarray(inputs)))
        return tuple(self._first(value.numpy()) for value in outputs)

    def _outputs(self, images: Any) -> list[Any]:
        outputs = self._call(**{self._input: images})
        return [outputs[name] for name in self.facts.outputs]

    def _first(self, value: Array) -> Array:
        last = self._channels_last and value.ndim == _IMAGE_RANK
        return np.ascontiguousarray(value.transpose(TO_FIRST)) if last else value


def _refuse_unsafe(path: Path) -> None:
    """Refuse graphs that would read or write files, or run Python, before any of it is loaded.

    Raises:
        CheckpointError: It is damaged, or holds such an op.
    """
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((path / "saved_model.pb").read_bytes())
    except Exception as error:  # protobuf's DecodeError is another class in each implementation
        raise CheckpointError(
            "its saved_model.pb is damaged", where=path, remedy="save or copy it again"
        ) from error
    for graph in model.meta_graphs:
        functions = [node for f in graph.graph_def.library.function for node in f.node_def]
        for node in (*graph.graph_def.node, *functions):
            if node.op in _TOUCHES_FILES:
                raise CheckpointError(
                    f"its node {node.name!r} is a {node.op}, which reaches beyond the network; it "
                    "was not loaded",
                    where=path,
                    remedy="export the network alone, without its data pipeline",
                )


def _signature(loaded: Any, path: Path) -> Any:
    """The function that is served.

    Raises:
        InputError: There is none, or more than one and none of the usual name.
    """
    signatures = loaded.signatures
    for name in _SIGNATURES:
        if name in signatures:
            return signatures[name]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    raise InputError(
        f"it has the signatures {', '.join(sorted(signatures)) or 'none'}, "
        "none of them serving_default",
        where=path,
        remedy="save it with model.export(folder), or with a serving_default signature",
    )


def _input(call: Any, path: Path) -> tuple[str, Any]:
    """Name and spec of its one image input.

    Raises:
        InputError: It takes something else.
    """
    specs = call.structured_input_signature[1]
    image = [s for s in specs.values() if s.shape.rank == _IMAGE_RANK and s.dtype == tf.float32]
    if len(specs) != 1 or len(image) != 1:
        shown = ", ".join(f"{n}: {s.dtype.name} {s.shape}" for n, s in specs.items()) or "nothing"
        raise InputError(
            f"it takes {shown}, not one float32 batch of images",
            where=path,
            remedy="save a signature of one image input",
        )
    return next(iter(specs)), image[0]


def _write_onnx(
    *, source: Any, outputs: Mapping[str, Any], channels_last: bool, where: str
) -> onnx.ModelProto:
    """Write a graph of one image input as ONNX, channels first at both ends.

    From its outputs back to its input: only what the outputs need is written, so shape arithmetic,
    whose results the static shapes give, never is. Images keep TensorFlow's axis order between ops;
    an op that ONNX knows channels first only stands between two transposes, which the passes
    cancel.

    Args:
        source: The input tensor, of static shape.
        outputs: The output tensors by the names to give them.
        channels_last: Whether images are, in the graph.
        where: What to call the model in messages.

    Raises:
        UnsupportedOpError: An op has no ONNX form here; it is named.
    """
    graph = GraphWriter(TABLE, reserved=[INPUT_NAME, *outputs], where=where)
    shape = source.shape.as_list()
    first = [shape[axis] for axis in TO_FIRST] if channels_last else shape
    graph.names[source.ref()] = INPUT_NAME
    if channels_last:
        graph.names[source.ref()] = graph.node("Transpose", [INPUT_NAME], "input", perm=TO_LAST)
    results = []
    for name, tensor in outputs.items():
        value, size = graph.value(tensor), tensor.shape.as_list()
        if channels_last and len(size) == _IMAGE_RANK:
            value, size = graph.first(value, name), [size[axis] for axis in TO_FIRST]
        graph.nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}/Identity"))
        results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, size))
    written = helper.make_graph(
        graph.nodes,
        "keras",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, first)],
        results,
        initializer=graph.constants,
    )
    model = helper.make_model(
        written, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10
    )
    return _named(model)


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """The weights named after their readers: freezing numbers them, otherwise in every run."""
    graph = ir.from_proto(model)
    fold_constants(graph)
    remove_dead_nodes(graph)
    name_constants(graph)
    strip_origin(graph)  # where folding took weights from, by the numbers that freezing gave
    named = ir.to_proto(graph)
    onnx.checker.check_model(named, full_check=True)
    return named
