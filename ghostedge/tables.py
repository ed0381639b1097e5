"""The tables people see, drawn from the typed results and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from ghostedge.doctor import Diagnosis
from ghostedge.inspection.report import Inspection
from ghostedge.manifest import Artefact, Manifest, Parity
from ghostedge.output_summary import OutputSummary
from ghostedge_runtime import Benchmark, Classification, Evaluation

_LEFT, _RIGHT = "left", "right"
_DASH = "–"


def _table(title: str | None, columns: Sequence[tuple[str, str]]) -> Table:
    """A table whose columns are (heading, ``"left"`` or ``"right"``)."""
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    for heading, side in columns:
        table.add_column(heading, justify="right" if side == _RIGHT else "left", overflow="fold")
    return table


def size_words(size: int) -> str:
    """Bytes as people read them: kB and MB of powers of ten."""
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def conversion_table(manifest: Manifest) -> Table:
    """What ``ghostedge convert`` closes with: a row per artefact, no column of dashes alone."""
    threads = {a.latency.threads for a in manifest.artefacts if a.latency}
    scored = next((a.accuracy for a in manifest.artefacts if a.accuracy), None)
    first = manifest.artefacts[-1].parity
    batch = manifest.artefacts[0].inputs[0].shape[0]
    columns = (
        ("artefact", _LEFT),
        ("size", _RIGHT),
        ("check against its source", _LEFT),
        ("agrees with float", _RIGHT),
        ("sqnr to float", _RIGHT),
        *((("top-1", _RIGHT), ("top-5", _RIGHT)) if scored else ()),
        ("p50", _RIGHT),
        ("vs float", _RIGHT),
    )
    rows = [_conversion_row(each, scored=scored is not None) for each in manifest.artefacts]
    told = [i for i in range(len(columns)) if any(row[i] != _DASH for row in rows)]
    table = _table(
        f"{manifest.name}: checked on {first.image_source}, timed with "
        f"{'/'.join(map(str, sorted(threads)))} thread(s), a batch of {batch} at a time",
        tuple(columns[i] for i in told),
    )
    for row in rows:
        table.add_row(*(row[i] for i in told))
    return table


def _conversion_row(artefact: Artefact, *, scored: bool) -> list[str]:
    row = [
        artefact.file,
        size_words(artefact.bytes),
        _parity_words(artefact.parity, by_top1=(artefact.format, artefact.precision) in _BY_TOP1),
        _or_dash(artefact.float_agreement_pct, "{:.2f} %"),
        _or_dash(artefact.float_sqnr_db, "{:.1f} dB"),
    ]
    if scored:
        accuracy = artefact.accuracy
        row += [
            _or_dash(accuracy.top1_pct if accuracy else None, "{:.2f} %"),
            _or_dash(accuracy.top5_pct if accuracy else None, "{:.2f} %"),
        ]
    latency = artefact.latency
    return [
        *row,
        _or_dash(latency.p50_ms if latency else None, "{:.2f} ms")
        + ("" if latency is None or latency.steady else " (unsteady)"),
        _or_dash(latency.speed_up if latency else None, "{:.2f}×"),
    ]


_BY_TOP1 = frozenset({("onnx", "dynamic"), ("onnx", "int8"), ("tflite", "int8")})
"""Where rounding to int8 lies between a file and its source: numbers differ, not their sense."""


def _parity_words(parity: Parity, *, by_top1: bool) -> str:
    mark = "✓" if parity.within_budget else "✗"
    if parity.agreement_pct is None:
        found = _output_words(parity, by_noise=by_top1)
    elif by_top1:
        found = f"same top-1 {parity.agreement_pct:.2f} %"
    else:
        found = f"logits ± {parity.max_abs_diff:.1e}"
    return f"{mark} {found} of {parity.reference}"


def _output_words(parity: Parity, *, by_noise: bool) -> str:
    """The noisiest output of a network that scores no classes; named where there are several."""
    worst = parity.worst
    if worst is None or not by_noise:
        return f"outputs ± {parity.max_abs_diff:.1e}"
    which = f" ({worst.name})" if len(parity.outputs) > 1 else ""
    return f"sqnr {worst.sqnr_db:.1f} dB{which}"


def _or_dash(value: float | None, form: str) -> str:
    return _DASH if value is None else form.format(value)


def bench_table(
    rows: Sequence[tuple[str, Benchmark, Evaluation | None]], sizes: Sequence[int]
) -> Table:
    """A row per model and thread count; ratios are to the first row."""
    scored = any(evaluation is not None for _, _, evaluation in rows)
    table = _table(
        None,
        (
            ("model", _LEFT),
            ("size", _RIGHT),
            ("threads", _RIGHT),
            ("load", _RIGHT),
            ("first", _RIGHT),
            ("p50", _RIGHT),
            ("p90", _RIGHT),
            ("p99", _RIGHT),
            ("vs first row", _RIGHT),
            ("runs", _RIGHT),
            ("peak memory", _RIGHT),
            *((("top-1", _RIGHT), ("top-5", _RIGHT)) if scored else ()),
        ),
    )
    for (name, timed, evaluation), size in zip(rows, sizes, strict=True):
        table.add_row(
            name,
            size_words(size),
            str(timed.threads),
            f"{timed.load_ms:.1f} ms",
            f"{timed.first_inference_ms:.2f} ms",
            f"{timed.p50_ms:.2f} ms{'' if timed.steady else ' (unsteady)'}",
            f"{timed.p90_ms:.2f} ms",
            f"{timed.p99_ms:.2f} ms",
            f"{rows[0][1].p50_ms / timed.p50_ms:.2f}×",
            str(timed.runs),
            _or_dash(timed.peak_rss_mb, "{:.0f} MB"),
            *(
                (
                    _or_dash(evaluation.top1 if evaluation else None, "{:.2f} %"),
                    _or_dash(evaluation.top5 if evaluation else None, "{:.2f} %"),
                )
                if scored
                else ()
            ),
        )
    return table


def classification_table(
    results: Iterable[tuple[str, Sequence[Classification], float]],
) -> Table:
    """A row per guess; the image and its time stand beside the first."""
    table = _table(None, (("image", _LEFT), ("label", _LEFT), ("score", _RIGHT), ("time", _RIGHT)))
    for image, guesses, ms in results:
        for rank, guess in enumerate(guesses):
            table.add_row(
                "" if rank else image,
                guess.label,
                f"{guess.score:.3f}",
                "" if rank else f"{ms:.1f} ms",
            )
    return table


def outputs_table(results: Iterable[tuple[str, Sequence[OutputSummary], float]]) -> Table:
    """A row per output; the image and its time stand beside the first."""
    columns = ("image", _LEFT), ("output", _LEFT), ("shape", _LEFT), ("smallest", _RIGHT)
    table = _table(None, (*columns, ("mean", _RIGHT), ("largest", _RIGHT), ("time", _RIGHT)))
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
    table = _table(None, (("", _LEFT), (Path(found.file).name, _LEFT)))
    rows = {
        "kind": found.kind,
        "size": size_words(found.bytes),
        "SHA-256": found.sha256,
        "parameters": f"{found.parameters:,}",
        "MACs": _or_dash(found.macs, "{:,}"),
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
        "labels": "none" if labels is None else f"{len(labels)}: {', '.join(labels[:5])}, …",
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
    table = _table(
        None,
        (
            ("tensor", _LEFT),
            ("name", _LEFT),
            ("dtype", _LEFT),
            ("shape", _LEFT),
            ("scale", _RIGHT),
            ("zero point", _RIGHT),
        ),
    )
    for kind, tensors in (("input", found.inputs), ("output", found.outputs)):
        for tensor in tensors:
            table.add_row(
                kind,
                tensor.name,
                tensor.dtype,
                "×".join(str(size or "?") for size in tensor.shape),
                _or_dash(tensor.scale, "{:.6g}"),
                _or_dash(tensor.zero_point, "{}"),
            )
    return table


def _op_table(found: Inspection) -> Table:
    table = _table(None, (("op", _LEFT), ("count", _RIGHT), ("int8", _RIGHT), ("MACs", _RIGHT)))
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
    host = report.host
    machine = _table(None, (("", _LEFT), ("this machine", _LEFT)))
    rows = {
        "board": host.board or "–",
        "processor": f"{host.cpu or 'unknown'} ({host.machine}), {host.cores} cores",
        "memory": "–" if host.memory_mb is None else f"{host.memory_mb:,} MB",
        "free disk here": f"{report.free_disk_mb:,} MB",
        "system": f"{host.os}, {host.kernel}",
        "governor": host.governor or "not told by the system",
        "Python": host.python,
    }
    for name, value in rows.items():
        machine.add_row(name, value)
    jobs = _table(None, (("job", _LEFT), ("", _LEFT), ("uses", _LEFT), ("to add it", _LEFT)))
    for job in report.jobs:
        state = "ready" if job.ready else f"needs {', '.join(job.missing)}"
        jobs.add_row(job.name, state, ", ".join(job.found), "" if job.ready else job.remedy)
    return [machine, jobs]
