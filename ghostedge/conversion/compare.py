"""The files of a conversion held against what each was made from: one question, two forms.

A classifier's files are asked for the scores of its classes, and which they put first (`classes`);
those of any other network for all their outputs, part by part (`outputs`). Every image is decoded
once and goes through every file, so that they are compared on exactly the same pixels. The bounds
are those of the formats' table, printed and put in the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ghostedge.console import Reporter
from ghostedge.conversion.artefacts import Findings, ModelFile
from ghostedge.conversion.classes import ClassComparison
from ghostedge.conversion.gap import Gap
from ghostedge.conversion.images import Batches, ImageSet, synthetic_set
from ghostedge.conversion.outputs import OutputComparison
from ghostedge.conversion.source import Source
from ghostedge.formats.table import Budget
from ghostedge.records.manifest import Artefact, Parity
from ghostedge_runtime import Model
from ghostedge_runtime.record import Score

ROUNDED_IMAGES = 8


class Comparison(Protocol):
    """What the files answered to the images, in one of the two forms."""

    def parity(self, file: ModelFile, budget: Budget) -> Parity:
        """The file held against the one it was made from, the first against the source."""

    def accuracy(self, file: ModelFile) -> Score | None:
        """Its score on the evaluation set, None where it has none."""

    def to_float(self, file: ModelFile) -> tuple[float | None, float | None]:
        """How far a file of less than float32 is from the float ONNX: agreement in %, sqnr in dB.

        None where there is no such file, or nothing of the kind to say.
        """


def compare(
    files: Sequence[ModelFile],
    models: Mapping[str, Model],
    source: Source,
    images: ImageSet,
    reporter: Reporter,
) -> dict[str, Findings]:
    """Compare and score files.

    Args:
        files: In the order they were made, the first of the source itself.
        models: The files opened, by file name.
        source: What the comparison goes back to.
        images: What it is made on. The source is slow to run, so its own file is compared with it
            on ``PARITY_IMAGES`` of them, every other one on all.
        reporter: Told of the progress.

    Returns:
        What was found of each file, by file name.

    Raises:
        ImageError: An image cannot be decoded.
    """
    form = OutputComparison if source.classes is None else ClassComparison
    comparison: Comparison = form.of(files, models, source, images, reporter)
    rounding = _rounding_of(models[files[0].path.name], source, images)
    findings = {}
    for file in files:
        agreement, ratio = comparison.to_float(file)
        findings[file.path.name] = Findings(
            parity=rounding.judged(
                partial(comparison.parity, file), file.held_to.budget(source.kind)
            ),
            accuracy=comparison.accuracy(file),
            float_agreement_pct=agreement,
            float_sqnr_db=ratio,
        )
    return findings


def _rounding_of(model: Model, source: Source, images: ImageSet) -> Rounding:
    """What float32 leaves open of a network, asked of its float ONNX file on a few images.

    Of one that is quantized nothing: its numbers are rounded already.
    """
    if source.is_quantized:
        return Rounding(model, ())
    some = images.head(ROUNDED_IMAGES)
    return Rounding(model, Batches(some, source.preprocessing, source.batch))


class Rounding:
    """What float32 leaves open of a network, measured when it is first asked for.

    A deep network with large gains makes much of small roundings: two runtimes that compute the
    same function in another order then lie far apart.

    Args:
        model: The float ONNX file.
        batches: Normalised images.
    """

    def __init__(self, model: Model, batches: Iterable[npt.NDArray[np.float32]]) -> None:
        self._model, self._batches = model, batches

    @cached_property
    def share(self) -> float:
        """How far outputs move, as a share of their largest, when inputs move by one rounding."""
        rng = np.random.default_rng(0)
        total: dict[str, Gap] = {}
        for batch in self._batches:
            signs = rng.choice(np.array([-1, 1], np.float32), batch.shape)
            moved = self._model.values(batch * (1 + np.finfo(np.float32).eps * signs))
            for name, wanted in self._model.values(batch).items():
                total[name] = total.get(name, Gap()) + Gap.between(moved[name], wanted)
        return max(
            (gap.difference / gap.largest for gap in total.values() if gap.largest), default=0
        )

    def judged(self, judge: Callable[[Budget], Parity], budget: Budget) -> Parity:
        """A file's parity, by a budget that allows for rounding where the stated one is missed."""
        parity = judge(budget)
        if parity.within_budget or budget.max_difference is None:
            return parity
        return judge(budget.allowing(self.share))


def images_to_compare(source: Source, calibration: ImageSet | None) -> ImageSet:
    """Where files are compared: the evaluation set, else the images of ``--calib``.

    Where neither was given, synthetic pictures, which the report calls by that name.
    """
    if source.evaluation is not None:
        count = len(source.evaluation.paths)
        return ImageSet(source.evaluation.paths, f"{count} evaluation images")
    if calibration is None:
        return synthetic_set(source.preprocessing)
    if source.is_quantized:  # nothing is calibrated with them
        return ImageSet(calibration.sources, f"{len(calibration)} images of --calib")
    return calibration


def missed_budgets(artefacts: Sequence[Artefact]) -> tuple[str, ...]:
    """The bounds that were not kept, a sentence each."""
    return tuple(
        parity_words(artefact)
        for artefact in artefacts
        if artefact.parity is not None and not artefact.parity.within_budget
    )


def parity_words(artefact: Artefact) -> str:
    """How far a file is from what it was made from, and how far it may be, in a line."""
    parity = artefact.parity
    if parity is None:
        return f"{artefact.file} could not be checked"
    share = parity.max_relative_diff
    relative = "" if share is None else f" (relative {share:.2g})"
    return (
        f"{artefact.file}: against {parity.reference} largest difference {parity.max_abs_diff:.2g}"
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
