"""The main job: checkpoint → ONNX → TFLite, float and int8, each checked, scored and timed.

Every stage is a function of the one before it; this file is their order. The output folder
appears, whole, when the last stage is through.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from ghostedge.console import Reporter, StageClock
from ghostedge.conversion import measure
from ghostedge.conversion.artefacts import (
    FloatGraph,
    ModelFile,
    deploy_graph,
    opened,
    quantized_graph,
    write_onnx,
    write_tflite,
)
from ghostedge.conversion.imagesets import (
    Batches,
    ImageSet,
    calibration_set,
)
from ghostedge.conversion.load import Loaded, load
from ghostedge.conversion.options import ConvertOptions, artefact_name
from ghostedge.manifest import Artefact, Manifest, Stage, TensorSignature
from ghostedge.output import check_target, staged_folder
from ghostedge_runtime import host_facts
from ghostedge_runtime.backend import TensorInfo

_VERSIONED = ("ghostedge", "torch", "onnx", "onnxruntime", "ai-edge-litert", "numpy", "Pillow")


def run(options: ConvertOptions, reporter: Reporter) -> Manifest:
    """Convert a checkpoint and write the output folder.

    Raises:
        InputError: The checkpoint, the images or the arguments cannot be used; nothing is written.
    """
    check_target(options.output)
    clock = StageClock(reporter)
    calibration = None
    if options.calib is not None:
        calibration = calibration_set(options.calib, options.calib_images)
    with clock.stage("load checkpoint"):
        loaded = load(options)
    for fact in loaded.inferred:
        reporter.note(f"  {fact.name}: {fact.value} ({fact.origin})")
    for note in loaded.notes:
        reporter.note(f"  {note}")
    with staged_folder(options.output) as folder:
        with clock.stage("export and simplify"):
            graph = deploy_graph(loaded, options)
        files, notes = _write(
            graph=graph,
            calibration=calibration,
            options=options,
            folder=folder,
            clock=clock,
            reporter=reporter,
        )
        artefacts = _judge(
            loaded=loaded,
            calibration=calibration,
            options=options,
            files=files,
            clock=clock,
            reporter=reporter,
        )
        manifest = Manifest(
            folder=options.output,
            name=artefact_name(options.model),
            source_sha256=loaded.source.sha256,
            metadata=json.loads(graph.metadata.to_json()),
            inferred=loaded.inferred,
            notes=(*loaded.notes, *graph.notes, *notes),
            artefacts=artefacts,
            stages=tuple(Stage(name, round(seconds, 3)) for name, seconds in clock.stages),
            arguments=options.to_dict(),
            versions={name: version(name) for name in _VERSIONED},
            host=asdict(host_facts()),
            missed=measure.missed_budgets(artefacts),
        )
        manifest.write(folder)
    return manifest


def _write(
    *,
    graph: FloatGraph,
    calibration: ImageSet | None,
    options: ConvertOptions,
    folder: Path,
    clock: StageClock,
    reporter: Reporter,
) -> tuple[list[ModelFile], tuple[str, ...]]:
    """Write the float pair and, when images to calibrate on are given, the int8 pair.

    Returns:
        The files, and what quantizing had to say.
    """
    name = artefact_name(options.model)
    onnx_file, tflite_file = folder / f"{name}.onnx", folder / f"{name}.tflite"
    with clock.stage("lower to TFLite"):
        files = [
            write_onnx(graph, onnx_file, None),
            write_tflite(graph, tflite_file, onnx_file.name),
        ]
    if calibration is None:
        return files, ()
    batches = Batches(calibration, graph.metadata.preprocessing, options.batch)
    with clock.stage("calibrate and quantize"):
        quantized = quantized_graph(graph, calibration, batches, options, reporter)
    for note in quantized.notes:
        reporter.note(f"  {note}")
    onnx_int8, tflite_int8 = folder / f"{name}_int8.onnx", folder / f"{name}_int8.tflite"
    with clock.stage("lower int8 to TFLite"):
        files += [
            write_onnx(quantized, onnx_int8, onnx_file.name),
            write_tflite(quantized, tflite_int8, onnx_int8.name),
        ]
    return files, quantized.notes


def _judge(
    *,
    loaded: Loaded,
    calibration: ImageSet | None,
    options: ConvertOptions,
    files: Sequence[ModelFile],
    clock: StageClock,
    reporter: Reporter,
) -> tuple[Artefact, ...]:
    """Check, score and time the files that were written."""
    images = measure.scoring_set(loaded, calibration)
    with opened(files) as models:
        with clock.stage("check and score"):
            logits = measure.collect_logits(models, images, reporter)
            parity = measure.compare(files, logits, loaded, images)
        with clock.stage("time"):
            latency = measure.latencies(files, measure.time_all(files, options.threads, reporter))
        return tuple(
            Artefact(
                file=file.path.name,
                format=file.format,
                precision=file.precision,
                bytes=file.path.stat().st_size,
                sha256=hashlib.sha256(file.path.read_bytes()).hexdigest(),
                inputs=_signature((models[file.path.name].io.input,)),
                outputs=_signature(models[file.path.name].io.outputs),
                parity=parity[file.path.name],
                float_agreement_pct=measure.float_agreement_pct(file, files, logits),
                accuracy=measure.accuracy(logits[file.path.name], loaded),
                latency=latency[file.path.name],
            )
            for file in files
        )


def _signature(tensors: Sequence[TensorInfo]) -> tuple[TensorSignature, ...]:
    return tuple(
        TensorSignature(t.name, t.dtype, tuple(t.shape), t.scale, t.zero_point) for t in tensors
    )
