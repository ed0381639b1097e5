"""``.tflite`` files through whichever TFLite interpreter is installed.

The interpreter is given the file's bytes, never its path: up to 2.1.6 ai-edge-litert verified the
flatbuffer only when it came as ``model_content``, and a file cut in half could end the process.
tflite-runtime verifies neither, and of TensorFlow's versions not all are known, so for these two
`check_structure` looks first. Verification bounds every offset but not what the operators make of
their numbers: a model file is a program, so one from a stranger belongs in a process of its own.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import operator
import sys
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from ghostedge_runtime.errors import MissingDependencyError, ModelFileError
from ghostedge_runtime.formats.backend import (
    Array,
    ModelIO,
    Opens,
    TensorInfo,
    first_line,
    inference_failed,
    model_io,
)
from ghostedge_runtime.formats.tflite.delegation import delegation_of, interpreter_nodes
from ghostedge_runtime.formats.tflite.file import check_structure, read_tflite_metadata
from ghostedge_runtime.latency import LatencyRecorder
from ghostedge_runtime.record import Delegation

# Distribution, module to import, place of the interpreter class in it: the first that imports wins.
_INTERPRETERS = (
    ("ai-edge-litert", "ai_edge_litert.interpreter", "Interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter", "Interpreter"),
    ("tensorflow", "tensorflow", "lite.Interpreter"),
)
_VERIFYING = frozenset({"ai-edge-litert"})


class TFLiteBackend:
    """A `Backend` over ai-edge-litert, tflite-runtime or TensorFlow, in that order.

    An interpreter is not safe to share between threads, so one lock, the clock's, is held from
    setting the input to reading the outputs; the global interpreter lock is free meanwhile.

    Args:
        data: The file.
        threads: CPU threads that one inference may use.
        where: The file's name, for error messages.
        reference: Compute with TFLite's reference kernels, plain loops that other kernels are
            tested against, and without XNNPACK.
    """

    def __init__(self, data: bytes, *, threads: int, where: Path, reference: bool = False) -> None:
        self.metadata = read_tflite_metadata(data, where)
        self.name, self.version, interpreter_class = find_interpreter()
        if self.name not in _VERIFYING:
            check_structure(data, where)
        options = reference_option(interpreter_class) if reference else {}
        try:
            interpreter = interpreter_class(model_content=data, num_threads=threads, **options)
            interpreter.allocate_tensors()
        except SystemError as error:  # a wheel built for NumPy 1 under NumPy 2 fails here
            raise MissingDependencyError(
                f"{self.name} {self.version} does not work with NumPy {np.__version__}",
                where="ghostedge_runtime",
                remedy="pip install 'numpy<2'",
            ) from error
        # A file that the interpreter refuses: ValueError while parsing, RuntimeError after.
        except (ValueError, RuntimeError) as error:
            raise file_refused(self.name, self.version, error, where) from error
        self.io = model_io_of(interpreter, where)
        self.clock = LatencyRecorder()
        self._where = where
        self._input = interpreter.get_input_details()[0]["index"]
        self._outputs = [detail["index"] for detail in interpreter.get_output_details()]
        # Bound once: after an inference the caches are cold, and every look-up costs.
        self._set, self._invoke = interpreter.set_tensor, interpreter.invoke
        self._get = interpreter.get_tensor
        self._interpreter = interpreter

    def run(self, batch: Array) -> list[Array]:
        """Run one batch, others waiting meanwhile."""
        with self.clock.lock:
            start = perf_counter_ns()
            try:
                self._set(self._input, batch)
                self._invoke()
                outputs = [self._get(index) for index in self._outputs]
            except (ValueError, RuntimeError) as error:
                raise inference_failed(self.name, error, self._where) from error
            self.clock.add(perf_counter_ns() - start)
        return outputs

    def delegation(self) -> Delegation | None:
        """What XNNPACK took; None where the interpreter does not show its nodes."""
        with self.clock.lock:
            nodes = interpreter_nodes(self._interpreter)
        return None if nodes is None else delegation_of(nodes)


def optimized_kernels() -> Opens:
    """Import an interpreter; what opens files for its optimized kernels, XNNPACK's first.

    Raises:
        MissingDependencyError: None is installed.
    """
    find_interpreter()
    return TFLiteBackend


def reference_kernels() -> Opens:
    """Import an interpreter; what opens files for its reference kernels.

    Raises:
        MissingDependencyError: None is installed.
    """
    find_interpreter()
    return functools.partial(TFLiteBackend, reference=True)


def reference_option(interpreter_class: Any) -> dict[str, Any]:
    """The argument that asks an interpreter for its reference kernels.

    There are two resolvers without XNNPACK: BUILTIN_WITHOUT_DEFAULT_DELEGATES has the optimized
    kernels that ran before XNNPACK, BUILTIN_REF the reference ones.
    """
    module = sys.modules[interpreter_class.__module__]
    return {"experimental_op_resolver_type": module.OpResolverType.BUILTIN_REF}


def file_refused(name: str, version: str, error: Exception, where: Path) -> ModelFileError:
    """The error for a file that the interpreter of that name and version does not take."""
    return ModelFileError(
        f"{name} {version} refuses it ({first_line(error)})",
        where=where,
        remedy="it may be cut short or use operators newer than the interpreter: copy "
        f"or convert it again, or `pip install -U {name}`",
    )


def find_interpreter() -> tuple[str, str, Any]:
    """The first TFLite interpreter that imports: its distribution, version and class.

    Raises:
        MissingDependencyError: None of them does.
    """
    broken = []
    for distribution, module_name, place in _INTERPRETERS:
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError:
            continue
        except ImportError as error:
            broken.append(f"{distribution} is installed but does not import: {first_line(error)}")
            continue
        return distribution, version_of(distribution, module), operator.attrgetter(place)(module)
    raise MissingDependencyError(
        "; ".join(broken) or "no TFLite interpreter is installed",
        where="ghostedge_runtime",
        remedy="pip install ai-edge-litert  (on 32-bit ARM: pip install tflite-runtime 'numpy<2')",
    )


def version_of(distribution: str, module: Any) -> str:
    """The version of an installed distribution that provides a module."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # e.g. tensorflow-cpu, nightlies
        return str(getattr(module, "__version__", "unknown"))


def model_io_of(interpreter: Any, where: Path) -> ModelIO:
    """The tensors of a model in a TFLite interpreter.

    Raises:
        ModelFileError: It has no input or several, or no output.
    """
    return model_io(
        [_tensor(detail) for detail in interpreter.get_input_details()],
        [_tensor(detail) for detail in interpreter.get_output_details()],
        where,
    )


def _tensor(detail: dict[str, Any]) -> TensorInfo:
    scale, zero_point = detail["quantization"]
    quantized = scale != 0
    return TensorInfo(
        name=detail["name"],
        shape=tuple(int(size) for size in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scale) if quantized else None,
        zero_point=int(zero_point) if quantized else None,
    )
