"""The main job: network → ONNX → TFLite, float and smaller, each checked, scored and timed.

Every stage is a function of the one before it; this file is their order. The output folder
appears, whole, when the last stage is through.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from ghostedge.console import Reporter, StageClock
from ghostedge.conversion import measure, signals
from ghostedge.conversion.artefacts import (
    SMALL_WEIGHTS,
    Failures,
    Findings,
    FloatGraph,
    ModelFile,
    artefacts,
    deploy_graph,
    opened,
    output_words,
    prepared_graph,
    quantized_graph,
    small_graph,
    write_onnx,
    write_tflite,
)
from ghostedge.conversion.guard import budget_of, hold_budget, refuse_class_budgets, settle
from ghostedge.conversion.images import (
    Batches,
    ImageSet,
    decodable,
    usable_images,
)
from ghostedge.conversion.onnx_door import run_onnx
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import Loaded
from ghostedge.conversion.sources import is_quantized_onnx, load_given, source_kind
from ghostedge.records.manifest import Artefact, GuardReport, Manifest, Stage
from ghostedge.records.output import check_target, staged_folder
from ghostedge_convert.sources.module import LoadedModule
from ghostedge_runtime import Model
from ghostedge_runtime.errors import ImageError
from ghostedge_runtime.images import mode_of
from ghostedge_runtime.record import BenchRun

_VERSIONED = ("ghostedge", "torch", "onnx", "onnxruntime", "ai-edge-litert", "numpy", "Pillow")


def run(
    options: ConvertOptions, reporter: Reporter, module: LoadedModule | None = None
) -> Manifest:
    """Convert a network and write the output folder.

    Args:
        options: What is wanted.
        reporter: Is told of the progress.
        module: What is converted, where it is in memory; else ``options.source.model`` is.

    Raises:
        InputError: The network, the images or the arguments cannot be used; nothing is written.
        Exception: A fault of ours while the finished files were looked at; they are in place.
    """
    if module is None and is_quantized_onnx(options):
        return run_onnx(options, reporter)
    check_target(options.files.output)
    clock = StageClock(reporter)
    usable = usable_images(options, reporter)
    calibration = usable.calibration
    loaded = _loaded(options, module, clock, reporter)
    loaded = replace(loaded, evaluation=usable.without_skipped(loaded.evaluation))
    if loaded.classes is None:
        refuse_class_budgets(options)
    for fact in loaded.inferred:
        reporter.note(f"  {fact.name}: {fact.value} ({fact.origin})")
    for note in (*loaded.notes, *usable.notes):
        reporter.note(f"  {note}")
    failures = Failures()
    with staged_folder(options.files.output) as folder:
        with clock.stage("export and simplify"):
            graph = deploy_graph(loaded, options)
        if loaded.classes is None:
            reporter.note(f"  outputs: {output_words(graph.model)}")
        written = _write(
            graph=graph,
            loaded=loaded,
            calibration=calibration,
            options=options,
            folder=folder,
            clock=clock,
            reporter=reporter,
        )
        made, run = _judge(
            loaded=loaded,
            calibration=calibration,
            options=options,
            files=written.files,
            clock=clock,
            failures=failures,
            reporter=reporter,
        )
        manifest = Manifest(
            folder=options.files.output,
            name=options.source.artefact_name,
            source_sha256=loaded.source.sha256,
            metadata=json.loads(graph.metadata.to_json()),
            inferred=loaded.inferred,
            notes=(*loaded.notes, *usable.notes, *graph.notes, *written.notes),
            artefacts=made,
            stages=tuple(Stage(name, round(seconds, 3)) for name, seconds in clock.stages),
            arguments=options.to_dict(),
            versions={name: version(name) for name in _VERSIONED},
            run=run,
            missed=(
                *measure.missed_budgets(made),
                *(written.guard.missed() if written.guard else ()),
            ),
            skipped_images=usable.skipped,
            unscored=failures.words(),
            guard=written.guard,
        )
        manifest.write(folder)
    settle(options, written.guard)
    failures.raise_faults()
    return manifest


def _loaded(
    options: ConvertOptions, module: LoadedModule | None, clock: StageClock, reporter: Reporter
) -> Loaded:
    if module is not None:
        with clock.stage("load module"):
            return load_given(module, options)
    if options.source.factory is not None:
        reporter.note(f"  --factory {options.source.factory}: its code runs, for you named it")
    kind = source_kind(options)
    with clock.stage(f"load {kind.title}"):
        return kind.load(options)


@dataclass(frozen=True)
class _Written:
    """The files, what making them had to say, and how the guard's search went, if there was one."""

    files: Sequence[ModelFile]
    notes: tuple[str, ...]
    guard: GuardReport | None


