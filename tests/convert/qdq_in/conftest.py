"""Models of other quantizers: the committed ones, ONNX Runtime's made here, and how to run both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from ghostedge_convert import lower_to_tflite

DATA = Path(__file__).parent / "data"


class Samples(CalibrationDataReader):
    """Calibration inputs for ONNX Runtime's quantizer."""

    def __init__(self, name: str, samples: Sequence[np.ndarray]) -> None:
        self._feeds = iter([{name: sample} for sample in samples])

    def get_next(self):
        return next(self._feeds, None)


@pytest.fixture(scope="session")
def samples() -> list[np.ndarray]:
    """64 inputs that no quantizer was calibrated on."""
    rng = np.random.default_rng(1)
    return [rng.standard_normal((1, 3, 32, 32)).astype(np.float32) for _ in range(64)]


@pytest.fixture(scope="session")
def committed() -> Callable[[str], onnx.ModelProto]:
    return lambda name: onnx.load(DATA / f"{name}.onnx")


@pytest.fixture(scope="session")
def quantized(tmp_path_factory) -> Callable[..., onnx.ModelProto]:
    """A float model (by default the tiny one) through ONNX Runtime's quantizer."""

    def make(
        source: onnx.ModelProto | None = None,
        calibration: Sequence[np.ndarray] | None = None,
        **settings,
    ) -> onnx.ModelProto:
        folder = tmp_path_factory.mktemp("ort")
        if calibration is None:
            rng = np.random.default_rng(0)
            calibration = [rng.standard_normal((1, 3, 32, 32)).astype("f") for _ in range(16)]
        source = source or onnx.load(DATA / "float.onnx")
        onnx.save(source, folder / "float.onnx")
        chosen = {
            "quant_format": QuantFormat.QDQ,
            "activation_type": QuantType.QUInt8,
            "weight_type": QuantType.QInt8,
            "per_channel": True,
            **settings,
        }
        quantize_static(
            folder / "float.onnx",
            folder / "int8.onnx",
            Samples(source.graph.input[0].name, calibration),
            **chosen,
        )
        return onnx.load(folder / "int8.onnx")

    return make


def run_source(
    model: onnx.ModelProto, inputs: Sequence[np.ndarray], outputs: Sequence[str] | None = None
) -> list[np.ndarray]:
    """Outputs over all inputs, as the model is written: no optimisation of ONNX Runtime's."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    if outputs is not None:
        del tapped.graph.output[:]
        tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(tapped.SerializeToString(), options)
    feed = session.get_inputs()[0].name
    rows = [session.run(outputs, {feed: x}) for x in inputs]
    return [np.concatenate(each) for each in zip(*rows, strict=True)]


def run_lowered(model: onnx.ModelProto, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """The first output of the lowered model over all inputs."""
    interpreter = _opened(model)
    image, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for x in inputs:
        interpreter.set_tensor(image["index"], np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
        interpreter.invoke()
        rows.append(interpreter.get_tensor(out["index"]).copy())
    return np.concatenate(rows)


def _opened(model: onnx.ModelProto) -> Interpreter:
    interpreter = Interpreter(model_content=lower_to_tflite(model).data, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def outside_xnnpack(model: onnx.ModelProto) -> set[str]:
    """The operators of the lowered model that the delegate leaves to LiteRT's own kernels."""
    interpreter = _opened(model)
    makers = {}
    for op in interpreter._get_ops_details():  # delegates come last and win
        makers.update(dict.fromkeys(map(int, op["outputs"]), op))
    wanted = [int(d["index"]) for d in interpreter.get_output_details()]
    names, seen = set(), set()
    while wanted:
        op = makers.get(wanted.pop())
        if op is not None and op["index"] not in seen:
            seen.add(op["index"])
            names.add(op["op_name"])
            wanted += map(int, op["inputs"])
    return names - {"DELEGATE"}


@pytest.fixture(scope="session", name="run_source")
def _run_source() -> Callable[..., list[np.ndarray]]:
    return run_source


@pytest.fixture(scope="session", name="run_lowered")
def _run_lowered() -> Callable[..., np.ndarray]:
    return run_lowered


@pytest.fixture(scope="session", name="outside_xnnpack")
def _outside_xnnpack() -> Callable[[onnx.ModelProto], set[str]]:
    return outside_xnnpack


@pytest.fixture(scope="session")
def assert_lowers(samples) -> Callable[..., None]:
    """The lowered model puts the same class first as the source and stays within a few steps."""

    def check(
        source: onnx.ModelProto,
        normalized: onnx.ModelProto,
        inputs: Sequence[np.ndarray] | None = None,
        *,
        agreement: float = 1.0,
        share: float = 0.02,
    ) -> None:
        inputs = samples if inputs is None else inputs
        wanted = run_source(source, inputs)[0]
        got = run_lowered(normalized, inputs)
        assert np.mean(got.argmax(1) == wanted.argmax(1)) >= agreement
        assert np.abs(got - wanted).max() <= share * np.abs(wanted).max()

    return check
