"""The stages of a conversion, in their order: network → ONNX → the other formats, each checked.

A network's float files come first, then those of smaller weights, then int8. An ONNX file that
another tool quantized is a source of other stages: its graph is brought to the form that is
lowered, and compared with itself. Every other format is made from the ONNX files and compared with
them; which formats there are, the table of `ghostedge.formats.table` says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

from ghostedge.conversion.artefacts import HeldTo, ModelFile, opened
from ghostedge.conversion.compare import compare
from ghostedge.conversion.corrupted import score_on_corrupted
from ghostedge.conversion.graphs import (
    SMALL_WEIGHTS,
    Graph,
    deploy_graph,
    float_graph,
    output_words,
    prepared_graph,
    quantized_graph,
    small_graph,
)
from ghostedge.conversion.guard import hold_budget
from ghostedge.conversion.image_fit import range_findings, range_fits
from ghostedge.conversion.images import Batches, decodable
from ghostedge.conversion.quantized_onnx import (
    QuantizedSource,
    normalization_notes,
    requantizing_losses,
    requantizing_words,
)
from ghostedge.conversion.run import ONNX, Made, Run, Stage
from ghostedge.conversion.source import FloatSource
from ghostedge.conversion.timing import time_all, untimed_run
from ghostedge.formats.table import Target, resolve
from ghostedge_runtime.errors import ImageError
from ghostedge_runtime.metadata import Precision

T = TypeVar("T")


def stages_for(run: Run) -> tuple[Stage, ...]:
    """The stages that a run's source, precisions, formats and corruptions ask for."""
    looks = (_COMPARE, _CORRUPT, _TIME) if run.corruptions else (_COMPARE, _TIME)
    if isinstance(run.source, QuantizedSource):
        return (*_of_quantized(run.source, run), *looks)
    return (*_of_float(run), *looks)


def _of_quantized(source: QuantizedSource, run: Run) -> Iterator[Stage]:
    yield _stage("normalize", normalize, gives="graph normalized files")
    for target in run.targets:
        yield _lower(target, "float32")
    if source.requantize:
        needs = "normalized files"
        yield _stage("measure what requantizing cost", measure_requantizing, needs=needs)


def _of_float(run: Run) -> Iterator[Stage]:
    yield _stage("export and simplify", export, gives="original graph files")
    for precision in run.precisions:
        if precision in SMALL_WEIGHTS:
            store = partial(store_weights, precision=precision)
            title = f"store {precision} weights"
            yield _stage(title, store, needs="original", gives="graph files")
        elif precision == "int8":
            yield from _of_int8(run)
        for target in run.targets:
            yield _lower(target, precision)


def _of_int8(run: Run) -> Iterator[Stage]:
    title = "calibrate and quantize"
    if run.guard.limits:
        yield _stage(title, calibrate, needs="original", gives="prepared")
        yield _stage("guard", hold, needs="original prepared", gives="graph files guard")
    else:
        yield _stage(title, quantize, needs="original", gives="prepared graph files")


def _lower(target: Target, precision: Precision) -> Stage:
    words = "" if precision == "float32" else f"{precision} "
    title = f"lower {words}to {target.title}"
    return _stage(title, partial(lower, target=target), needs="graph files", gives="files")


def _stage(
    title: str, work: Callable[[Run, Made], Made], *, needs: str = "", gives: str = ""
) -> Stage:
    return Stage(title, work, frozenset(needs.split()), frozenset(gives.split()))


def export(run: Run, made: Made) -> Made:
    """Export the network, simplify the graph, write it as ONNX."""
    source = run.source_of(FloatSource)
    original = deploy_graph(source)
    if source.classes is None:
        run.note([f"outputs: {output_words(original.model)}"])
    graph = float_graph(original)
    written = _write(run, ONNX, graph, None, HeldTo(ONNX, source.origin_precision))
    return replace(
        made,
        original=original,
        graph=graph,
        files=(*made.files, written),
        notes=(*made.notes, *graph.notes),
    )


def store_weights(run: Run, made: Made, *, precision: Precision) -> Made:
    """Store the weights as float16 or int8 and write the graph as ONNX."""
    graph = small_graph(float_graph(present(made.original)), precision)
    return _with_graph(run, made, graph)


def calibrate(run: Run, made: Made) -> Made:
    """Measure everything that an int8 graph needs."""
    images = present(run.calibration)
    batches = Batches(images, run.source.preprocessing, run.source.batch)
    prepared = prepared_graph(present(made.original), batches, run.int8, run.reporter)
    run.note([str(finding) for finding in range_findings(range_fits(prepared, images))])
    return replace(made, prepared=prepared)


def quantize(run: Run, made: Made) -> Made:
    """Calibrate the graph, quantize all of it and write it as ONNX."""
    return _with_int8(run, calibrate(run, made), ())


def hold(run: Run, made: Made) -> Made:
    """Leave layers float until int8 keeps the budget, and write that graph as ONNX."""
    guarded = hold_budget(run, present(made.prepared), present(made.original).model)
    return replace(_with_int8(run, made, guarded.keep_float), guard=guarded.report)


