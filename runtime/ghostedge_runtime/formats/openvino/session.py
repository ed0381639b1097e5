"""``.xml`` and ``.onnx`` files through OpenVINO on the CPU, and the times of their operators.

Left to itself OpenVINO computes float models in bfloat16 where the processor has AMX, and int8
weights with activations that it quantizes as it goes. Here it computes what the file says, in
float32 between the integers, unless half precision is asked for.
"""

from __future__ import annotations

import functools
import importlib.metadata
import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Literal

from ghostedge_runtime.errors import InputError, MissingDependencyError, ModelFileError
from ghostedge_runtime.formats.backend import (
    Array,
    Opens,
    TensorInfo,
    inference_failed,
    model_io,
    with_output_scale,
)
from ghostedge_runtime.formats.loading import companion_files, read_model_file
from ghostedge_runtime.formats.op_runs import profiled_runs
from ghostedge_runtime.formats.openvino import changes, import_openvino, is_ir
from ghostedge_runtime.latency import LatencyRecorder
from ghostedge_runtime.metadata import METADATA_KEY, ModelMetadata
from ghostedge_runtime.record import Case, Delegation, OpTime

try:
    openvino = import_openvino()
except ImportError as error:
    raise MissingDependencyError(
        f"OpenVINO, which runs .xml files, does not import ({error})",
        where="ghostedge_runtime",
        remedy="pip install 'ghostedge-runtime[openvino]'",
    ) from error

Floats = Literal["f32", "f16"]

_HINT = "INFERENCE_PRECISION_HINT"
_DYNAMIC = "DYNAMIC_QUANTIZATION_GROUP_SIZE"


class OpenvinoBackend:
    """A `Backend` over OpenVINO's CPU plugin, one run at a time.

    Args:
        data: The file.
        threads: CPU threads that one inference may use.
        where: The file, for error messages and for the weights beside it.
        floats: What floats are computed in.
        profile: Keep every operator's time, see `operator_times`.
    """

    name = "openvino"

    def __init__(
        self,
        data: bytes,
        *,
        threads: int,
        where: Path,
        floats: Floats = "f32",
        profile: bool = False,
    ) -> None:
        if floats == "f16" and not changes(data, where):
            raise InputError(
                "half precision is not for a quantized file: its integers overflow in float16",
                where=where,
                remedy="leave out the precision mode 'fp16' for int8 files, or give the float one",
            )
        self.version = _version()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # the process's own CPUs hold
            "PERF_COUNT": profile,
            _HINT: floats,
            _DYNAMIC: 0,
        }
        try:
            model = read_network(data, where)
            self._compiled = _core().compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise refused(error, where) from error
        if self._compiled.get_property(_HINT).to_string() != floats:
            raise InputError(
                "OpenVINO does not compute in half precision on this processor",
                where=where,
                remedy="leave out the precision mode 'fp16'",
            )
        self.metadata = network_metadata(model, where)
        outputs = [tensor_info(port, where) for port in model.outputs]
        self.io = model_io(
            [tensor_info(port, where) for port in model.inputs],
            [with_output_scale(tensor, self.metadata) for tensor in outputs],
            where,
        )
        self.clock = LatencyRecorder()
        self._where = where
        self._request = self._compiled.create_infer_request()

    def run(self, batch: Array) -> list[Array]:
        """Run the network once, as `Backend.run` has it."""
        with self.clock.lock:
            start = perf_counter_ns()
            try:
                results = self._request.infer([batch], share_inputs=True)
            except (RuntimeError, ValueError) as error:
                raise inference_failed(self.name, error, self._where) from error
            self.clock.add(perf_counter_ns() - start)
        return list(results.to_tuple())

    def delegation(self) -> Delegation | None:
        """Nothing to report: the CPU plugin takes every operator."""
        return None

    def operator_times(self) -> list[tuple[str, str, float]]:
        """Name, kind and milliseconds of the operators that the last run executed, in order."""
        return [
            (entry.node_name, entry.node_type, entry.real_time.total_seconds() * 1e3)
            for entry in self._request.get_profiling_info()
            if entry.status == entry.status.EXECUTED
        ]

    def operator_shapes(self) -> dict[str, tuple[int, ...]]:
        """The first output's shape of every operator that OpenVINO runs, by name."""
        return {
            node.get_friendly_name(): tuple(node.get_output_partial_shape(0).get_min_shape())
            for node in self._compiled.get_runtime_model().get_ordered_ops()
            if node.get_output_size()
        }


