"""The files made from somebody's ONNX model, held against it, scored and timed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ghostedge.console import Reporter, StageClock
from ghostedge.conversion import measure
from ghostedge.conversion.artefacts import (
    Failures,
    Findings,
    ModelFile,
    artefacts,
    opened,
)
from ghostedge.conversion.checks import BUDGETS, Budget, Scores, class_budget, parity
from ghostedge.conversion.images import PARITY_IMAGES, ImageSet, decodable, spread
from ghostedge.conversion.parts import output_parts
from ghostedge.conversion.quantized_onnx import OnnxSource
from ghostedge.conversion.signals import OutputGap, signal_parity
from ghostedge.records.manifest import Artefact, Parity
from ghostedge_convert import embed_onnx_metadata
from ghostedge_runtime import Model
from ghostedge_runtime.errors import ImageError
from ghostedge_runtime.images import mode_of
from ghostedge_runtime.record import BenchRun

# Whose budgets the files are held to: the same graph as a float ONNX is to its network, the same
# integers as an int8 TFLite is to its ONNX, requantized ones as an int8 ONNX is to the float.
_SAME_GRAPH = ("onnx", "float32")
_SAME_INTEGERS = ("tflite", "int8")
_REQUANTIZED = ("onnx", "int8")


def judge(
    source: OnnxSource,
    files: Sequence[ModelFile],
    images: ImageSet,
    *,
    threads: int,
    exact: bool,
    clock: StageClock,
    failures: Failures,
    reporter: Reporter,
) -> tuple[tuple[Artefact, ...], BenchRun]:
    """Check, score and time the files that were written.

    Args:
        source: The model they were made from.
        files: The ONNX file, then the TFLite.
        images: What they are compared and scored on.
        threads: Of one inference, when timing.
        exact: Whether both are made of the same integers, so that the tighter budget holds.
        clock: Counts the stages.
        failures: Takes what goes wrong.
        reporter: Is told of the progress.
    """
    with opened(files) as models:

        def find(source: OnnxSource, images: ImageSet) -> dict[str, Findings]:
            mode = mode_of(source.metadata.preprocessing)
            logits = measure.collect_logits(models, images, mode, reporter)
            return {
                name: Findings(found, accuracy=measure.accuracy(logits[name], source.evaluation))
                for name, found in _parities(source, files, logits, images, exact=exact).items()
            }

        with clock.stage("check and score"):
            findings = failures.attempt(lambda: find(source, images))
            if findings is None and isinstance(failures.last, ImageError):
                others, unlabelled = decodable(images), replace(source, evaluation=None)
                findings = failures.attempt(lambda: find(unlabelled, others))
        with clock.stage("time"):
            timed = failures.attempt(lambda: measure.time_all(files, threads, reporter))
        run = timed or measure.untimed_run()
        return artefacts(files, models, findings or {}, run.results), replace(run, results=())


def parity_words(artefact: Artefact) -> str:
    """One line: how far a file is from what it was made from."""
    if artefact.parity is None:
        return f"{artefact.file} could not be checked"
    return measure.parity_words(artefact.file, artefact.parity)


def _parities(
    source: OnnxSource,
    files: Sequence[ModelFile],
    logits: Mapping[str, Scores],
    images: ImageSet,
    *,
    exact: bool,
) -> dict[str, Parity]:
    """The ONNX file against the source on some of the images, the TFLite against it on all."""
    first, second = (file.path.name for file in files)
    origin = "MODEL" if source.metadata.source is None else source.metadata.source.file
    some = images.head(PARITY_IMAGES)
    mine = logits[first][spread(len(images), PARITY_IMAGES)]
    compared = (
        (first, mine, _source_logits(source, some), origin, some, _SAME_GRAPH),
        (
            *(second, logits[second], logits[first], first, images),
            _SAME_INTEGERS if exact else _REQUANTIZED,
        ),
    )
    return {
        name: _parity(source, found, wanted, reference=reference, images=seen, made=made)
        for name, found, wanted, reference, seen, made in compared
    }


def _parity(
    source: OnnxSource,
    found: Scores,
    wanted: Scores,
    *,
    reference: str,
    images: ImageSet,
    made: tuple[str, str],
) -> Parity:
    """By the budget of a file that was ``made`` of its reference: format and precision."""
    if source.kind.classes is None:
        (name,) = (output.name for output in source.pinned.model.graph.output)
        gap = OutputGap.between(found, wanted, output_parts(source.pinned.model)[name])
        return signal_parity({name: gap}, reference, images, BUDGETS[made])
    budget = _few_images(class_budget(*made, assumed=source.kind.assumed), len(images))
    return parity(found, wanted, budget, reference=reference, image_source=images.description)


def _few_images(budget: Budget, images: int) -> Budget:
    """Of a few images the top-1 may differ on one.

    Classes that one step of an integer output parts, or none, change places by rounding; how
    decided the source is about the user's images is not known here.
    """
    if budget.min_agreement_pct is None:
        return budget
    all_but_one = 100.0 * (images - 1) / images
    return replace(budget, min_agreement_pct=min(budget.min_agreement_pct, all_but_one))


def _source_logits(source: OnnxSource, images: ImageSet) -> Scores:
    """Scores of the source as it was read, its external data in one file with it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source.onnx"
        path.write_bytes(embed_onnx_metadata(source.original, source.metadata).SerializeToString())
        with Model(path) as model:
            rows = [measure.row_of(model, image) for image in images.sources]
    return np.concatenate(rows)
