"""Is int16 a way out for a layer that int8 hurts, or is float32 better?

GhostNet-like layers (its stem, a pointwise and a depthwise convolution, the classifier) are written
as float32, as int8 and with int16 activations and int8 weights, and timed in turn in one process
on one thread: in LiteRT with XNNPACK from files that TensorFlow's converter makes in an environment
of its own, and in ONNX Runtime from QDQ graphs written here.

Output: progress on stderr, a table, and as the last line one JSON object::

    layers.NAME.RUNTIME.PRECISION.p50_ms, integer_kernel
    layers.NAME.RUNTIME.PRECISION.error_db       power of the error against ONNX Runtime's float32
    layers.NAME.RUNTIME.int16_over_float32, int8_over_float32    median, low, high of round ratios
    int16_ever_faster    whether int16 beats float32 on any layer in either runtime
    skipped              why LiteRT's files could not be made

Weights are int8 in both integer forms, so 16-bit activations leave the weights' rounding in.
``integer_kernel`` is XNNPACK's in LiteRT (else the interpreter's plain one runs), a fused one in
ONNX Runtime (else float runs between the pairs).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper
from support import report
from support.child import ChildFailedError, measure
from support.environments import PEERS, PeerUnavailableError, environment, versions
from support.interleaved import ratio

PRECISIONS = ("float32", "int8", "int16")
STEPS = {"int8": 255, "int16": 65535}
ONNX_TYPES = {"int8": TensorProto.UINT8, "int16": TensorProto.UINT16}
OPSET = 21
"""The first whose QuantizeLinear has 16 bits."""
INPUT_RANGE = 8.0
"""Of the normal input, which the converter of the other runtime finds by calibration."""
UNTIMED, TIMED = 3, 20
FOLDER = report.CACHE / "int16_layers"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Layer:
    """One layer: ``shape`` NHWC or [N, C], ``weight`` HWIO (depthwise HWC1) or [I, O]."""

    kind: str
    shape: tuple[int, ...]
    weight: Array
    bias: Array
    stride: int = 1


class Timed:
    """A layer in one form; ``rounds`` holds milliseconds, a list per round."""

    def __init__(self, *, fast: bool) -> None:
        self.rounds: list[list[float]] = []
        self.fast = fast

    def run(self) -> None:
        """One inference."""
        raise NotImplementedError

    def output(self) -> Array:
        """What it computes, as float32."""
        raise NotImplementedError

    def burst(self) -> None:
        """One round."""
        for _ in range(UNTIMED):
            self.run()
        times = []
        for _ in range(TIMED):
            start = time.perf_counter_ns()
            self.run()
            times.append((time.perf_counter_ns() - start) / 1e6)
        self.rounds.append(times)


class InLiteRT(Timed):
    """A ``.tflite`` file on one thread."""

    def __init__(self, file: Path, image: Array) -> None:
        self._interpreter = Interpreter(model_path=str(file), num_threads=1)
        self._interpreter.allocate_tensors()
        (source,), (self._out,) = (
            self._interpreter.get_input_details(),
            self._interpreter.get_output_details(),
        )
        ops = {op["op_name"] for op in self._interpreter._get_ops_details()}
        super().__init__(fast="DELEGATE" in ops)
        self._interpreter.set_tensor(source["index"], _quantized(image, source))
        self.run = self._interpreter.invoke  # type: ignore[method-assign] # a call less to time

    def output(self) -> Array:
        """What it computes, dequantized."""
        self.run()
        raw = self._interpreter.get_tensor(self._out["index"]).astype(np.float32)
        scale, zero = self._out["quantization"]
        return np.asarray((raw - zero) * np.float32(scale) if scale else raw)


def _quantized(image: Array, detail: dict[str, Any]) -> Array:
    dtype, (scale, zero) = detail["dtype"], detail["quantization"]
    if dtype == np.float32:
        return image
    ends = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(image / scale) + zero, ends.min, ends.max), dtype)


class InOnnxRuntime(Timed):
    """A QDQ graph on one thread; "fast" where the integers reach a kernel."""

    def __init__(self, model: onnx.ModelProto, image: Array) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.optimized_model_filepath = str(FOLDER / "optimised.onnx")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        ops = {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}
        super().__init__(fast=bool(ops & {"QLinearConv", "QGemm"}))
        self._feed = {"x": image}

    def run(self) -> None:
        """One inference."""
        self._session.run(None, self._feed)

    def output(self) -> Array:
        """What it computes, NHWC."""
        found: Array = self._session.run(None, self._feed)[0]
        return found.transpose(0, 2, 3, 1) if found.ndim == 4 else found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    layers, skipped, packages = _layers(), None, {}
    try:
        packages = _tflite_files(layers)
    except (PeerUnavailableError, ChildFailedError) as error:
        skipped = str(error)
        print(f"skipped LiteRT: {skipped}", file=sys.stderr)
    results: dict[str, Any] = {}
    for name, layer in layers.items():
        print(f"timing {name} …", file=sys.stderr)
        results[name] = _measured(name, layer, args.rounds, with_tflite=skipped is None)
    _report(results, packages, skipped)


def _layers() -> dict[str, Layer]:
    """The layers of GhostNet 1.0x at 224 that stand for its kinds, with seeded weights."""
    random = np.random.default_rng(0)

    def made(kind: str, shape: tuple[int, ...], weight: tuple[int, ...], stride: int = 1) -> Layer:
        fan_in = np.prod(weight[:-1]) if kind != "depthwise" else np.prod(weight[:2])
        values = random.normal(0, 1 / np.sqrt(fan_in), weight).astype(np.float32)
        outputs = weight[2] if kind == "depthwise" else weight[-1]
        bias = random.normal(0, 0.1, outputs).astype(np.float32)
        return Layer(kind, shape, values, bias, stride)

    return {
        "stem 224x224x3 to 16": made("conv", (1, 224, 224, 3), (3, 3, 3, 16), 2),
        "pointwise 56x56x24 to 72": made("conv", (1, 56, 56, 24), (1, 1, 24, 72)),
        "depthwise 3x3 28x28x120": made("depthwise", (1, 28, 28, 120), (3, 3, 120, 1)),
        "dense 1280 to 1000": made("dense", (1, 1280), (1280, 1000)),
    }


def _tflite_files(layers: dict[str, Layer]) -> dict[str, str]:
    """Have TensorFlow write the layers; the versions it did so with."""
    python = environment("tensorflow")
    for old in FOLDER.glob("*.npz"):
        old.unlink()
    for name, layer in layers.items():
        np.savez(FOLDER / f"{name}.npz", **asdict(layer))
    command = [str(python), str(PEERS / "tensorflow_layers.py")]
    command += ["--layers", str(FOLDER), "--output", str(FOLDER)]
    measure(command, log=FOLDER / "tensorflow.log")
    return versions(python, ("tensorflow",))


def _measured(name: str, layer: Layer, rounds: int, *, with_tflite: bool) -> dict[str, Any]:
    image = np.random.default_rng(2).normal(size=layer.shape).astype(np.float32)
    exact = _exact(layer, image)
    nchw = image.transpose(0, 3, 1, 2).copy() if image.ndim == 4 else image
    forms: dict[str, dict[str, Timed]] = {
        "onnxruntime": {p: InOnnxRuntime(_graph(layer, p, exact), nchw) for p in PRECISIONS}
    }
    if with_tflite:
        forms["litert"] = {p: InLiteRT(FOLDER / f"{name}_{p}.tflite", image) for p in PRECISIONS}
    for turn in range(rounds):
        for by_precision in forms.values():
            for shift in range(len(PRECISIONS)):
                by_precision[PRECISIONS[(turn + shift) % len(PRECISIONS)]].burst()
    return {runtime: _figures(by_precision, exact) for runtime, by_precision in forms.items()}


def _figures(forms: dict[str, Timed], exact: Array) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for precision, form in forms.items():
        output = form.output()
        noise = np.square(output - exact).mean() / np.square(exact).mean()
        figures[precision] = {
            "p50_ms": round(statistics.median(t for r in form.rounds for t in r), 4),
            "integer_kernel": form.fast and precision != "float32",
            "error_db": round(float(10 * np.log10(max(noise, 1e-30))), 1),
        }
    for precision in PRECISIONS[1:]:
        figures[f"{precision}_over_float32"] = asdict(
            ratio(forms[precision].rounds, forms["float32"].rounds)
        )
    return figures


def _exact(layer: Layer, image: Array) -> Array:
    """The layer's float32 result (NHWC) in ONNX Runtime, without its optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        _float_graph(layer).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    nchw = image.transpose(0, 3, 1, 2) if image.ndim == 4 else image
    (output,) = session.run(None, {"x": np.ascontiguousarray(nchw)})
    return np.asarray(output.transpose(0, 2, 3, 1) if output.ndim == 4 else output)