def normalize(run: Run, made: Made) -> Made:
    """Write a quantized source's graph as it is, and bring it to the form that is lowered."""
    source = run.source_of(QuantizedSource)
    normalized = source.normalized()
    graph = Graph(normalized.model, source.metadata, normalization_notes(normalized))
    held_to = HeldTo(ONNX, "float32")  # it is the same graph as the source
    written = _write(run, ONNX, replace(graph, model=source.pinned.model), None, held_to)
    run.note(graph.notes)
    return replace(
        made,
        graph=graph,
        normalized=normalized,
        files=(*made.files, written),
        notes=(*made.notes, *graph.notes),
    )


def lower(run: Run, made: Made, *, target: Target) -> Made:
    """Write the graph in another format, to be compared with its ONNX file."""
    graph, onnx_file = present(made.graph), _last_onnx(made)
    # Integers that had to be rounded are as far from their source's as int8 is from float.
    rounded = made.normalized is not None and made.normalized.requantized
    held_to = HeldTo(ONNX if rounded else target, graph.metadata.precision)
    written = _write(run, target, graph, onnx_file.path.name, held_to)
    return replace(made, files=(*made.files, written))


def measure_requantizing(run: Run, made: Made) -> Made:
    """Say what rounding a quantized source's numbers cost, on some of the images."""
    source, normalized = run.source_of(QuantizedSource), present(made.normalized)
    if not normalized.requantized:
        return made
    losses, failures = _attempt(
        lambda: requantizing_losses(source, normalized, _last_onnx(made).path, run.images)
    )
    notes = requantizing_words(normalized, losses or ())
    run.note(notes)
    return replace(made, notes=(*made.notes, *notes), failures=(*made.failures, *failures))


def check(run: Run, made: Made) -> Made:
    """Compare and score the files.

    Where an image turns out to be bad here, they are compared on the others and not scored.
    """
    with opened(made.files) as models:
        files, source, images = made.files, run.source, run.images
        findings, failures = _attempt(lambda: compare(files, models, source, images, run.reporter))
        if failures and isinstance(failures[0], ImageError):
            others, unlabelled = decodable(images), replace(source, evaluation=None)
            findings, more = _attempt(
                lambda: compare(files, models, unlabelled, others, run.reporter)
            )
            failures = (*failures, *more)
    return replace(made, findings=findings or {}, failures=(*made.failures, *failures))


def score_worse(run: Run, made: Made) -> Made:
    """Score the files on corrupted images."""
    scores, failures = _attempt(lambda: score_on_corrupted(run, made.files))
    return replace(made, corrupted=scores or {}, failures=(*made.failures, *failures))


def time(run: Run, made: Made) -> Made:
    """Time the files, each in a process of its own."""
    paths = [file.path for file in made.files]
    timing, failures = _attempt(lambda: time_all(paths, run.threads, run.reporter))
    return replace(made, timing=timing or untimed_run(), failures=(*made.failures, *failures))


_COMPARE = _stage("check and score", check, needs="files", gives="findings")
_CORRUPT = _stage("score corrupted images", score_worse, needs="files", gives="corrupted")
_TIME = _stage("time", time, needs="files", gives="timing")


def present(part: T | None) -> T:
    """What the contract of a stage, which has been checked, says is there."""
    if part is None:
        raise ValueError("a stage does not state all that it needs")
    return part


def _with_int8(run: Run, made: Made, keep_float: Collection[str]) -> Made:
    original, prepared = present(made.original), present(made.prepared)
    graph = quantized_graph(original, prepared, present(run.calibration), keep_float)
    return _with_graph(run, made, graph)


def _with_graph(run: Run, made: Made, graph: Graph) -> Made:
    """A graph made from the float one, and its ONNX file, which is compared with that one's."""
    run.note(graph.notes)
    held_to = HeldTo(ONNX, graph.metadata.precision)
    written = _write(run, ONNX, graph, made.files[0].path.name, held_to)
    return replace(
        made,
        graph=graph,
        files=(*made.files, written),
        notes=(*made.notes, *graph.notes),
    )


def _write(
    run: Run, target: Target, graph: Graph, reference: str | None, held_to: HeldTo
) -> ModelFile:
    precision = graph.metadata.precision
    stem = run.name if precision == "float32" else f"{run.name}_{precision}"
    path = run.folder / f"{stem}{target.format.suffix}"
    orders = resolve(target.writes)(graph.model, graph.metadata, path)
    return ModelFile(path, target.format.name, precision, reference, held_to, orders)


def _last_onnx(made: Made) -> ModelFile:
    return next(file for file in reversed(made.files) if file.format == ONNX.format.name)


def _attempt(work: Callable[[], T]) -> tuple[T | None, tuple[Exception, ...]]:
    """What ``work`` returns, or why it failed: finished files took hours, and are kept."""
    try:
        return work(), ()
    except Exception as error:  # whatever it is
        return None, (error,)
