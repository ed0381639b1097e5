"""SavedModels, whichever Keras or TensorFlow wrote them: TensorFlow's graph → ONNX.

A SavedModel holds a program and no layers, so Keras 3 cannot build it anew on another backend.
TensorFlow loads it, inlines its functions and freezes its variables; what is left are a few dozen
kinds of op, which :mod:`.tf_ops` writes as ONNX.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ghostedge_convert.export import INPUT_NAME
from ghostedge_convert.keras.facts import KerasFacts
from ghostedge_convert.keras.tf_graph import write_onnx
from ghostedge_convert.outputs import SINGLE_OUTPUT
from ghostedge_convert.sources.keras.wire import Array
from ghostedge_runtime.errors import CheckpointError, InputError

_SIGNATURES = ("serving_default", "serve")
_TOUCHES_FILES = frozenset(
    {"EagerPyFunc", "MatchingFiles", "PyFunc", "PyFuncStateless", "ReadFile", "WriteFile"}
)
"""Ops that no network needs and that reach beyond it."""
_IMAGE_RANK = 4
_CHANNELS = (1, 3, 4)


class SavedModel:
    """A SavedModel; see ``RemoteKeras``.

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
        """See ``RemoteKeras``."""
        channels = self.facts.in_channels
        last = (batch, *input_size, channels)
        first = (batch, channels, *input_size)
        spec = tf.TensorSpec(last if self._channels_last else first, tf.float32, name=INPUT_NAME)
        traced = tf.function(self._outputs).get_concrete_function(spec)
        frozen = convert_variables_to_constants_v2(traced)
        names = self.facts.outputs if len(self.facts.outputs) > 1 else (SINGLE_OUTPUT,)
        return write_onnx(
            source=frozen.inputs[0],
            outputs=dict(zip(names, frozen.outputs, strict=True)),
            channels_last=self._channels_last,
            where=str(self._path),
        )

    def answers(self, images: Array) -> tuple[Array, ...]:
        """See ``RemoteKeras``."""
        given = images.transpose(0, 2, 3, 1) if self._channels_last else images
        found = self._outputs(tf.constant(np.ascontiguousarray(given)))
        return tuple(self._first(value.numpy()) for value in found)

    def _outputs(self, images: Any) -> list[Any]:
        found = self._call(**{self._input: images})
        return [found[name] for name in self.facts.outputs]

    def _first(self, value: Array) -> Array:
        last = self._channels_last and value.ndim == _IMAGE_RANK
        return np.ascontiguousarray(value.transpose(0, 3, 1, 2)) if last else value


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
    found = loaded.signatures
    for name in _SIGNATURES:
        if name in found:
            return found[name]
    if len(found) == 1:
        return next(iter(found.values()))
    raise InputError(
        f"it has the signatures {', '.join(sorted(found)) or 'none'}, none of them serving_default",
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
