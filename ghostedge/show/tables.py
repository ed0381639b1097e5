"""The tables people see, drawn from the typed results and from nothing else.

The guard's tables: what was lost with how many layers left float, and which these are.

Layers and what was found of them, as read in a terminal.

An output of a network that scores no classes, in a line: its shape and what its numbers are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from ghostedge.doctor import Diagnosis
from ghostedge.features.compare import Difference
from ghostedge.features.draw import decibel_words
from ghostedge.formats.format import Inspection, Layer
from ghostedge.formats.table import is_exact
from ghostedge.records.features import FeaturesReport, LayerFacts
from ghostedge.records.manifest import Artefact, GuardCheck, GuardReport, Manifest, Parity
from ghostedge.show.words import DASH, LEFT, RIGHT, or_dash, plain_table, size_words
from ghostedge.terminal import printable
from ghostedge_runtime import Classification
from ghostedge_runtime.machine.words import fact_rows


@dataclass(frozen=True)
class OutputSummary:
    """One output of one image.

    Attributes:
        name: As the file has it.
        shape: As the file has it: feature maps channels-last in TFLite, channels-first in ONNX.
        smallest: Of its numbers, integers dequantized.
        mean: Likewise.
        largest: Likewise.
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
    scored = next((a.accuracy for a in manifest.artefacts if a.accuracy), None)
    checked = next((a.parity for a in reversed(manifest.artefacts) if a.parity), None)
    batch = manifest.artefacts[0].inputs[0].shape[0]
    columns = (
        ("artefact", LEFT),
        ("size", RIGHT),
        ("check against its source", LEFT),
        ("agrees with float", RIGHT),
        ("sqnr to float", RIGHT),
        *((("top-1", RIGHT), ("top-5", RIGHT)) if scored else ()),
        ("p50", RIGHT),
        ("vs float", RIGHT),
    )
    rows = [_conversion_row(each, scored=scored is not None) for each in manifest.artefacts]
    told = [i for i in range(len(columns)) if any(row[i] != DASH for row in rows)]
    table = plain_table(
        f"{manifest.name}: {f'checked on {checked.image_source}' if checked else 'not checked'}, "
        + (
            f"timed with {'/'.join(map(str, sorted(threads)))} thread(s)"
            if threads
            else "not timed"
        )
        + f", a batch of {batch} at a time",
        tuple(columns[i] for i in told),
    )
    for row in rows:
        table.add_row(*(row[i] for i in told))
    return table


def _conversion_row(artefact: Artefact, *, scored: bool) -> list[str]:
    row = [
        artefact.file,
        size_words(artefact.bytes),
        _parity_words(artefact.parity, by_top1=not is_exact(artefact.format, artefact.precision)),
        or_dash(artefact.float_agreement_pct, "{:.2f} %"),
        or_dash(artefact.float_sqnr_db, "{:.1f} dB"),
    ]
    if scored:
        accuracy = artefact.accuracy
        row += [
            or_dash(accuracy.top1_pct if accuracy else None, "{:.2f} %"),
            or_dash(accuracy.top5_pct if accuracy else None, "{:.2f} %"),
        ]
    latency = artefact.latency
    return [
        *row,
        or_dash(latency.p50_ms.value if latency and latency.p50_ms else None, "{:.2f} ms")
        + ("" if latency is None or latency.steady else " (unsteady)"),
        or_dash(artefact.speed_up, "{:.2f}×"),
    ]


def _parity_words(parity: Parity | None, *, by_top1: bool) -> str:
    if parity is None:
        return DASH
    mark = "✓" if parity.within_budget else "✗"
    if parity.agreement_pct is None:
        found = _output_words(parity, by_noise=by_top1)
    elif by_top1:
        found = f"same top-1 {parity.agreement_pct:.2f} %, {_ratio_words(parity.sqnr_db)}"
    else:
        found = f"logits {_difference_words(parity)}"
    return f"{mark} {found} of {parity.reference}"


def _output_words(parity: Parity, *, by_noise: bool) -> str:
    """The noisiest output of a network that scores no classes; named where there are several."""
    worst = parity.worst
    if worst is None or not by_noise:
        return f"outputs {_difference_words(parity)}"
    named = len(parity.outputs) > 1 or str(worst) != worst.name
    return _ratio_words(worst.counted_db) + (f" ({worst})" if named else "")