def _write(
    *,
    graph: FloatGraph,
    loaded: Loaded,
    calibration: ImageSet | None,
    options: ConvertOptions,
    folder: Path,
    clock: StageClock,
    reporter: Reporter,
) -> _Written:
    """Write the float pair and a pair for every other precision that is wanted."""
    name = options.source.artefact_name
    files = _write_pair(graph, name, folder, clock)
    notes: list[str] = []
    report: GuardReport | None = None
    for precision in options.files.precisions:
        if precision in SMALL_WEIGHTS:
            with clock.stage(f"store {precision} weights"):
                made = small_graph(graph, precision)
        elif calibration is not None and precision == "int8":
            made, report = _int8(
                graph=graph,
                loaded=loaded,
                calibration=calibration,
                options=options,
                clock=clock,
                reporter=reporter,
            )
        else:
            continue
        for note in made.notes:
            reporter.note(f"  {note}")
        notes += made.notes
        files += _write_pair(made, name, folder, clock)
    return _Written(files, tuple(notes), report)


def _int8(
    *,
    graph: FloatGraph,
    loaded: Loaded,
    calibration: ImageSet,
    options: ConvertOptions,
    clock: StageClock,
    reporter: Reporter,
) -> tuple[FloatGraph, GuardReport | None]:
    """The int8 graph, held to the budget where there is one."""
    batches = Batches(calibration, graph.metadata.preprocessing, options.source.batch)
    with clock.stage("calibrate and quantize"):
        prepared = prepared_graph(graph, batches, options, reporter)
    budget = budget_of(options)
    if budget is None:
        return quantized_graph(graph, prepared, calibration, options), None
    with clock.stage("guard"):
        found = hold_budget(
            budget=budget,
            prepared=prepared,
            float_model=graph.model,
            loaded=loaded,
            calibration=calibration,
            options=options,
            reporter=reporter,
        )
    made = quantized_graph(graph, prepared, calibration, options, found.keep_float)
    return made, found.report


def _write_pair(graph: FloatGraph, name: str, folder: Path, clock: StageClock) -> list[ModelFile]:
    """Write a graph as ONNX and, lowered from it, as TFLite."""
    precision = graph.metadata.precision
    is_float = precision == "float32"
    stem = name if is_float else f"{name}_{precision}"
    onnx_file, tflite_file = folder / f"{stem}.onnx", folder / f"{stem}.tflite"
    with clock.stage("lower to TFLite" if is_float else f"lower {precision} to TFLite"):
        return [
            write_onnx(graph, onnx_file, None if is_float else f"{name}.onnx"),
            write_tflite(graph, tflite_file, onnx_file.name),
        ]


def _judge(
    *,
    loaded: Loaded,
    calibration: ImageSet | None,
    options: ConvertOptions,
    files: Sequence[ModelFile],
    clock: StageClock,
    failures: Failures,
    reporter: Reporter,
) -> tuple[tuple[Artefact, ...], BenchRun]:
    """Check, score and time the files that were written.

    Where an image turns out to be bad here, they are checked on the others and not scored.
    """
    images = measure.scoring_set(loaded, calibration)
    with opened(files) as models:

        def find(loaded: Loaded, images: ImageSet) -> dict[str, Findings]:
            by_kind = _class_findings if loaded.classes is not None else _signal_findings
            return by_kind(
                files=files,
                models=models,
                loaded=loaded,
                images=images,
                batch=options.source.batch,
                reporter=reporter,
            )

        with clock.stage("check and score"):
            findings = failures.attempt(lambda: find(loaded, images))
            if findings is None and isinstance(failures.last, ImageError):
                others, unlabelled = decodable(images), replace(loaded, evaluation=None)
                findings = failures.attempt(lambda: find(unlabelled, others))
        with clock.stage("time"):
            timed = failures.attempt(
                lambda: measure.time_all(files, options.checks.threads, reporter)
            )
        run = timed or measure.untimed_run()
        return artefacts(files, models, findings or {}, run.results), replace(run, results=())


def _class_findings(
    *,
    files: Sequence[ModelFile],
    models: Mapping[str, Model],
    loaded: Loaded,
    images: ImageSet,
    batch: int,
    reporter: Reporter,
) -> dict[str, Findings]:
    """Of a network that scores classes: what its files put first, and whether that is right."""
    logits = measure.collect_logits(models, images, mode_of(loaded.preprocessing), reporter)
    parity = measure.compare(files, models, logits, loaded, images, batch=batch)
    findings = {}
    for file in files:
        agreement, ratio = measure.to_float(file, files, logits)
        findings[file.path.name] = Findings(
            parity=parity[file.path.name],
            accuracy=measure.accuracy(logits[file.path.name], loaded.evaluation),
            float_agreement_pct=agreement,
            float_sqnr_db=ratio,
        )
    return findings


def _signal_findings(
    *,
    files: Sequence[ModelFile],
    models: Mapping[str, Model],
    loaded: Loaded,
    images: ImageSet,
    batch: int,
    reporter: Reporter,
) -> dict[str, Findings]:
    """Of any other network: how far its files' outputs are apart."""
    found = signals.compare(files, models, loaded, images, batch=batch, reporter=reporter)
    return {
        name: Findings(parity=each.parity, float_sqnr_db=each.float_sqnr_db)
        for name, each in found.items()
    }
