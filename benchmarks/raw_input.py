"""What it costs that the int8 file takes raw pixels and normalises them itself.

The same network is quantized twice from the same ranges: as ``ghostedge convert`` does it, with
uint8 pixels in, once with its input already normalised and int8, which is the least any int8 graph
can be given. The two TFLite files are timed in one process, one thread, in turn.

Output: a table and, as the last line, one JSON object: ``models.NAME.p50_ms`` and the rest as in
``int8_latency.py``; ``cost_pct``, the median over rounds of raw over normalised, minus one, in
percent, with the 95 % interval ``cost_low_pct`` to ``cost_high_pct``; ``budget_pct``.
"""

from __future__ import annotations

import argparse

import numpy as np
import onnx
from support import report
from support.interleaved import PREPROCESSING, TimedModel, ratio, time_in_turn
from support.workload import Workload, add_arguments, workload

from ghostedge_convert import lower_to_tflite, to_deploy_graph
from ghostedge_quantize import calibrate, quantize
from ghostedge_runtime.images import normalize

CALIBRATED_PHOTOS = 32
BUDGET_PCT = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100)
    add_arguments(parser, photos=report.PHOTOS)
    args = parser.parse_args()
    inputs = workload(args)
    image = np.load(inputs.calibration, mmap_mode="r")[0]
    models = {}
    for name, model in _quantized(inputs).items():
        file = inputs.folder / f"input_{name}.tflite"
        file.write_bytes(lower_to_tflite(model).data)
        models[name] = TimedModel(file, image)
    time_in_turn(models, args.rounds)
    _report(models, inputs)


def _quantized(inputs: Workload) -> dict[str, onnx.ModelProto]:
    """The QDQ graph with raw pixels in, and with normalised int8 in."""
    graph = to_deploy_graph(onnx.load(inputs.onnx)).model
    photos = np.load(inputs.calibration, mmap_mode="r")[:CALIBRATED_PHOTOS]
    batches = [
        np.ascontiguousarray(normalize(photo[None], PREPROCESSING).transpose(0, 3, 1, 2))
        for photo in photos
    ]
    ranges = calibrate(graph, batches)
    normalised = quantize(graph, ranges, preprocessing=None)
    return {
        "raw": quantize(graph, ranges, preprocessing=PREPROCESSING),
        "normalised": _without_its_first_quantization(normalised),
    }


def _without_its_first_quantization(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make what the input's QuantizeLinear gives the input itself."""
    (entry,) = [node for node in model.graph.node if model.graph.input[0].name in node.input]
    model.graph.node.remove(entry)
    model.graph.input[0].name = entry.output[0]
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    return model


def _report(models: dict[str, TimedModel], inputs: Workload) -> None:
    figures = {name: model.figures() for name, model in models.items()}
    cost = ratio(models["raw"].rounds, models["normalised"].rounds)
    pct = [round(100 * (value - 1), 2) for value in (cost.median, cost.low, cost.high)]
    rows = [[name, f"{f['p50_ms']:.3f}", f"{f['min_ms']:.3f}"] for name, f in figures.items()]
    print(report.table(["input", "p50_ms", "min_ms"], rows))
    print(f"raw pixels cost {pct[0]} % [{pct[1]}, {pct[2]}] of p50, at most {BUDGET_PCT:g}")
    report.finish(
        {
            "benchmark": "raw_input",
            "model": "GhostNet 1.0x, 224, int8 TFLite, batch 1, 1 thread, XNNPACK, interleaved",
            "weights": inputs.weights_source,
            "models": figures,
            "cost_pct": pct[0],
            "cost_low_pct": pct[1],
            "cost_high_pct": pct[2],
            "budget_pct": BUDGET_PCT,
            "within": pct[0] <= BUDGET_PCT,
            "machine": report.machine(),
        }
    )


if __name__ == "__main__":
    main()
