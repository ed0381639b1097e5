"""What ``ghostedge_runtime.Model.predict`` adds to the bare TFLite interpreter.

The same file is opened twice in one process, once as a `Model` and once as the interpreter beneath
it, one thread each. Both are warmed up, then run in turn on the same input, the order swapped each
round, so that drift hits both alike. The bare side is ``set_tensor``, ``invoke``, ``get_tensor``
for every output and nothing else; what is compared is the median of each. On a busy machine, or
with a model of many milliseconds, that difference is mostly noise; the median of the differences
within each round stands up to it better.

Without a MODEL it times the bundled example's int8 file where the checkout holds one, else a model
of a single op (the mean of a 224×224 image) that it writes to ``--tiny``.

Output: a table, and as the last line one JSON object::

    bare, predict .p50_us, p90_us, mean_us, runs    microseconds per run
    overhead_us    p50 of predict minus p50 of bare; budget_us is the most allowed, within says
    paired_us      median over the rounds of predict minus bare
    threads, model, runtime, machine
"""

from __future__ import annotations

import argparse
import gc
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
from support import report

from ghostedge_runtime import Model
from ghostedge_runtime.formats.tflite.interpreter import find_interpreter
from ghostedge_runtime.latency import Timing, summarize

BUDGET_US = 30
WARMUP_SECONDS = 1.0
Call = Callable[[], Any]


def main() -> None:
    args = _arguments()
    path = args.model or _bundled() or write_tiny(args.tiny)
    model = Model(path)
    batch = _input(model)
    samples = measure(_bare(path, batch), lambda: model.predict(batch), args.seconds)
    bare, predict = (summarize(side) for side in samples)
    paired = statistics.median(p - b for b, p in zip(*samples, strict=True)) / 1e3
    overhead = (predict.p50_ms - bare.p50_ms) * 1e3
    rows = [_row("bare interpreter", bare), _row("Model.predict", predict)]
    print(f"{path}, {' '.join(model.runtime)}, 1 thread")
    print(report.table(["", "runs", "p50 µs", "p90 µs", "mean µs"], rows))
    print(f"overhead at p50: {overhead:+.1f} µs (at most {BUDGET_US}), paired {paired:+.1f} µs")
    report.finish(
        {
            "benchmark": "runtime_overhead",
            "model": path.name,
            "runtime": " ".join(model.runtime),
            "threads": 1,
            "bare": _figures(bare),
            "predict": _figures(predict),
            "overhead_us": round(overhead, 2),
            "paired_us": round(paired, 2),
            "budget_us": BUDGET_US,
            "within": overhead <= BUDGET_US,
            "machine": report.machine(),
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL", help="a .tflite file")
    parser.add_argument("--seconds", type=float, default=5.0, help="of timed runs (default 5)")
    parser.add_argument(
        "--tiny",
        type=Path,
        default=report.CACHE / "tiny.tflite",
        metavar="PATH",
        help="where the single-op model is written if there is no other",
    )
    return parser.parse_args()


def measure(bare: Call, predict: Call, seconds: float) -> tuple[list[int], list[int]]:
    """Nanoseconds of both calls, run in turn after a warm-up, a pair per round.

    The garbage collector rests meanwhile, as in timeit.
    """
    samples: dict[Call, list[int]] = {bare: [], predict: []}
    order = [bare, predict]
    gc.disable()
    start = perf_counter_ns()
    warm, end = start + WARMUP_SECONDS * 1e9, start + (WARMUP_SECONDS + seconds) * 1e9
    while (now := perf_counter_ns()) < end or not samples[bare]:
        for call in order:
            before = perf_counter_ns()
            call()
            spent = perf_counter_ns() - before
            if now >= warm:
                samples[call].append(spent)
        order.reverse()
    gc.enable()
    return samples[bare], samples[predict]


def _bare(path: Path, batch: np.ndarray[Any, Any]) -> Call:
    *_, interpreter_class = find_interpreter()
    interpreter = interpreter_class(model_content=path.read_bytes(), num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    targets = [detail["index"] for detail in interpreter.get_output_details()]

    def run() -> None:
        interpreter.set_tensor(source, batch)
        interpreter.invoke()
        for target in targets:
            interpreter.get_tensor(target)

    return run


def _input(model: Model) -> np.ndarray[Any, Any]:
    tensor = model.io.input
    shape = [size or 1 for size in tensor.shape]
    return np.random.default_rng(0).integers(0, 256, shape).astype(tensor.dtype)


def _bundled() -> Path | None:
    return next(iter(sorted((report.REPO / "examples").rglob("*_int8.tflite"))), None)


def write_tiny(path: Path) -> Path:
    """Write a float32 model of one op: the mean of a 224×224 image over its pixels."""
    import flatbuffers  # noqa: PLC0415  # needed where no model is at hand
    from ai_edge_litert import schema_py_generated as tfl  # noqa: PLC0415  # likewise

    def tensor(name: str, shape: list[int], kind: int, buffer: int = 0) -> Any:
        packed = tfl.TensorT()
        packed.name, packed.shape, packed.type, packed.buffer = name, shape, kind, buffer
        return packed

    code, mean, axes = tfl.OperatorCodeT(), tfl.OperatorT(), tfl.BufferT()
    code.builtinCode = code.deprecatedBuiltinCode = tfl.BuiltinOperator.MEAN
    mean.inputs, mean.outputs = [0, 1], [2]
    mean.builtinOptionsType, mean.builtinOptions = (
        tfl.BuiltinOptions.ReducerOptions,
        tfl.ReducerOptionsT(),
    )
    axes.data = np.frombuffer(np.array([1, 2], np.int32).tobytes(), np.uint8)
    graph, model = tfl.SubGraphT(), tfl.ModelT()
    kinds = tfl.TensorType
    graph.tensors = [
        tensor("image", [1, 224, 224, 3], kinds.FLOAT32),
        tensor("axes", [2], kinds.INT32, buffer=1),
        tensor("mean", [1, 3], kinds.FLOAT32),
    ]
    graph.inputs, graph.outputs, graph.operators = [0], [2], [mean]
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [tfl.BufferT(), axes]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(builder.Output())
    return path


def _row(name: str, timing: Timing) -> list[str]:
    figures = _figures(timing)
    return [name, str(figures["runs"])] + [f"{figures[k]:.1f}" for k in list(figures)[1:]]


def _figures(timing: Timing) -> dict[str, float]:
    return {
        "runs": timing.count,
        "p50_us": round(timing.p50_ms * 1e3, 2),
        "p90_us": round(timing.p90_ms * 1e3, 2),
        "mean_us": round(timing.mean_ms * 1e3, 2),
    }


if __name__ == "__main__":
    main()