def _float_graph(layer: Layer) -> onnx.ModelProto:
    """``x`` → layer → ``y``; convolutions NCHW, padded as TensorFlow's SAME does."""
    if layer.kind == "dense":
        nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)]
        weight, shape = layer.weight.T, list(layer.shape)
    else:
        groups = layer.weight.shape[2] if layer.kind == "depthwise" else 1
        order = (2, 3, 0, 1) if layer.kind == "depthwise" else (3, 2, 0, 1)
        weight, shape = layer.weight.transpose(order), [layer.shape[i] for i in (0, 3, 1, 2)]
        nodes = [
            helper.make_node(
                "Conv",
                ["x", "w", "b"],
                ["c"],
                group=groups,
                strides=[layer.stride] * 2,
                auto_pad="SAME_UPPER",
            ),
            helper.make_node("Relu", ["c"], ["y"]),
        ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.ascontiguousarray(weight), "w"),
            numpy_helper.from_array(layer.bias, "b"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def _graph(layer: Layer, precision: str, exact: Array) -> onnx.ModelProto:
    """The layer in ONNX: float32, or between pairs of that many bits, weights int8 per channel."""
    model = _float_graph(layer)
    if precision == "float32":
        return model
    graph = model.graph
    weight, bias = (numpy_helper.to_array(tensor) for tensor in graph.initializer)
    steps, dtype = STEPS[precision], helper.tensor_dtype_to_np_dtype(ONNX_TYPES[precision])
    middle = (steps + 1) // 2
    low = min(0.0, float(exact.min()))  # 0 behind a ReLU, which the kernel then applies itself
    output_scale = (float(exact.max()) - low) / steps
    axes = tuple(range(1, weight.ndim))
    scales = (np.abs(weight).max(axis=axes) / 127).astype(np.float32)
    bias_scales = (scales * np.float32(INPUT_RANGE / steps)).astype(np.float32)
    constants = {
        "xs": np.float32(INPUT_RANGE / steps),
        "xz": np.asarray(middle, dtype),
        "ys": np.float32(output_scale),
        "yz": np.asarray(round(-low / output_scale), dtype),
        "ws": scales,
        "wz": np.zeros(len(scales), np.int8),
        "wq": np.rint(weight / scales.reshape(-1, *[1] * len(axes))).astype(np.int8),
        "bs": bias_scales,
        "bz": np.zeros(len(scales), np.int32),
        "bq": np.rint(bias / bias_scales).astype(np.int32),
    }
    del graph.initializer[:]
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()
    )
    node = helper.make_node
    graph.node[0].input[:] = ["xd", "wd", "bd"]
    graph.node[-1].output[0] = "float"
    before = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        node("DequantizeLinear", ["wq", "ws", "wz"], ["wd"], axis=0),
        node("DequantizeLinear", ["bq", "bs", "bz"], ["bd"], axis=0),
    ]
    after = [
        node("QuantizeLinear", ["float", "ys", "yz"], ["yq"]),
        node("DequantizeLinear", ["yq", "ys", "yz"], ["y"]),
    ]
    between = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before, *between, *after])
    return model