def _difference_words(parity: Parity) -> str:
    found = f"± {parity.max_abs_diff:.1e}"
    if not parity.max_relative_diff:
        return found
    return f"{found} (relative {parity.max_relative_diff:.1e})"


def _ratio_words(sqnr_db: float | None) -> str:
    return "no difference" if sqnr_db is None else f"sqnr {sqnr_db:.1f} dB"


def classification_table(
    results: Iterable[tuple[str, Sequence[Classification], float]],
) -> Table:
    """A row per guess; the image and its time stand beside the first."""
    table = plain_table(None, (("image", LEFT), ("label", LEFT), ("score", RIGHT), ("time", RIGHT)))
    for image, guesses, ms in results:
        for rank, guess in enumerate(guesses):
            table.add_row(
                "" if rank else image,
                printable(guess.label),
                f"{guess.score:.3f}",
                "" if rank else f"{ms:.1f} ms",
            )
    return table


def outputs_table(results: Iterable[tuple[str, Sequence[OutputSummary], float]]) -> Table:
    """A row per output; the image and its time stand beside the first."""
    columns = ("image", LEFT), ("output", LEFT), ("shape", LEFT), ("smallest", RIGHT)
    table = plain_table(None, (*columns, ("mean", RIGHT), ("largest", RIGHT), ("time", RIGHT)))
    for image, outputs, ms in results:
        for place, output in enumerate(outputs):
            table.add_row(
                "" if place else image,
                output.name,
                "×".join(map(str, output.shape)),
                *(f"{v:.4g}" for v in (output.smallest, output.mean, output.largest)),
                "" if place else f"{ms:.1f} ms",
            )
    return table


def inspection_tables(found: Inspection) -> list[Table]:
    """Facts, tensors and operators of a file."""
    tables = [_facts_table(found)]
    if found.inputs or found.outputs:
        tables.append(_tensor_table(found))
    if found.ops:
        tables.append(_op_table(found))
    return tables


