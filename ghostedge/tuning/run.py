"""One run of ``ghostedge tune``: take up a conversion, search or replay, write the files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ghostedge.console import Reporter
from ghostedge.conversion.guard import refuse_class_budgets
from ghostedge.records.manifest import MANIFEST_NAME, Artefact, Manifest
from ghostedge.records.output import check_file, write_file
from ghostedge.records.recipe import RECIPE_NAME, FileRecipe, Recipe, read_recipe, rules_for
from ghostedge.records.tuning import MEASUREMENTS_NAME, Trial, TunedFile, TuningReport, tuned_name
from ghostedge.tuning.options import TuneOptions
from ghostedge.tuning.reopen import FORMATS, Conversion, float_graph, read_manifest, reopen
from ghostedge.tuning.score import Images, Scorer
from ghostedge.tuning.searching import Job, search_format
from ghostedge_quantize.guard.search import Deadline
from ghostedge_quantize.int8 import int8_layers
from ghostedge_runtime.errors import DeviceError, InputError
from ghostedge_runtime.formats.loading import whole_digest
from ghostedge_runtime.images import LabelledImages, list_labelled


def tune(options: TuneOptions, reporter: Reporter) -> Manifest:
    """Write the fastest files that keep the budget into a conversion's folder.

    Args:
        options: What is wanted.
        reporter: Told of the progress.

    Returns:
        The conversion's manifest with ``tuning`` in it, as it was written.

    Raises:
        InputError: The folder, the images, the recipe or the arguments cannot be used.
        DeviceError: The device went away; what was measured is kept.
    """
    start = time.monotonic()
    manifest = read_manifest(options.folder)
    formats, recipe = _formats(options, manifest), None
    if options.recipe is not None:
        recipe = read_recipe(options.recipe)
        _check_recipe(recipe, manifest, formats, options.recipe)
    check_file(options.folder / MEASUREMENTS_NAME)
    evaluation = _evaluation(options, manifest, reporter)
    conversion = reopen(manifest, options.calib, reporter)
    scorer = _scorer(options, conversion, evaluation)
    with tempfile.TemporaryDirectory(prefix="ghostedge_tune_") as name:
        job = Job(options, conversion, scorer, reporter, Path(name))
        report = _replayed(job, recipe) if recipe else _searched(job, formats)
        report = replace(report, seconds=round(time.monotonic() - start, 3))
        return _written(job, replace(manifest, tuning=report))


def _searched(job: Job, formats: tuple[str, ...]) -> TuningReport:
    report = _report(job)
    deadline = time.monotonic() + 60 * job.options.minutes
    for place, format_ in enumerate(formats):
        seconds = (deadline - time.monotonic()) / (len(formats) - place)
        with _keeping(job):
            found = search_format(job, format_, Deadline(max(0.0, seconds)))
        report = replace(
            report,
            machine=found.machine or report.machine,
            files=(*report.files, found.file),
            missed=(*report.missed, *found.missed),
            loads=report.loads + found.loads,
            resumed=report.resumed + found.resumed,
            marks={
                kind: report.marks.get(kind, 0) + found.marks.get(kind, 0)
                for kind in sorted({*report.marks, *found.marks})
            },
        )
    return report


@contextmanager
def _keeping(job: Job) -> Iterator[None]:
    """Say, where measuring ends too early, that nothing measured is lost."""
    try:
        yield
    except (DeviceError, KeyboardInterrupt):
        job.reporter.note(
            f"what was measured is kept in {job.options.folder / MEASUREMENTS_NAME}; "
            "the same command goes on from there"
        )
        raise


def _replayed(job: Job, recipe: Recipe) -> TuningReport:
    """Write the files of a recipe; they are scored, not timed."""
    report, where = _report(job), job.options.recipe or Path(RECIPE_NAME)
    layers = job.conversion.layers
    for format_, entry in recipe.files.items():
        keep = entry.float_layers(layers, where)
        path = job.folder / tuned_name(job.conversion.manifest.name, format_)
        job.conversion.write(format_, keep, path, split=entry.split)
        file = _replayed_file(job, format_, path, entry, keep)
        held = file.trials[0].holds
        missed = () if held else (f"{path.name} misses the budget: {job.options.limits}",)
        report = replace(report, files=(*report.files, file), missed=(*report.missed, *missed))
    return report


def _replayed_file(
    job: Job, format_: str, path: Path, entry: FileRecipe, keep: tuple[str, ...]
) -> TunedFile:
    sha256, size = whole_digest(path.read_bytes(), path)
    (quality,) = job.scorer([path])
    words = f"{len(keep)} of {len(job.conversion.layers)} layers float"
    trial = Trial(
        choice=words,
        float_layers=len(keep),
        sha256=sha256,
        bytes=size,
        agreement_pct=quality.agreement_pct,
        top1_pct=quality.top1_pct,
        holds=quality.holds,
    )
    return TunedFile(
        file=path.name,
        format=format_,
        backend=entry.backend,
        threads=entry.threads,
        choice=words,
        float_layers=keep,
        layer_count=len(job.conversion.layers),
        sha256=sha256,
        verdict=f"{path.name}: {words}, as {job.options.recipe} has it; not timed",
        stopped="recipe",
        trials=(trial,),
        split=entry.split,
    )


def _report(job: Job) -> TuningReport:
    return TuningReport(
        device=job.options.device,
        machine=None,
        budget=str(job.options.limits),
        image_source=job.scorer.image_source,
        files=(),
    )


def _written(job: Job, manifest: Manifest) -> Manifest:
    """Put the tuned files, the recipe and the manifest into the folder, each whole."""
    folder, report = job.options.folder, manifest.tuning
    if report is None:
        raise ValueError("nothing was tuned")
    layers = job.conversion.layers
    recipe = Recipe(
        {
            file.format: FileRecipe(
                rules_for(layers, file.float_layers), file.backend, file.threads, file.split
            )
            for file in report.files
        }
    )
    manifest.write(job.folder)
    for file in report.files:
        write_file(folder / file.file, (job.folder / file.file).read_bytes())
    write_file(folder / RECIPE_NAME, recipe.to_json().encode())
    write_file(folder / MANIFEST_NAME, (job.folder / MANIFEST_NAME).read_bytes())
    return manifest


def _formats(options: TuneOptions, manifest: Manifest) -> tuple[str, ...]:
    """The formats to tune.

    Raises:
        InputError: One that was asked for is none that the conversion has in float32 and int8.
    """
    present = tuple(name for name in FORMATS if _has_both(manifest, name))
    for name in options.format or ():
        if name not in present:
            raise InputError(
                f"the conversion has no float32 and int8 files of {name!r} to choose between",
                where="--format",
                remedy=f"use some of {', '.join(present)}",
            )
    return tuple(name for name in present if options.format is None or name in options.format)


def _has_both(manifest: Manifest, format_: str) -> bool:
    precisions = {a.precision for a in manifest.artefacts if a.format == format_}
    return {"float32", "int8"} <= precisions


def _check_recipe(
    recipe: Recipe, manifest: Manifest, formats: tuple[str, ...], where: Path
) -> None:
    """Refuse a recipe of other files or layers, before the network is quantized again."""
    layers = int8_layers(float_graph(manifest).model)
    for name, entry in recipe.files.items():
        if name not in formats:
            raise InputError(
                f"files.{name}: it is none of the files to be written",
                where=where,
                remedy=f"the conversion and --format have {', '.join(formats)}",
            )
        entry.float_layers(layers, where)


def _evaluation(
    options: TuneOptions, manifest: Manifest, reporter: Reporter
) -> LabelledImages | None:
    """The labelled images: ``--eval``'s, else those of the conversion, where they still are.

    Raises:
        InputError: A budget of answers is given for a network that puts no class first, or a drop
            without labels.
    """
    if not manifest.metadata.get("classifies", True):
        _refuse_answers(options)
        return None
    stated, before = options.eval, manifest.arguments.get("eval")
    folder = stated or (Path(str(before)) if before and Path(str(before)).is_dir() else None)
    if folder is None:
        if options.max_drop is not None:
            raise InputError(
                "a drop in accuracy needs labelled images",
                where="--max-drop",
                remedy="pass --eval FOLDER, or use --min-agreement, which needs no labels",
            )
        return None
    labels = manifest.metadata.get("labels")
    listed = list_labelled(folder, labels, _classes(manifest.artefacts[0], manifest))
    reporter.note(f"score on {folder}" + ("" if stated else ", the conversion's --eval"))
    return listed.without({Path(image.file) for image in manifest.skipped_images})


def _refuse_answers(options: TuneOptions) -> None:
    """Refuse what is about the answers of a network that puts no class first."""
    refuse_class_budgets(options.guard)
    if options.eval is not None:
        raise InputError(
            "the network scores no classes, so there is no top-1 to count",
            where="--eval",
            remedy="leave it out; the files are timed without it",
        )


def _classes(artefact: Artefact, manifest: Manifest) -> int:
    count = artefact.outputs[0].shape[-1] or 1
    return 2 if manifest.metadata.get("binary") else count


def _scorer(
    options: TuneOptions, conversion: Conversion, evaluation: LabelledImages | None
) -> Scorer:
    metadata = conversion.original.metadata
    images = None
    if metadata.classifies:
        images = Images.unlabelled(conversion.calibration)
    if evaluation is not None:
        images = Images.labelled(evaluation)
    own, _ = conversion.pair("onnx")
    return Scorer(conversion.folder / own.file, metadata.preprocessing, images, options.limits)
