"""What each exact rewrite of the graph brings: files with and without it, timed in turn.

The networks of ``peers_table.py``, random weights as there, at 224. Every network is written as
TFLite and ONNX without a rewrite (``joined``) and with ghost modules in halves (``split``). With
``--int8`` also as int8 TFLite of either form, calibrated on 8 photos by their extremes alone.

Output: progress on stderr, a table, and as the last line one JSON object::

    networks.NAME.FILE.p50_ms, min_ms, cpu_p50_ms, runs   of the inference alone, one thread
    networks.NAME.FILE.xnnpack_partitions                 pieces that XNNPACK took a TFLite in
    networks.NAME.FILE.without_over_with.median, low, high   least CPU time of a round of the file
                                                          without the rewrite over this one's, with
                                                          its 95 % interval; above 1: it is faster
    networks.NAME.FILE.difference                         largest, of the outputs for an image,
                                                          over the largest output
    networks.NAME.FILE.sqnr_db                            of an int8 file, on 8 photos
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from support import report
from support.interleaved import PREPROCESSING, TimedModel, ratio, time_over_loads
from support.peers_markdown import NETWORKS
from support.workload import Workload, add_photo_arguments, workload

from ghostedge_convert import lower_to_tflite, to_deploy_graph, with_split_modules
from ghostedge_quantize import Int8Settings, prepare
from ghostedge_runtime.images import normalize

INT8_PHOTOS = 8
COLUMNS = ("network", "file", "p50, ms", "CPU, ms", "without / with", "difference", "SQNR, dB")


@dataclass(frozen=True)
class Pair:
    """Two files of one network and kind, without a rewrite and with it."""

    kind: str
    without: Path
    after: Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--loads", type=int, default=8, help="of every file, each timed")
    parser.add_argument("--int8", action="store_true", help="also what splitting does to int8")
    add_photo_arguments(parser, photos=report.PHOTOS)
    args = parser.parse_args()
    results = {}
    for name in args.networks:
        print(name, file=sys.stderr, flush=True)
        results[name] = _measured(workload(args, name), args)
    rows = [
        _row(network, name, figures)
        for network, files in results.items()
        for name, figures in files.items()
    ]
    print(report.table(COLUMNS, rows))
    report.finish({"benchmark": "rewrites", "networks": results, "machine": report.machine()})


def _measured(inputs: Workload, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of one network's files, by name."""
    photos: npt.NDArray[np.uint8] = np.load(inputs.calibration, mmap_mode="r")[:INT8_PHOTOS]
    joined = to_deploy_graph(onnx.load(inputs.onnx)).model
    pairs = list(_pairs(joined, inputs.folder, photos if args.int8 else None))
    files = [path for pair in pairs for path in (pair.without, pair.after)]
    models = {path.name: TimedModel(path, photos[0]) for path in files}
    time_over_loads(models, args.loads)
    float_logits = _logits(models[pairs[0].without.name], photos)
    return {
        path.name: models[path.name].figures()
        | _compared(pair, path, models)
        | (
            {"sqnr_db": _sqnr_db(float_logits, models[path.name], photos)}
            if "int8" in pair.kind
            else {}
        )
        for pair in pairs
        for path in (pair.without, pair.after)
    }


def _pairs(
    joined: onnx.ModelProto, folder: Path, photos: npt.NDArray[np.uint8] | None
) -> Iterator[Pair]:
    """Write the files."""
    split = with_split_modules(joined).model
    forms = {"joined": joined, "split": split}
    for suffix in ("tflite", "onnx"):
        paths = [folder / f"{form}.{suffix}" for form in forms]
        for path, model in zip(paths, forms.values(), strict=True):
            data = lower_to_tflite(model).data if suffix == "tflite" else model.SerializeToString()
            path.write_bytes(data)
        yield Pair(suffix, *paths)
    if photos is not None:
        paths = [folder / f"{form}_int8.tflite" for form in forms]
        for path, model in zip(paths, forms.values(), strict=True):
            path.write_bytes(lower_to_tflite(_int8(model, photos)).data)
        yield Pair("int8 tflite", *paths)


def _int8(model: onnx.ModelProto, photos: npt.NDArray[np.uint8]) -> onnx.ModelProto:
    batches = [normalize(photo[None], PREPROCESSING).transpose(0, 3, 1, 2) for photo in photos]
    settings = Int8Settings(equalize=False, bias_correction="none", ranges="minmax")
    return prepare(model, batches, settings, preprocessing=PREPROCESSING).qdq()


def _logits(model: TimedModel, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.stack([model.logits(photo) for photo in photos])


def _compared(pair: Pair, path: Path, models: dict[str, TimedModel]) -> dict[str, Any]:
    """What the rewritten file of a pair is, beside the other."""
    if path == pair.without:
        return {}
    without, after = models[pair.without.name], models[pair.after.name]
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    wanted, got = without.logits(image), after.logits(image)
    return {
        "without_over_with": asdict(ratio(_least(without), _least(after))),
        "difference": float(np.abs(got - wanted).max() / np.abs(wanted).max()),
    }


def _least(model: TimedModel) -> list[list[float]]:
    """The least CPU time of each round: what other programs on the machine touch least."""
    return [[min(times)] for times in model.cpu_rounds]


def _sqnr_db(
    wanted: npt.NDArray[np.float32], model: TimedModel, photos: npt.NDArray[np.uint8]
) -> float:
    noise = np.square(_logits(model, photos) - wanted).sum()
    return round(float(10 * np.log10(np.square(wanted).sum() / noise)), 2)


def _row(network: str, name: str, figures: dict[str, Any]) -> list[str]:
    times = figures.get("without_over_with")
    return [
        network,
        name,
        f"{figures['p50_ms']:.2f}",
        f"{figures['cpu_p50_ms']:.2f}",
        f"{times['median']:.2f} [{times['low']:.2f}, {times['high']:.2f}]" if times else "",
        f"{figures['difference']:.0e}" if times else "",
        f"{figures['sqnr_db']:.1f}" if "sqnr_db" in figures else "",
    ]


if __name__ == "__main__":
    main()