def _facts_table(found: Inspection) -> Table:
    table = plain_table(None, (("", LEFT), (Path(found.file).name, LEFT)))
    rows = {
        "kind": found.kind,
        "size": size_words(found.bytes),
        "SHA-256": found.sha256,
        "parameters": f"{found.parameters:,}",
        "MACs": or_dash(found.macs, "{:,}"),
        **found.facts,
        **_metadata_rows(found),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _metadata_rows(found: Inspection) -> dict[str, str]:
    data = found.metadata
    if data is None:
        return {} if found.kind == "checkpoint" else {"ghostedge metadata": "none"}
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
    said = {
        f"{data['ranges']} ranges": True,
        f"{data['calibration_images']} images": True,
        "equalized": data.get("equalized", False),
        f"{data.get('bias_correction')} bias correction": data.get("bias_correction", "none")
        != "none",
        f"{data.get('rounding')} rounding": data.get("rounding", "nearest") != "nearest",
        "one scale per weight tensor": not data.get("per_channel", True),
        f"{layers} layer{'s' if layers > 1 else ''} left float": layers > 0,
    }
    return ", ".join(words for words, holds in said.items() if holds)


def _tensor_table(found: Inspection) -> Table:
    table = plain_table(
        None,
        (
            ("tensor", LEFT),
            ("name", LEFT),
            ("dtype", LEFT),
            ("shape", LEFT),
            ("scale", RIGHT),
            ("zero point", RIGHT),
        ),
    )
    for kind, tensors in (("input", found.inputs), ("output", found.outputs)):
        for tensor in tensors:
            table.add_row(
                kind,
                tensor.name,
                tensor.dtype,
                "×".join(str(size or "?") for size in tensor.shape),
                or_dash(tensor.scale, "{:.6g}"),
                or_dash(tensor.zero_point, "{}"),
            )
    return table


def _op_table(found: Inspection) -> Table:
    table = plain_table(None, (("op", LEFT), ("count", RIGHT), ("int8", RIGHT), ("MACs", RIGHT)))
    for op in found.ops:
        table.add_row(
            op.op,
            str(op.count),
            str(op.int8) if op.int8 else "–",
            f"{op.macs:,}" if op.macs else "–",
        )
    return table


def doctor_tables(report: Diagnosis) -> list[Table]:
    """The machine, then a row per job."""
    machine = plain_table(None, (("", LEFT), ("this machine", LEFT)))
    rows = {**fact_rows(report.machine), "free disk here": f"{report.free_disk_mb:,} MB"}
    for name, value in rows.items():
        machine.add_row(name, value)
    jobs = plain_table(None, (("job", LEFT), ("", LEFT), ("uses", LEFT), ("to add it", LEFT)))
    for job in report.jobs:
        state = "ready" if job.ready else f"needs {', '.join(job.missing)}"
        jobs.add_row(job.name, state, ", ".join(job.found), "" if job.ready else job.remedy)
    return [machine, jobs]


def guard_tables(report: GuardReport) -> list[str | Table]:
    """The curve of the loss over the layers left float, and those layers; nothing for full int8."""
    if report.stopped == "int8 holds":
        return []
    # A line of its own: a title would be folded to the table's width.
    title = f"guard: {report.budget}; {report.image_source}"
    layers = [_layers(report)] if report.float_layers else []
    return [title, _curve(report.checks, report), *layers]


def _curve(checks: Sequence[GuardCheck], report: GuardReport) -> Table:
    name = "drop, points" if report.kind == "max_drop" else "agreement, %"
    headings = ("layers float", name, "images", "holds")
    table = plain_table(None, [(heading, RIGHT) for heading in headings])
    for check in sorted(checks, key=lambda c: (c.layers_float, c.loss_points)):
        loss = check.loss_points
        table.add_row(
            f"{check.layers_float} of {report.layer_count}",
            f"{loss if report.kind == 'max_drop' else 100 - loss:.2f}",
            f"{check.images:,}",
            "✓" if check.holds else "✗",
        )
    return table


def _layers(report: GuardReport) -> Table:
    table = plain_table(
        None,
        (
            ("left float", LEFT),
            ("noise alone in int8", RIGHT),
            ("share of all-float's cost", RIGHT),
        ),
    )
    for layer in report.layers:
        if layer.left_float:
            noise = or_dash(layer.noise_db, "{:.1f} dB")
            table.add_row(layer.layer, noise, f"{layer.price_pct:.1f} %")
    return table


def layer_list(layers: Iterable[Layer]) -> Table:
    """A row for each layer, in the graph's order."""
    table = _table(("layer", "channels", "height", "width"), "ghost module")
    for layer in layers:
        sizes = ("?" if size is None else str(size) for size in layer.shape)
        table.add_row(layer.name, *sizes, f"{layer.primary} primary" if layer.primary else "")
    return table


def report_table(report: FeaturesReport) -> Table:
    """A row for each layer of each image; figures where two networks were compared."""
    figures = ("SQNR dB", "median channel", "cosine", "factors") if report.against else ()
    table = _table(("image", "layer", "shape", *figures), "worst channels" if figures else "")
    for layer in report.layers:
        image = report.images[layer.image].file
        shape = "×".join(map(str, layer.shape))
        cells = _cells(layer, report) if figures else ("",)
        table.add_row(image, layer.name, shape, *cells)
    return table


def _table(columns: Iterable[str], last: str) -> Table:
    sides = [(each, LEFT if each in ("image", "layer") else RIGHT) for each in columns]
    return plain_table(None, [*sides, (last, LEFT)])


def _cells(layer: LayerFacts, report: FeaturesReport) -> tuple[str, ...]:
    found = layer.difference
    if found is None:
        return "–", "–", "–", "–", "no layer of that name"
    low, high = found.scale
    return (
        decibel_words(found.sqnr_db).removesuffix(" dB"),
        decibel_words(found.channel_db).removesuffix(" dB"),
        "–" if found.cosine is None else f"{found.cosine:.5f}",
        f"{low:.3g}–{high:.3g}" if report.rescaled else "–",
        _worst(found),
    )


def _worst(found: Difference) -> str:
    return ", ".join(f"{each.channel} ({round(each.sqnr_db)} dB)" for each in found.worst)