def _time_words(precision: str, figures: dict[str, Any]) -> str:
    plain = precision != "float32" and not figures["integer_kernel"]
    return f"{figures['p50_ms']:.4f}{'*' if plain else ''}"


def _report(results: dict[str, Any], packages: dict[str, str], skipped: str | None) -> None:
    rows = []
    for name, runtimes in results.items():
        for runtime, figures in runtimes.items():
            times = [_time_words(p, figures[p]) for p in PRECISIONS]
            errors = [f"{figures[p]['error_db']:.0f}" for p in PRECISIONS]
            over = f"{figures['int16_over_float32']['median']:.2f}"
            rows.append([name, runtime, *times, over, *errors])
    head = ["layer", "runtime", *(f"{p} ms" for p in PRECISIONS), "int16 / float32"]
    print(report.table([*head, *(f"{p} error dB" for p in PRECISIONS)], rows))
    print("* no kernel of its own: the interpreter's plain one, or float between the pairs")
    faster = any(
        figures["int16_over_float32"]["high"] < 1
        for runtimes in results.values()
        for figures in runtimes.values()
    )
    report.finish(
        {
            "benchmark": "int16_layers",
            "model": "single layers of GhostNet 1.0x at 224, batch 1, 1 thread, interleaved",
            "layers": results,
            "int16_ever_faster": faster,
            "skipped": skipped,
            "versions": {**packages, "onnxruntime": onnxruntime.__version__},
            "machine": report.machine(),
        }
    )


if __name__ == "__main__":
    main()