def float32_kernels() -> Opens:
    """What opens files; importing this module imported OpenVINO."""
    return OpenvinoBackend


def half_precision() -> Opens:
    """What opens files to be computed in half precision."""
    return functools.partial(OpenvinoBackend, floats="f16")


def read_network(data: bytes, where: Path) -> Any:
    """The `openvino.Model` of an ``.xml`` or ``.onnx`` file.

    Raises:
        ModelFileError: Weights beside it are missing or cut.
        RuntimeError: OpenVINO's, for a file that it does not take.
    """
    beside = companion_files(data, where)
    if is_ir(data):
        weights = b"".join(file.read_bytes() for file in beside.values())
        return _core().read_model(model=data, weights=weights)
    return _core().read_model(str(where)) if beside else _core().read_model(model=data)


def refused(error: Exception, where: Path) -> ModelFileError:
    """The error for a file that OpenVINO does not take."""
    return ModelFileError(
        f"OpenVINO {_version()} refuses it ({_reason(error)})",
        where=where,
        remedy="it may be cut short, or of a newer version: copy or convert it again, or "
        "`pip install -U openvino`",
    )


def network_metadata(model: Any, where: Path) -> ModelMetadata | None:
    """Ours, which OpenVINO puts into a group of their own when it reads an ``.onnx``."""
    for path in ([METADATA_KEY], ["framework", METADATA_KEY]):
        if model.has_rt_info(path):
            return ModelMetadata.from_json(model.get_rt_info(path).astype(str), where=str(where))
    return None


def tensor_info(port: Any, where: Path) -> TensorInfo:
    """One input or output of a model.

    Raises:
        ModelFileError: It is of a type that NumPy has not.
    """
    name = port.any_name if port.names else port.node.friendly_name
    try:
        dtype = port.element_type.to_dtype().name
    except RuntimeError as error:
        raise ModelFileError(
            f"its tensor {name!r} is of type {port.element_type.get_type_name()}",
            where=where,
            remedy="only models of plain number tensors are run",
        ) from error
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.partial_shape)
    return TensorInfo(name, shape, dtype)


def time_openvino_ops(
    path: Path, case: Case, progress: Callable[[int, int], None] | None
) -> list[OpTime]:
    """Time every operator that OpenVINO makes of a file, by its own profiling.

    They are those after its optimizations, fused ones under the name of one of them. It counts
    whole microseconds.

    Args:
        path: The file.
        case: How many threads, and in which precision.
        progress: Called with the runs done and how many there will be.

    Raises:
        ModelFileError: The file is missing, or OpenVINO does not run it.
    """
    backend = OpenvinoBackend(
        read_model_file(path),
        threads=case.threads,
        where=path,
        floats="f16" if case.precision_mode == "fp16" else "f32",
        profile=True,
    )
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for is_counted in profiled_runs(backend, progress):
        for name, kind, spent_ms in backend.operator_times() if is_counted else ():
            times[name, kind].append(spent_ms)
    shapes = backend.operator_shapes()
    return [
        OpTime(index, kind, name, statistics.median(samples), shapes.get(name, ()))
        for index, ((name, kind), samples) in enumerate(times.items())
    ]


def _reason(error: Exception) -> str:
    """The first line that says what is wrong, after those of where it was noticed."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Exception from ")), "unknown")


def _version() -> str:
    return importlib.metadata.version("openvino")


@functools.cache
def _core() -> Any:
    return openvino.Core()
