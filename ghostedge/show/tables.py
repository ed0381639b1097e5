"""The tables of convert, run, inspect, doctor and features, drawn from the typed results alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from rich.table import Table

from ghostedge.doctor import Diagnosis, Job
from ghostedge.formats.format import Inspection, Layer, OpCount
from ghostedge.records.features import FeaturesReport, LayerFacts
from ghostedge.records.manifest import GuardCheck, GuardedLayer, GuardReport, Manifest
from ghostedge.show.columns import DASH, LEFT, RIGHT, Column, draw, facts_table
from ghostedge.show.contents import Entry, gather
from ghostedge.show.result_columns import (
    AGREEMENT,
    ARTEFACT,
    CHECK,
    NOISE,
    SIZE,
    SPEED_UP,
    TOP1,
    TOP5,
    ZIPPED,
)
from ghostedge.show.words import decibel_words, or_dash, size_words, sizes_words
from ghostedge.terminal import printable
from ghostedge_runtime import Classification
from ghostedge_runtime.formats.backend import TensorInfo
from ghostedge_runtime.formats.table import FORMATS
from ghostedge_runtime.machine.words import fact_rows
from ghostedge_runtime.record import Result

T = TypeVar("T")


@dataclass(frozen=True)
class OutputSummary:
    """One output of one image.

    Attributes:
        name: As the file has it.
        shape: As the file has it: feature maps channels-last in TFLite, channels-first in ONNX.
        smallest: Of its numbers, integers dequantized.
        mean: Of the same numbers.
        largest: Of the same numbers.
    """

    name: str
    shape: tuple[int, ...]
    smallest: float
    mean: float
    largest: float


def summaries(values: Mapping[str, npt.NDArray[np.float32]]) -> tuple[OutputSummary, ...]:
    """Of what ``Model.values`` returned."""
    return tuple(
        OutputSummary(
            name, array.shape, float(array.min()), float(array.mean()), float(array.max())
        )
        for name, array in values.items()
    )


def conversion_table(manifest: Manifest) -> Table:
    """What ``ghostedge convert`` closes with: a row per artefact, no column of dashes alone."""
    threads = {a.latency.case.threads for a in manifest.artefacts if a.latency}
    checked = next((a.parity for a in reversed(manifest.artefacts) if a.parity), None)
    batch = manifest.artefacts[0].inputs[0].shape[0]
    timed = f"timed with {'/'.join(map(str, sorted(threads)))} thread(s)"
    title = (
        f"{manifest.name}: {f'checked on {checked.image_source}' if checked else 'not checked'}, "
        f"{timed if threads else 'not timed'}, a batch of {batch} at a time"
    )
    return draw(_CONVERSION, gather([manifest]).entries, title=title)


def _latency_words(result: Result) -> str:
    p50 = DASH if result.p50_ms is None else f"{result.p50_ms.value:.2f} ms"
    return p50 if result.steady else f"{p50} (unsteady)"


_CONVERSION: tuple[Column[Entry], ...] = (
    ARTEFACT,
    SIZE,
    ZIPPED,
    CHECK,
    AGREEMENT,
    NOISE,
    TOP1,
    TOP5,
    Column("p50", RIGHT, lambda entry: entry.artefact and entry.artefact.latency, _latency_words),
    SPEED_UP,
)


@dataclass(frozen=True)
class _Line(Generic[T]):
    """One line about an image: ``image`` and ``ms`` are None behind its first."""

    image: str | None
    shown: T
    ms: float | None


def _lines(results: Iterable[tuple[str, Sequence[T], float]]) -> list[_Line[T]]:
    return [
        _Line(None, shown, None) if place else _Line(image, shown, ms)
        for image, several, ms in results
        for place, shown in enumerate(several)
    ]


_IMAGE = Column[_Line[Any]]("image", LEFT, lambda line: line.image or "")
_TIME = Column[_Line[Any]](
    "time", RIGHT, lambda line: "" if line.ms is None else f"{line.ms:.1f} ms"
)


def classification_table(
    results: Iterable[tuple[str, Sequence[Classification], float]],
) -> Table:
    """A row per guess; the image and its time stand beside the first."""
    columns: tuple[Column[_Line[Classification]], ...] = (
        _IMAGE,
        Column("label", LEFT, lambda line: line.shown.label, printable),
        Column("score", RIGHT, lambda line: line.shown.score, "{:.3f}".format),
        _TIME,
    )
    return draw(columns, _lines(results))


def outputs_table(results: Iterable[tuple[str, Sequence[OutputSummary], float]]) -> Table:
    """A row per output; the image and its time stand beside the first."""
    columns: tuple[Column[_Line[OutputSummary]], ...] = (
        _IMAGE,
        Column("output", LEFT, lambda line: line.shown.name),
        Column("shape", LEFT, lambda line: line.shown.shape, sizes_words),
        Column("smallest", RIGHT, lambda line: line.shown.smallest, "{:.4g}".format),
        Column("mean", RIGHT, lambda line: line.shown.mean, "{:.4g}".format),
        Column("largest", RIGHT, lambda line: line.shown.largest, "{:.4g}".format),
        _TIME,
    )
    return draw(columns, _lines(results))


def inspection_tables(inspection: Inspection) -> list[Table]:
    """Facts, tensors and operators of a file."""
    tables = [_facts_table(inspection)]
    tensors = [
        *(("input", tensor) for tensor in inspection.inputs),
        *(("output", tensor) for tensor in inspection.outputs),
    ]
    if tensors:
        tables.append(draw(_TENSORS, tensors, keep_empty=True))
    if inspection.ops:
        tables.append(draw(_OPS, inspection.ops, keep_empty=True))
    return tables


def _facts_table(inspection: Inspection) -> Table:
    rows = {
        "kind": inspection.kind,
        "size": size_words(inspection.bytes),
        "SHA-256": inspection.sha256,
        "parameters": f"{inspection.parameters:,}",
        "MACs": or_dash(inspection.macs, "{:,}"),
        **inspection.facts,
        **_metadata_rows(inspection),
    }
    return facts_table(Path(inspection.file).name, list(rows.items()))


def _metadata_rows(inspection: Inspection) -> dict[str, str]:
    data = inspection.metadata
    if data is None:
        return {"ghostedge metadata": "none"} if inspection.kind in FORMATS else {}
    preprocessing, labels = data["preprocessing"], data["labels"]
    height, width = preprocessing["input_size"]
    rows = {
        "architecture": data["architecture"]["name"] if data["architecture"] else "not stated",
        "precision": data["precision"],
        "preprocessing": f"{height}×{width} {preprocessing['color_order']}, "
        f"{preprocessing['interpolation']}, crop {preprocessing['crop_pct']:g}, "
        f"mean {preprocessing['mean']}, std {preprocessing['std']}"
        + (" (by the caller)" if data["input"]["normalized"] else " (inside the graph)"),
        "labels": "none"
        if labels is None
        else f"{len(labels)}: {', '.join(map(printable, labels[:5]))}, …",
        "made by": data["producer"] or "not stated",
    }
    if data["source"]:
        rows["made from"] = f"{data['source']['file']} (SHA-256 {data['source']['sha256'][:12]}…)"
    if data["quantization"]:
        rows["quantized"] = _quantization_words(data["quantization"])
    return rows


def _quantization_words(data: Mapping[str, Any]) -> str:
    """What was done to make a file int8; older files say less."""
    layers = len(data.get("float_layers", ()))
    done = {
        f"{data['ranges']} ranges": True,
        f"{data['calibration_images']} images": True,
        "equalized": data.get("equalized", False),
        f"{data.get('bias_correction')} bias correction": data.get("bias_correction", "none")
        != "none",
        f"{data.get('rounding')} rounding": data.get("rounding") == "adaptive",
        "one scale per weight tensor": not data.get("per_channel", True),
        f"{layers} layer{'s' if layers > 1 else ''} left float": layers > 0,
    }
    return ", ".join(words for words, holds in done.items() if holds)


_TENSORS: tuple[Column[tuple[str, TensorInfo]], ...] = (
    Column("tensor", LEFT, lambda row: row[0]),
    Column("name", LEFT, lambda row: row[1].name),
    Column("dtype", LEFT, lambda row: row[1].dtype),
    Column("shape", LEFT, lambda row: row[1].shape, sizes_words),
    Column("scale", RIGHT, lambda row: row[1].scale, "{:.6g}".format),
    Column("zero point", RIGHT, lambda row: row[1].zero_point),
)
_OPS: tuple[Column[OpCount], ...] = (
    Column("op", LEFT, lambda op: op.op),
    Column("count", RIGHT, lambda op: op.count),
    Column("int8", RIGHT, lambda op: op.int8 or None),
    Column("MACs", RIGHT, lambda op: op.macs or None, "{:,}".format),
)


def doctor_tables(report: Diagnosis) -> list[Table]:
    """The machine, then a row per job."""
    facts = {**fact_rows(report.machine), "free disk here": f"{report.free_disk_mb:,} MB"}
    return [facts_table("this machine", list(facts.items())), draw(_JOBS, report.jobs)]


_JOBS: tuple[Column[Job], ...] = (
    Column("job", LEFT, lambda job: job.name),
    Column("", LEFT, lambda job: "ready" if job.ready else f"needs {', '.join(job.missing)}"),
    Column("uses", LEFT, lambda job: ", ".join(job.found)),
    Column("to add it", LEFT, lambda job: "" if job.ready else job.remedy),
)


def guard_tables(report: GuardReport) -> list[str | Table]:
    """The curve of the loss over the layers left float, and those layers; nothing for full int8."""
    if report.stopped == "int8 holds":
        return []
    # A line of its own: a title would be folded to the table's width.
    title = f"guard: {report.budget}; {report.image_source}"
    left_float = [layer for layer in report.layers if layer.left_float]
    layers = [draw(_LEFT_FLOAT, left_float, keep_empty=True)] if left_float else []
    return [title, _curve(report), *layers]


def _curve(report: GuardReport) -> Table:
    by_drop = report.kind == "max_drop"
    columns: tuple[Column[GuardCheck], ...] = (
        Column(
            "layers float", RIGHT, lambda check: f"{check.layers_float} of {report.layer_count}"
        ),
        Column(
            "drop, points" if by_drop else "agreement, %",
            RIGHT,
            lambda check: check.loss_points if by_drop else 100 - check.loss_points,
            "{:.2f}".format,
        ),
        Column("images", RIGHT, lambda check: check.images, "{:,}".format),
        Column("holds", RIGHT, lambda check: "✓" if check.holds else "✗"),
    )
    return draw(columns, sorted(report.checks, key=lambda c: (c.layers_float, c.loss_points)))


_LEFT_FLOAT: tuple[Column[GuardedLayer], ...] = (
    Column("left float", LEFT, lambda layer: layer.layer),
    Column("noise alone in int8", RIGHT, lambda layer: layer.noise_db, "{:.1f} dB".format),
    Column("share of all-float's cost", RIGHT, lambda layer: layer.price_pct, "{:.1f} %".format),
)


def layer_list(layers: Iterable[Layer]) -> Table:
    """A row for each layer, in the graph's order."""
    return draw(_LAYERS, list(layers))


