"""The two interpreters that model files are timed in, each on one thread and down to one call.

``invoke`` is the inference and nothing else: the input is set before, the output read after.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

_ERRORS_ONLY = 3


@dataclass(frozen=True)
class Input:
    """What a file takes: its shape, its type and, of an integer, what a step stands for."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float = 0.0
    zero_point: int = 0


class Engine(Protocol):
    """A model file in an interpreter."""

    input: Input

    def set_input(self, batch: npt.NDArray[Any]) -> None:
        """Keep a batch of the input's shape and type for the inferences to come."""

    def invoke(self) -> None:
        """One inference."""

    def logits(self) -> npt.NDArray[np.float32]:
        """The last inference's output, [classes], in real numbers."""

    def facts(self) -> dict[str, Any]:
        """What the report says of the graph."""


class LiteRT:
    """A TFLite file in LiteRT with XNNPACK."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        self._interpreter = Interpreter(model_content=self._content, num_threads=1)
        self._interpreter.allocate_tensors()
        self.invoke = self._interpreter.invoke
        (details,) = self._interpreter.get_input_details()
        self._index = details["index"]
        shape = tuple(details["shape"].tolist())
        self.input = Input(shape, np.dtype(details["dtype"]), *details["quantization"])
        self._output = self._interpreter.get_output_details()[0]

    def set_input(self, batch: npt.NDArray[Any]) -> None:
        """See `Engine`."""
        self._interpreter.set_tensor(self._index, batch)

    def logits(self) -> npt.NDArray[np.float32]:
        """See `Engine`."""
        raw = self._interpreter.get_tensor(self._output["index"])[0].astype(np.float32)
        scale, zero_point = self._output["quantization"]
        logits: npt.NDArray[np.float32] = (raw - zero_point) * np.float32(scale) if scale else raw
        return logits

    def facts(self) -> dict[str, Any]:
        """Operators by kind, and the pieces that XNNPACK took the graph in."""
        ops = self._op_counts()
        return {
            "output": str(np.dtype(self._output["dtype"])),
            "ops": dict(ops),
            "xnnpack_partitions": len(self._interpreter._get_ops_details()) - ops.total(),
        }

    def _op_counts(self) -> Counter[str]:
        names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
        model = schema.ModelT.InitFromPackedBuf(self._content)
        codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
        return Counter(names[codes[op.opcodeIndex]] for op in model.subgraphs[0].operators)


class OnnxRuntime:
    """An ONNX file in ONNX Runtime, input and output bound, so that a call is the run alone."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        (source,) = self._session.get_inputs()
        self._name = source.name
        dtype = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}[source.type]
        self.input = Input(tuple(source.shape), np.dtype(dtype))
        self._binding = self._session.io_binding()
        self._binding.bind_output(self._session.get_outputs()[0].name)

    def set_input(self, batch: npt.NDArray[Any]) -> None:
        """See `Engine`."""
        self._batch = batch  # the binding does not keep it alive
        self._binding.bind_cpu_input(self._name, batch)

    def invoke(self) -> None:
        """See `Engine`."""
        self._session.run_with_iobinding(self._binding)

    def logits(self) -> npt.NDArray[np.float32]:
        """See `Engine`."""
        logits: npt.NDArray[np.float32] = self._binding.copy_outputs_to_cpu()[0][0]
        return logits

    def facts(self) -> dict[str, Any]:
        """Nothing: ONNX Runtime rewrites the graph and does not tell."""
        return {}
