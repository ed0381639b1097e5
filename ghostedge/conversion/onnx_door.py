"""The other way in: a QDQ ``.onnx`` that any quantizer made → int8 TFLite, checked against it.

The source is the reference. What is written is its own graph, unchanged but for fixed sizes and the
metadata inside, and the TFLite that computes the same integers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ghostedge.console import Reporter, StageClock
from ghostedge.conversion import measure
from ghostedge.conversion.artefacts import Failures, ModelFile
from ghostedge.conversion.images import (
    PARITY_IMAGES,
    ImageSet,
    UsableImages,
    synthetic_set,
    usable_images,
)
from ghostedge.conversion.onnx_checks import judge, parity_words
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.quantized_onnx import OnnxSource, loss_words, losses, read_source
from ghostedge.records.manifest import Artefact, Manifest, Stage
from ghostedge.records.output import check_target, staged_folder
from ghostedge_convert import (
    Loss,
    Normalized,
    embed_onnx_metadata,
    left_float,
    lower_to_tflite,
    normalize_qdq,
)
from ghostedge_runtime import Model
from ghostedge_runtime.record import BenchRun

_VERSIONED = ("ghostedge", "onnx", "onnxruntime", "ai-edge-litert", "numpy", "Pillow")


@dataclass(frozen=True)
class _Work:
    """What the stages of one run share."""

    options: ConvertOptions
    reporter: Reporter
    clock: StageClock
    source: OnnxSource
    usable: UsableImages
    images: ImageSet
    failures: Failures


def run_onnx(options: ConvertOptions, reporter: Reporter) -> Manifest:
    """Lower a quantized ONNX model and write the output folder.

    Raises:
        InputError: The model, the images or the arguments cannot be used, or TFLite has no form
            for something in the model; nothing is written.
    """
    check_target(options.files.output)
    clock = StageClock(reporter)
    usable = usable_images(options, reporter)
    with clock.stage("read ONNX"):
        source = read_source(options)
        source = replace(source, evaluation=usable.without_skipped(source.evaluation))
        images = _images(usable, source)
    work = _Work(options, reporter, clock, source, usable, images, Failures())
    for fact in source.inferred:
        reporter.note(f"  {fact.name}: {fact.value} ({fact.origin})")
    with staged_folder(options.files.output) as folder:
        with clock.stage("lower to TFLite"):
            normalized = normalize_qdq(source.pinned.model, requantize=options.source.requantize)
            files = _write(work, normalized, folder)
        notes = _notes(work, normalized, files[0])
        for note in notes:
            reporter.note(f"  {note}")
        artefacts, run = judge(
            source,
            files,
            images,
            threads=options.checks.threads,
            exact=not normalized.requantized,
            clock=clock,
            failures=work.failures,
            reporter=reporter,
        )
        for artefact in artefacts:
            reporter.note(f"  {parity_words(artefact)}")
        manifest = _manifest(work, artefacts, run, notes)
        manifest.write(folder)
    work.failures.raise_faults()
    return manifest


def _images(usable: UsableImages, source: OnnxSource) -> ImageSet:
    """The evaluation set, else the images of ``--calib``, else synthetic ones."""
    if source.evaluation is not None:
        count = len(source.evaluation.paths)
        return ImageSet(source.evaluation.paths, f"{count} evaluation images")
    if usable.calibration is not None:
        found = usable.calibration
        return ImageSet(found.sources, f"{len(found)} images of --calib")
    return synthetic_set(source.metadata.preprocessing)


def _write(work: _Work, normalized: Normalized, folder: Path) -> tuple[ModelFile, ModelFile]:
    """The source with metadata inside, and the TFLite."""
    name = work.options.source.artefact_name.removesuffix("_int8")
    onnx_file, tflite_file = folder / f"{name}_int8.onnx", folder / f"{name}_int8.tflite"
    metadata = work.source.metadata
    explained = embed_onnx_metadata(work.source.pinned.model, metadata)
    onnx_file.write_bytes(explained.SerializeToString(deterministic=True))
    channels_last = replace(metadata, input=replace(metadata.input, layout="NHWC"))
    tflite_file.write_bytes(lower_to_tflite(normalized.model, metadata=channels_last).data)
    return (
        ModelFile(onnx_file, "onnx", "int8", None),
        ModelFile(tflite_file, "tflite", "int8", onnx_file.name),
    )


def _notes(work: _Work, normalized: Normalized, onnx_file: ModelFile) -> tuple[str, ...]:
    """What was done to the graph, what stays float, what requantizing cost."""
    floats = left_float(normalized.model)
    stays: tuple[str, ...] = ()
    if floats:
        shown = ", ".join(floats[:3]) + (", …" if len(floats) > 3 else "")
        stays = (f"nodes without a pair around them, which stay float: {len(floats)} ({shown})",)
    found: tuple[str, ...] = ()
    if normalized.requantized:

        def measured() -> Sequence[Loss]:
            with Model(onnx_file.path) as model:
                batches = _batches(model, work.images.head(PARITY_IMAGES))
            return losses(work.source.pinned.model, normalized.requantized, batches)

        with work.clock.stage("measure what requantizing cost"):
            values = work.failures.attempt(measured) or ()
        found = tuple(map(loss_words, normalized.requantized, values))
    applied = (f"{note.name}: {note.note}" for note in normalized.applied)
    return (*work.usable.notes, *work.source.pinned.notes, *applied, *stays, *found)


def _batches(model: Model, images: ImageSet) -> list[npt.NDArray[np.generic]]:
    """The images as full batches of the model's own size."""
    single = [model.preprocess(source) for source in images.sources]
    size = model.io.input.shape[0] or 1
    return [
        np.concatenate([*single[start : start + size], *single[-1:] * size])[:size]
        for start in range(0, len(single), size)
    ]


def _manifest(
    work: _Work, artefacts: tuple[Artefact, ...], run: BenchRun, notes: tuple[str, ...]
) -> Manifest:
    source = work.source.metadata.source
    return Manifest(
        folder=work.options.files.output,
        name=work.options.source.artefact_name.removesuffix("_int8"),
        source_sha256="" if source is None else source.sha256,
        metadata=json.loads(work.source.metadata.to_json()),
        inferred=work.source.inferred,
        notes=notes,
        artefacts=artefacts,
        stages=tuple(Stage(name, round(seconds, 3)) for name, seconds in work.clock.stages),
        arguments=work.options.to_dict(),
        versions={name: version(name) for name in _VERSIONED},
        run=run,
        missed=measure.missed_budgets(artefacts),
        skipped_images=work.usable.skipped,
        unscored=work.failures.words(),
    )
