"""What each exact rewrite of the graph brings: files without and with it, timed in turn.

The networks of ``peers_table.py``, random weights as there, at 224. A network is written as TFLite
and ONNX three times: ``plain``; where it has nearest resizes, ``one_piece``, with these written as
joined copies and slices (TFLite alone); and ``split``, its ghost modules in halves as well. With
``--int8`` also as int8 TFLite, calibrated on 8 photos by their extremes alone. Every file is
compared with the one before it of its kind.

Output: progress on stderr, a table, and as the last line one JSON object::

    networks.NAME.FILE.p50_ms, min_ms, cpu_p50_ms, runs   of the inference alone, one thread
    networks.NAME.FILE.xnnpack_partitions                 pieces that XNNPACK took a TFLite in
    networks.NAME.FILE.without_over_with.median, low, high   least CPU time of a round of the file
                                                          before over this one's, with its 95 %
                                                          interval; above 1: this one is faster
    networks.NAME.FILE.difference                         largest, of the outputs for an image,
                                                          over the largest output
    networks.NAME.FILE.sqnr_db                            of an int8 file, on 8 photos
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

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
RESIZE_IN_XNNPACK = "ghostedge_convert.lower.ops.resize._joined_pixels"
COLUMNS = (
    "network",
    "file",
    "pieces",
    "p50, ms",
    "CPU, ms",
    "before / this",
    "difference",
    "SQNR, dB",
)
Logits = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


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
    photos: Pixels = np.load(inputs.calibration, mmap_mode="r")[:INT8_PHOTOS]
    plain = to_deploy_graph(onnx.load(inputs.onnx)).model
    rows = list(_written(plain, inputs.folder, photos if args.int8 else None))
    models = {path.name: TimedModel(path, photos[0]) for row in rows for path in row}
    time_over_loads(models, args.loads)
    wanted = _logits(models[rows[0][0].name], photos)
    figures = {name: model.figures() for name, model in models.items()}
    for row in rows:
        for before, path in pairwise(row):
            figures[path.name] |= _compared(models[before.name], models[path.name])
    for name in (path.name for row in rows for path in row if "int8" in path.name):
        figures[name]["sqnr_db"] = _sqnr_db(wanted, _logits(models[name], photos))
    return figures


def _written(
    plain: onnx.ModelProto, folder: Path, photos: Pixels | None
) -> Iterator[tuple[Path, ...]]:
    """Write the files; each kind's in the order of the rewrites."""
    forms = {"plain": plain, "split": with_split_modules(plain).model}
    for name, model in forms.items():
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    yield tuple(folder / f"{name}.onnx" for name in forms)
    yield _tflites(forms, folder, "")
    if photos is not None:
        integer = {name: _int8(model, photos) for name, model in forms.items()}
        yield _tflites(integer, folder, "_int8")


def _tflites(forms: Mapping[str, onnx.ModelProto], folder: Path, end: str) -> tuple[Path, ...]:
    with mock.patch(RESIZE_IN_XNNPACK, return_value=None):
        files = {"plain": lower_to_tflite(forms["plain"]).data}
    one_piece = lower_to_tflite(forms["plain"]).data
    if one_piece != files["plain"]:
        files["one_piece"] = one_piece
    files["split"] = lower_to_tflite(forms["split"]).data
    paths = tuple(folder / f"{name}{end}.tflite" for name in files)
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    return paths


def _int8(model: onnx.ModelProto, photos: Pixels) -> onnx.ModelProto:
    batches = [normalize(photo[None], PREPROCESSING).transpose(0, 3, 1, 2) for photo in photos]
    settings = Int8Settings(equalize=False, bias_correction="none", ranges="minmax")
    return prepare(model, batches, settings, preprocessing=PREPROCESSING).qdq()


def _logits(model: TimedModel, photos: Pixels) -> Logits:
    return np.stack([model.logits(photo) for photo in photos])


def _compared(before: TimedModel, model: TimedModel) -> dict[str, Any]:
    """What a file is beside the one without its rewrite."""
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    wanted, got = before.logits(image), model.logits(image)
    return {
        "without_over_with": asdict(ratio(_least(before), _least(model))),
        "difference": float(np.abs(got - wanted).max() / np.abs(wanted).max()),
    }


def _least(model: TimedModel) -> list[list[float]]:
    """The least CPU time of each round: what other programs on the machine touch least."""
    return [[min(times)] for times in model.cpu_rounds]


def _sqnr_db(wanted: Logits, got: Logits) -> float:
    return round(float(10 * np.log10(np.square(wanted).sum() / np.square(got - wanted).sum())), 2)


def _row(network: str, name: str, figures: dict[str, Any]) -> list[str]:
    times = figures.get("without_over_with")
    return [
        network,
        name,
        str(figures.get("xnnpack_partitions", "")),
        f"{figures['p50_ms']:.2f}",
        f"{figures['cpu_p50_ms']:.2f}",
        f"{times['median']:.2f} [{times['low']:.2f}, {times['high']:.2f}]" if times else "",
        f"{figures['difference']:.0e}" if times else "",
        f"{figures['sqnr_db']:.1f}" if "sqnr_db" in figures else "",
    ]


if __name__ == "__main__":
    main()
