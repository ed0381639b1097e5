"""A conversion from MODEL to the output folder: read, run the stages, write the manifest.

The output folder appears, whole, when the last stage is through.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from ghostedge.console import Reporter, StageClock
from ghostedge.conversion.artefacts import artefacts
from ghostedge.conversion.compare import images_to_compare, missed_budgets, parity_words
from ghostedge.conversion.corrupted import with_corrupted
from ghostedge.conversion.guard import refuse_class_budgets, settle, state_file
from ghostedge.conversion.image_fit import hold_images, with_ranges
from ghostedge.conversion.images import UsableImages, usable_images
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.quantized_onnx import QuantizedSource, read_quantized_onnx
from ghostedge.conversion.run import ONNX, Made, Run, run_stages
from ghostedge.conversion.source import FloatSource, Source
from ghostedge.conversion.sources import is_quantized_onnx, load_module, source_kind
from ghostedge.conversion.stages import present, stages_for
from ghostedge.formats.table import TARGETS, require_writers
from ghostedge.records.image_fit import ImageFit
from ghostedge.records.manifest import Manifest, Stage
from ghostedge.records.output import check_target, staged_folder
from ghostedge_convert.sources.module import LoadedModule
from ghostedge_runtime.corruptions import chosen_corruptions
from ghostedge_runtime.errors import GhostEdgeError


def run_conversion(
    options: ConvertOptions, reporter: Reporter, module: LoadedModule | None = None
) -> Manifest:
    """Convert a network and write the output folder.

    Args:
        options: What is wanted.
        reporter: Told of the progress.
        module: What is converted, where it is in memory; else ``options.source.model`` is.

    Raises:
        InputError: The network, the images or the arguments cannot be used; nothing is written.
        Exception: A fault of ours while the finished files were looked at; they are in place.
    """
    output, clock = options.files.output, StageClock(reporter)
    is_quantized = module is None and is_quantized_onnx(options)
    check_target(output)
    require_writers(options.files.format)
    usable = usable_images(options.checks, reporter, decode_all=bool(options.guard.limits))
    if is_quantized:
        with clock.stage("read ONNX"):
            source: Source = read_quantized_onnx(options)
    else:
        source = _read_float(options, module, clock, reporter)
    source = replace(source, evaluation=usable.without_skipped(source.evaluation))
    if source.classes is None:
        refuse_class_budgets(options.guard)
    source, image_fit = hold_images(source, usable.calibration, clock)
    with staged_folder(output) as folder:
        run = _run(options, source, usable, clock, folder)
        run.note([f"{fact.name}: {fact.value} ({fact.origin})" for fact in source.inferred])
        run.note((*source.notes, *usable.notes))
        made = run_stages(stages_for(run), run)
        manifest = _manifest(options, run, made, usable)
        image_fit = with_ranges(image_fit, made.prepared, run.calibration)
        manifest = _with_image_fit(manifest, image_fit, strict=options.checks.strict)
        if source.is_quantized:
            run.note([parity_words(artefact) for artefact in manifest.artefacts])
        manifest.write(folder)
    settle(run.guard_file, made.guard)
    _raise_faults(made.failures)
    return manifest


def _read_float(
    options: ConvertOptions, module: LoadedModule | None, clock: StageClock, reporter: Reporter
) -> FloatSource:
    if module is not None:
        with clock.stage("load module"):
            return load_module(module, options)
    if options.source.factory is not None:
        reporter.note(f"  --factory {options.source.factory}: its code runs, for you named it")
    kind = source_kind(options)
    with clock.stage(f"load {kind.title}"):
        return kind.load(options)


def _run(
    options: ConvertOptions, source: Source, usable: UsableImages, clock: StageClock, folder: Path
) -> Run:
    name = options.source.artefact_name
    return Run(
        source=source,
        calibration=usable.calibration,
        images=images_to_compare(source, usable.calibration),
        folder=folder,
        name=name.removesuffix("_int8") if source.is_quantized else name,
        precisions=options.files.precisions,
        targets=tuple(
            TARGETS[format_] for format_ in options.files.format if format_ != ONNX.format.name
        ),
        threads=options.checks.threads,
        int8=options.int8,
        guard=options.guard,
        corruptions=chosen_corruptions(options.checks.corruptions or ()),
        corruption_images=options.checks.corruption_images,
        guard_file=state_file(options.files.output),
        reporter=clock.reporter,
        clock=clock,
    )


def _manifest(options: ConvertOptions, run: Run, made: Made, usable: UsableImages) -> Manifest:
    timing, source = present(made.timing), run.source
    records = with_corrupted(
        artefacts(made.files, made.findings or {}, timing.results), made.corrupted or {}
    )
    if isinstance(source, QuantizedSource):
        metadata = source.metadata
    else:
        metadata = present(made.original).metadata
    written_by = (name for target in (ONNX, *run.targets) for name in target.versions)
    exported_by = () if source.is_quantized else ("torch",)
    versioned = ("ghostedge", *exported_by, *written_by, "numpy", "Pillow")
    return Manifest(
        folder=options.files.output,
        name=run.name,
        source_sha256=source.file.sha256,
        metadata=json.loads(metadata.to_json()),
        inferred=source.inferred,
        notes=(*source.notes, *usable.notes, *made.notes),
        artefacts=records,
        stages=tuple(Stage(name, round(seconds, 3)) for name, seconds in run.clock.stages),
        arguments=options.to_dict(),
        versions={name: version(name) for name in versioned},
        run=replace(timing, results=()),
        missed=(*missed_budgets(records), *(made.guard.missed() if made.guard else ())),
        skipped_images=usable.skipped,
        unscored=tuple(map(_failure_words, made.failures)),
        guard=made.guard,
    )


def _with_image_fit(manifest: Manifest, image_fit: ImageFit, *, strict: bool) -> Manifest:
    missed = (*manifest.missed, *(image_fit.doubts if strict else ()))
    return replace(manifest, image_fit=image_fit, missed=missed)


def _failure_words(error: Exception) -> str:
    return str(error) if isinstance(error, GhostEdgeError) else f"{type(error).__name__}: {error}"


def _raise_faults(failures: Sequence[Exception]) -> None:
    """Raise what is a fault of ours, once the files are in place."""
    for error in failures:
        if not isinstance(error, GhostEdgeError):
            raise error
