"""How fast our int8 TFLite is beside the ones that other converters write from the same weights.

GhostNet 1.0x at 224 goes through ``ghostedge convert --int8``, onnx2tf and litert-torch with
ai-edge-quantizer; the three int8 files are then timed in one process, on one thread, in turn,
through LiteRT with XNNPACK. ``--models NAME=FILE …`` times given files and converts nothing.

Output: progress on stderr, a table, and as the last line one JSON object::

    models.NAME.p50_ms, p90_ms, min_ms, runs, ops, xnnpack_partitions   of invoke on the int8 file
    models.NAME.cpu_p50_ms          the thread's CPU time, less touched by other programs
    models.NAME.from_pixels_p50_ms  with what a raw uint8 image needs before, done in numpy
    models.NAME.conversion_s, peak_memory_mb, versions, settings         of its converter
    models.NAME.logit_correlation   worst of some photos, with the float ONNX: is it the same net?
    models.NAME.skipped             why there is no figure
    ours_over.NAME.median, low, high   ratio of round medians, 95 % interval; below 1: we are faster
    ours_over.NAME.cpu              the same of CPU times
    ours_over_fastest_peer          the same against the peer with the smallest p50

In the invoke times the peers are given their input normalised and quantized; ours takes raw pixels
and normalises inside the timed graph, so the comparison leans towards them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from support import report
from support.interleaved import (
    PREPROCESSING,
    TimedModel,
    likeness,
    ratio,
    time_in_turn,
)
from support.peers import PEERS_MEASURED, Conversion, convert_ours, convert_with
from support.workload import Workload, add_arguments, workload

from ghostedge_runtime.images import normalize

OURS = "ghostedge"
COMPARED_PHOTOS = 16
COLUMNS = ("p50_ms", "min_ms", "cpu_p50_ms", "from_pixels_p50_ms")


def main() -> None:
    args = _arguments()
    records: dict[str, dict[str, Any]] = {}
    inputs: Workload | None = None
    if args.models:
        files = {name: Path(file) for name, _, file in (m.partition("=") for m in args.models)}
        records = {name: {} for name in files}
        image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    else:
        inputs = workload(args)
        conversions = [convert_ours(inputs)]
        conversions += [convert_with(p, inputs, reuse=not args.fresh) for p in PEERS_MEASURED]
        records = {c.name: c.as_json() for c in conversions}
        files = _files(conversions)
        image = np.load(inputs.calibration, mmap_mode="r")[0]
    models = {name: TimedModel(file, image) for name, file in files.items()}
    print(f"timing {', '.join(models)} in turn, {args.rounds} rounds …", file=sys.stderr)
    time_in_turn(models, args.rounds)
    for name, model in models.items():
        records[name] |= model.figures()
    if inputs:
        _add_likeness(records, models, inputs)
    _report(records, models, inputs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--fresh", action="store_true", help="let the peers convert again")
    parser.add_argument("--models", nargs="+", metavar="NAME=FILE", help="time these files only")
    add_arguments(parser, photos=report.PHOTOS)
    return parser.parse_args()


def _files(conversions: list[Conversion]) -> dict[str, Path]:
    for conversion in conversions:
        if conversion.skipped:
            print(f"skipped {conversion.name}: {conversion.skipped}", file=sys.stderr)
    return {c.name: c.file for c in conversions if c.file}


def _add_likeness(
    records: dict[str, dict[str, Any]], models: dict[str, TimedModel], inputs: Workload
) -> None:
    """Guard against a file that is fast because it computes something else."""
    photos = np.load(inputs.calibration, mmap_mode="r")[:COMPARED_PHOTOS]
    session = onnxruntime.InferenceSession(str(inputs.onnx), providers=["CPUExecutionProvider"])
    batches = normalize(photos, PREPROCESSING).transpose(0, 3, 1, 2)
    reference = [session.run(None, {"input": batch[None]})[0][0] for batch in batches]
    for name, model in models.items():
        logits = [model.logits(photo) for photo in photos]
        records[name]["logit_correlation"] = likeness(logits, reference)


def _report(
    records: dict[str, dict[str, Any]], models: dict[str, TimedModel], inputs: Workload | None
) -> None:
    peers = [name for name in models if name != OURS] if OURS in models else []
    against = {name: _compared(models[OURS], models[name]) for name in peers}
    rows = [
        [
            name,
            *(f"{records[name][key]:.3f}" for key in COLUMNS),
            f"{against[name]['median']:.3f}" if name in against else "–",
        ]
        for name in models
    ]
    print(report.table(["int8 file of", *COLUMNS, "ours over it"], rows))
    fastest = min(peers, key=lambda name: records[name]["p50_ms"], default=None)
    report.finish(
        {
            "benchmark": "int8_latency",
            "model": "GhostNet 1.0x, 224, batch 1, 1 thread, XNNPACK, interleaved",
            "weights": inputs.weights_source if inputs else "of the given files",
            "photos": inputs.photo_source if inputs else None,
            "models": records,
            "ours_over": against,
            "fastest_peer": fastest,
            "ours_over_fastest_peer": against[fastest] if fastest else None,
            "machine": report.machine(),
        }
    )


def _compared(ours: TimedModel, peer: TimedModel) -> dict[str, Any]:
    cpu = ratio(ours.cpu_rounds, peer.cpu_rounds)
    return {**asdict(ratio(ours.rounds, peer.rounds)), "cpu": asdict(cpu)}


if __name__ == "__main__":
    main()