def _size_words(axis: int, layer: Layer) -> str:
    return sizes_words(layer.shape[axis : axis + 1])


_LAYERS: tuple[Column[Layer], ...] = (
    Column("layer", LEFT, lambda layer: layer.name),
    *(
        Column[Layer](name, RIGHT, partial(_size_words, axis))
        for axis, name in enumerate(("channels", "height", "width"))
    ),
    Column("ghost module", LEFT, lambda layer: f"{layer.primary} primary" if layer.primary else ""),
)


def report_table(report: FeaturesReport) -> Table:
    """A row for each layer of each image; figures where two networks were compared."""
    columns: tuple[Column[LayerFacts], ...] = (
        Column("image", LEFT, lambda layer: report.images[layer.image].file),
        Column("layer", LEFT, lambda layer: layer.name),
        Column("shape", RIGHT, lambda layer: layer.shape, sizes_words),
    )
    if not report.against:
        return draw((*columns, Column("", LEFT, lambda _: "")), report.layers)
    factors = Column[LayerFacts](
        "factors",
        RIGHT,
        lambda layer: layer.difference.scale if layer.difference and report.rescaled else None,
        lambda scale: f"{scale[0]:.3g}–{scale[1]:.3g}",
    )
    return draw((*columns, *_DIFFERENCE, factors, _WORST), report.layers, keep_empty=True)


def _decibels(value: float | None) -> str:
    return decibel_words(value, "")


def _worst_words(layer: LayerFacts) -> str:
    if layer.difference is None:
        return "no layer of that name"
    return ", ".join(
        f"{error.channel} ({round(error.sqnr_db)} dB)" for error in layer.difference.worst
    )


_DIFFERENCE: tuple[Column[LayerFacts], ...] = (
    Column(
        "SQNR dB",
        RIGHT,
        lambda layer: layer.difference and _decibels(layer.difference.sqnr_db),
    ),
    Column(
        "median channel",
        RIGHT,
        lambda layer: layer.difference and _decibels(layer.difference.channel_db),
    ),
    Column(
        "cosine", RIGHT, lambda layer: layer.difference and layer.difference.cosine, "{:.5f}".format
    ),
)
_WORST = Column[LayerFacts](
    "worst channels",
    LEFT,
    _worst_words,
)
