"""``.onnx`` files through ONNX Runtime on the CPU.

The session is made from the file's bytes; of a model that keeps its weights in other files, once
these are known to lie in its own folder, from its path.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns
from typing import Any

from ghostedge_runtime.errors import MissingDependencyError, ModelFileError
from ghostedge_runtime.formats.backend import (
    Array,
    Opens,
    TensorInfo,
    first_line,
    inference_failed,
    model_io,
    with_output_scale,
)
from ghostedge_runtime.formats.onnx.data import data_files
from ghostedge_runtime.latency import LatencyRecorder
from ghostedge_runtime.machine.facts import is_x86_without_vnni
from ghostedge_runtime.metadata import METADATA_KEY, ModelMetadata
from ghostedge_runtime.record import Delegation

try:
    import onnxruntime
except ImportError as error:
    raise MissingDependencyError(
        f"ONNX Runtime, which runs .onnx files, does not import ({error})",
        where="ghostedge_runtime",
        remedy="pip install 'ghostedge-runtime[onnx]'",
    ) from error

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_ERRORS_ONLY = 3


class OnnxBackend:
    """A `Backend` over ONNX Runtime; a session may be run from several threads at once.

    Args:
        data: The file.
        threads: CPU threads that one inference may use.
        where: The file, for error messages and for the weights beside it.
        profile_to: Folder for ONNX Runtime's record of every node's times; None: it keeps none.
    """

    name = "onnxruntime"

    def __init__(
        self, data: bytes, *, threads: int, where: Path, profile_to: Path | None = None
    ) -> None:
        self.version: str = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        if profile_to is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile_to / "profile")
        if is_x86_without_vnni():
            # Kernels that cannot overflow: without them int8 logits differ from other machines'.
            options.add_session_config_entry("session.x64quantprecision", "1")
        source = str(where) if data_files(data, where) else data
        try:
            self._session = onnxruntime.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        # ONNX Runtime's errors derive from Exception one by one, without a common base.
        except Exception as error:
            raise ModelFileError(
                f"ONNX Runtime {self.version} refuses it ({first_line(error)})",
                where=where,
                remedy="it may be cut short, no ONNX file, or of a newer opset: copy or convert "
                "it again, or `pip install -U onnxruntime`",
            ) from error
        self.metadata = _metadata(self._session, where)
        inputs = [_tensor(node, where) for node in self._session.get_inputs()]
        outputs = [_tensor(node, where) for node in self._session.get_outputs()]
        self.io = model_io(
            inputs, [with_output_scale(tensor, self.metadata) for tensor in outputs], where
        )
        self.clock = LatencyRecorder()
        self._where = where
        self._input = self.io.input.name
        self._outputs = [tensor.name for tensor in self.io.outputs]

    def run(self, batch: Array) -> list[Array]:
        """Run one batch; sessions run several at a time."""
        start = perf_counter_ns()
        try:
            outputs: list[Array] = self._session.run(self._outputs, {self._input: batch})
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise inference_failed(self.name, error, self._where) from error
        spent = perf_counter_ns() - start
        with self.clock.lock:
            self.clock.add(spent)
        return outputs

    def delegation(self) -> Delegation | None:
        """None: there is one provider, the CPU's, and it takes every node."""
        return None

    def end_profile(self) -> Path:
        """End the record that was asked for, and say where it is."""
        return Path(self._session.end_profiling())


def onnx_runtime() -> Opens:
    """What opens files; importing this module imported ONNX Runtime."""
    return OnnxBackend


def _metadata(session: Any, where: Path) -> ModelMetadata | None:
    document = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    return None if document is None else ModelMetadata.from_json(document, where=str(where))


def _tensor(node: Any, where: Path) -> TensorInfo:
    if node.type not in _DTYPES:
        raise ModelFileError(
            f"its tensor {node.name!r} is of type {node.type}",
            where=where,
            remedy="only models of plain number tensors are run",
        )
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorInfo(node.name, shape, _DTYPES[node.type])
