"""Float ``.tflite`` files in half precision, through LiteRT's `CompiledModel`.

TFLite's `Interpreter` has no switch for it; `CompiledModel` hands flags on to XNNPACK. Forced, half
precision is refused where XNNPACK cannot have it throughout its part of the graph, so a model that
opens is computed in it; operators that XNNPACK does not take stay in float32.

Setting up `CompiledModel` makes LiteRT look for accelerators of all sorts and write of it to
standard error; one such environment serves all models of a process.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from ghostedge_runtime.errors import InputError, MissingDependencyError, ModelFileError
from ghostedge_runtime.formats.backend import (
    Array,
    Opens,
    TensorInfo,
    first_line,
    inference_failed,
)
from ghostedge_runtime.formats.tflite.file import read_graph, read_tflite_metadata
from ghostedge_runtime.formats.tflite.half_precision import check_graph, check_processor
from ghostedge_runtime.formats.tflite.interpreter import file_refused, model_io_of, version_of
from ghostedge_runtime.latency import LatencyRecorder
from ghostedge_runtime.record import Delegation

try:
    from ai_edge_litert import compiled_model as _litert
    from ai_edge_litert.interpreter import Interpreter as _Interpreter

    _CpuOptions = _litert.CpuOptions
except (ImportError, AttributeError) as error:
    raise MissingDependencyError(
        f"half precision needs a LiteRT that takes options for the CPU ({error})",
        where="ghostedge_runtime",
        remedy="pip install -U ai-edge-litert  (2.1.6 or newer)",
    ) from error

# XNNPACK's delegate flags: QS8 | QU8 | FORCE_FP16. They replace the default ones, so that the last
# alone would keep XNNPACK from int8 operators.
_FLAGS = 1 | 2 | 4


class HalfPrecisionBackend:
    """A `Backend` over ai-edge-litert's `CompiledModel`, one run at a time."""

    name = "ai-edge-litert"

    def __init__(self, data: bytes, *, threads: int, where: Path) -> None:
        check_processor(where)
        self.metadata = read_tflite_metadata(data, where)
        self.version = version_of(self.name, _litert)
        try:
            # It verifies the file and tells what CompiledModel does not: scales and zero points.
            self.io = model_io_of(_Interpreter(model_content=data), where)
        except (ValueError, RuntimeError) as error:
            raise file_refused(self.name, self.version, error, where) from error
        self._graph = read_graph(data, where)
        check_graph(self._graph, where)
        self._model = _compile(data, threads, where)
        self._data = data  # kept for as long as the model may read its constants from it
        self._inputs = self._model.create_input_buffers(0)
        self._outputs = self._model.create_output_buffers(0)
        places = _output_places(self._model, self._graph.outputs, where)
        self._reads = [
            _Read(self._outputs[place], tensor)
            for place, tensor in zip(places, self.io.outputs, strict=True)
        ]
        self.clock = LatencyRecorder()
        self._where = where

    def run(self, batch: Array) -> list[Array]:
        """Run one batch, others waiting meanwhile."""
        with self.clock.lock:
            start = perf_counter_ns()
            try:
                self._inputs[0].write(batch)
                self._model.run_by_index(0, self._inputs, self._outputs)
                outputs = [read() for read in self._reads]
            except (ValueError, RuntimeError) as error:
                raise inference_failed(self.name, error, self._where) from error
            self.clock.add(perf_counter_ns() - start)
        return outputs

    def delegation(self) -> Delegation | None:
        """All of the graph, or None: the compiled model tells only whether XNNPACK took all."""
        if not self._model.is_fully_accelerated():
            return None
        count = len(self._graph.operators)
        return Delegation("XNNPACK", ops=count, ops_total=count, partitions=1)


def half_precision() -> Opens:
    """What opens files in half precision; importing this module imported LiteRT."""
    return HalfPrecisionBackend


def repeated_run(
    data: bytes,
    threads: int,
    where: Path,
    values: Callable[[tuple[int, ...], np.dtype[Any]], Array],
) -> Callable[[], None]:
    """A call that runs a model in half precision, always on the same inputs.

    Args:
        data: The file, of any number of inputs.
        threads: CPU threads that a run may use.
        where: The file's name, for error messages.
        values: Makes the inputs, of a shape and a dtype.

    Raises:
        InputError: LiteRT does not run it in half precision.
    """
    model = _compile(data, threads, where)
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    for buffer in inputs:
        detail = buffer.get_tensor_details()
        buffer.write(values(tuple(detail["shape"]), np.dtype(detail["dtype"])))
    return functools.partial(model.run_by_index, 0, inputs, outputs)


class _Read:
    """Copies an output out of its buffer, so that the next run does not change it."""

    def __init__(self, buffer: Any, tensor: TensorInfo) -> None:
        self._read, self._dtype = buffer.read, np.dtype(tensor.dtype)
        self._shape = tuple(size or 0 for size in tensor.shape)  # TFLite leaves no size open
        self._count = math.prod(self._shape)

    def __call__(self) -> Array:
        array: Array = self._read(self._count, self._dtype)
        return array.reshape(self._shape)


def _compile(data: bytes, threads: int, where: Path) -> Any:
    options = _litert.Options(
        cpu_options=_CpuOptions(num_threads=threads, xnnpack_flags=_FLAGS),
    )
    try:
        return _litert.CompiledModel.from_buffer(data, environment=_environment(), options=options)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"LiteRT cannot compute it in half precision ({first_line(error)})",
            where=where,
            remedy="leave out the precision mode 'fp16'",
        ) from error


@functools.cache
def _environment() -> Any:
    """The process's one; no folder to look for accelerators in, for only the CPU is used."""
    return _litert.Environment.create(options=_litert.EnvironmentOptions(runtime_path=""))


def _output_places(model: Any, outputs: tuple[int, ...], where: Path) -> list[int]:
    """Where the graph's outputs are among the buffers, which a signature may order otherwise.

    Raises:
        ModelFileError: The signature leaves one out.
    """
    signature = model.get_signature_by_index(0)
    details = model.get_output_tensor_details(signature["key"])
    indices = [details[name]["index"] for name in signature["outputs"]]
    if not set(outputs) <= set(indices):
        raise ModelFileError(
            f"its signature {signature['key']!r} leaves out outputs of its graph",
            where=where,
            remedy="convert it again, or leave out the precision mode 'fp16'",
        )
    return [indices.index(output) for output in outputs]
