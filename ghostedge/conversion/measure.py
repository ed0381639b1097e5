"""The artefacts compared, scored and timed, all on the same images.

One pass over the scoring set serves every file: each image is decoded once and goes through every
model, so that files are compared on exactly the same pixels.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import ghostedge
from ghostedge.console import Reporter
from ghostedge.conversion.artefacts import ModelFile
from ghostedge.conversion.checks import (
    Gap,
    Scores,
    agreement_pct,
    class_budget,
    parity,
    rounding_of,
)
from ghostedge.conversion.images import PARITY_IMAGES, Batches, ImageSet, spread, synthetic_set
from ghostedge.conversion.source import Loaded
from ghostedge.records.manifest import Artefact, Parity
from ghostedge_runtime import Model, host_facts
from ghostedge_runtime.bench.job import make_job
from ghostedge_runtime.bench.run import run_bench
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.evaluation import score_logits
from ghostedge_runtime.images import ImageSource, LabelledImages, open_image
from ghostedge_runtime.machine.facts import machine_facts
from ghostedge_runtime.model import two_classes
from ghostedge_runtime.record import BenchRun, Score, Settings

# A conversion closes with a look at the speed; `ghostedge bench` takes its time.
TIMING = Settings(min_seconds=0.5, min_runs=50, max_warmup_seconds=2.0)


def scoring_set(loaded: Loaded, calibration: ImageSet | None) -> ImageSet:
    """Where the artefacts are compared: the evaluation set, else the calibration set.

    Where neither was given, synthetic pictures, which the report calls by that name.
    """
    if loaded.evaluation is not None:
        count = len(loaded.evaluation.paths)
        return ImageSet(loaded.evaluation.paths, f"{count} evaluation images")
    return calibration or synthetic_set(loaded.preprocessing)


def collect_logits(
    models: Mapping[str, Model], images: ImageSet, mode: str, reporter: Reporter
) -> dict[str, Scores]:
    """Scores of every model on every image, (images, classes) float32 by file name.

    Of a model of one row of other numbers these, as they are.

    ``mode`` is what the models' images are decoded to.
    """

    def run(source: Path | Image.Image) -> list[Scores]:
        image = open_image(source, mode)
        return [row_of(model, image) for model in models.values()]

    # Networks this small gain more from two images at a time than from two threads on one.
    with ThreadPoolExecutor(host_facts().cores) as pool:
        rows = list(reporter.track(pool.map(run, images.sources), "score", total=len(images)))
    by_model = zip(*rows, strict=True)
    return {name: np.concatenate(each) for name, each in zip(models, by_model, strict=True)}


def row_of(model: Model, image: ImageSource) -> Scores:
    """A model's one row of numbers for an image, a classifier's as scores of its classes."""
    batch = model.preprocess(image)
    if model.is_classifier:
        return model.logits(batch)
    (row,) = model.values(batch).values()
    return row


def origin_logits(loaded: Loaded, images: ImageSet, batch: int) -> Scores:
    """Scores of the network itself, the origin that every comparison goes back to."""
    rows = [
        loaded.network.answers(each)[0] for each in Batches(images, loaded.preprocessing, batch)
    ]
    scores = np.concatenate(rows)[: len(images)]
    if not loaded.kind.binary:
        return scores
    return two_classes(scores, probabilities=loaded.kind.probabilities)


def compare(
    files: Sequence[ModelFile],
    models: Mapping[str, Model],
    logits: Mapping[str, Scores],
    loaded: Loaded,
    images: ImageSet,
    *,
    batch: int,
) -> dict[str, Parity]:
    """Each file held against the one it was made from.

    The origin itself is slow to run, so the file made from it is compared on
    ``PARITY_IMAGES`` of the images, every other one on all of them.
    """
    found: dict[str, Parity] = {}
    rounding = rounding_of(models[files[0].path.name], loaded, images, batch)
    for file in files:
        mine, source = logits[file.path.name], images
        if file.reference is None:
            source = images.head(PARITY_IMAGES)
            mine = mine[spread(len(images), PARITY_IMAGES)]
            theirs = origin_logits(loaded, source, batch)
        else:
            theirs = logits[file.reference]
        precision = file.precision if file.reference else loaded.origin_precision
        found[file.path.name] = rounding.judged(
            partial(
                parity,
                mine,
                theirs,
                reference=file.reference or loaded.origin,
                image_source=images.description,
            ),
            class_budget(file.format, precision, assumed=loaded.kind.assumed),
        )
    return found


def to_float(
    file: ModelFile, files: Sequence[ModelFile], logits: Mapping[str, Scores]
) -> tuple[float | None, float | None]:
    """How far a file of less than float32 is from the float ONNX: agreement in %, sqnr in dB."""
    if file.precision == "float32":
        return None, None
    mine, original = logits[file.path.name], logits[files[0].path.name]
    agreement = agreement_pct(mine.argmax(1), original.argmax(1))
    return agreement, Gap.of_scores(mine, original).sqnr_db


def accuracy(logits: Scores, evaluation: LabelledImages | None) -> Score | None:
    """Scores on the evaluation set, None where there is none."""
    if evaluation is None:
        return None
    found = score_logits(logits, evaluation)
    return Score(images=found.count, top1_pct=found.top1, top5_pct=found.top5)


def time_all(files: Sequence[ModelFile], threads: int, reporter: Reporter) -> BenchRun:
    """Time all files in turn, each in a process of its own; the results are in their order.

    Raises:
        ModelFileError: One of them does not run.
    """
    job = make_job([file.path for file in files], threads=(threads,), settings=TIMING)
    with reporter.shares("time") as tell:
        run = run_bench(job, progress=tell)
    for result in run.results:
        if result.error is not None:
            raise ModelFileError(result.error)
    return run


def untimed_run() -> BenchRun:
    """The run of files of which none could be timed: the machine alone."""
    return BenchRun(
        id=secrets.token_hex(8),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        device="local",
        command=(),
        ghostedge_version=ghostedge.__version__,
        settings=TIMING,
        machine=machine_facts(),
        trace=(),
        results=(),
    )


def missed_budgets(artefacts: Sequence[Artefact]) -> tuple[str, ...]:
    """The bounds that were not kept, a sentence each."""
    return tuple(
        parity_words(a.file, a.parity) for a in artefacts if a.parity and not a.parity.within_budget
    )


def parity_words(file: str, parity: Parity) -> str:
    """How far a file is from what it was made from, and how far it may be, in a line."""
    share = parity.max_relative_diff
    relative = "" if share is None else f" (relative {share:.2g})"
    return (
        f"{file}: against {parity.reference} largest difference {parity.max_abs_diff:.2g}"
        f"{relative}, {likeness(parity)} on {parity.images} images; the budget is {parity.budget}"
    )


def likeness(parity: Parity) -> str:
    """How much a file's answers are like its reference's, in words."""
    if parity.sqnr_db is None:
        return "no difference in any output"
    ratio = f"sqnr {parity.sqnr_db:.1f} dB"
    if parity.agreement_pct is not None:
        return f"same top-1 {parity.agreement_pct:.1f} %, {ratio}"
    return f"{ratio} of the noisiest output ({parity.worst})" if parity.worst else ratio
