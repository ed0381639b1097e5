"""A conversion's files scored on corrupted images, all of them in one pass over the images.

A corrupted image is made once and given to every file. The images are some of ``--eval``'s, as many
as ``--corruption-images`` says: 36 forms of an image for each file take long, and how long is said
before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter

from ghostedge.conversion.artefacts import ModelFile, opened
from ghostedge.conversion.run import Run
from ghostedge.records.manifest import Artefact
from ghostedge_runtime import Model, host_facts
from ghostedge_runtime.corruptions import form_count
from ghostedge_runtime.evaluation import score_corrupted
from ghostedge_runtime.images import LabelledImages
from ghostedge_runtime.record import CorruptionScores


def score_on_corrupted(run: Run, files: Sequence[ModelFile]) -> dict[str, CorruptionScores]:
    """Score every file on images of the evaluation set, as they are and corrupted.

    Args:
        run: With the corruptions, how many images, and a source that has an evaluation set.
        files: All of one network.

    Returns:
        By file name.

    Raises:
        ImageError: An image cannot be decoded.
    """
    every = run.source.evaluation
    if every is None:
        raise ValueError("there are no labelled images to corrupt")
    some = every.spread(run.corruption_images)
    with opened(files) as models:
        run.reporter.note(_time_words(run, list(models.values()), some, len(every.paths)))
        with run.reporter.counted("score corrupted images", len(some.paths)) as progress:
            scores = score_corrupted(
                list(models.values()),
                some,
                run.corruptions,
                workers=host_facts().cores,
                progress=progress,
            )
    of_all = (replace(each, of_images=len(every.paths)) for each in scores)
    return dict(zip(models, of_all, strict=True))


def _time_words(run: Run, models: Sequence[Model], images: LabelledImages, of_all: int) -> str:
    """What is about to be done and how long it will take, by the time of one image."""
    first = images.spread(1)
    score_corrupted(models, first, ())  # the first inference of a file is slower than the others
    start = perf_counter()
    score_corrupted(models, first, run.corruptions)
    seconds = (perf_counter() - start) * len(images.paths) / host_facts().cores
    about = f"{math.ceil(seconds)} s" if seconds < 90 else f"{math.ceil(seconds / 60)} minutes"
    forms = form_count(run.corruptions)
    return (
        f"  corrupted images: {len(images.paths):,} of {of_all:,}, in {forms} forms each, on "
        f"{len(models)} file{'' if len(models) == 1 else 's'}: about {about}"
    )


def with_corrupted(
    artefacts: Sequence[Artefact], scores: Mapping[str, CorruptionScores]
) -> tuple[Artefact, ...]:
    """The artefacts with their scores on corrupted images, by file name."""
    return tuple(replace(artefact, corrupted=scores.get(artefact.file)) for artefact in artefacts)
