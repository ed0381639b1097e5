"""A classifier's files compared by the scores of its classes.

Powers alone do not say which class comes first, and a few dozen images may agree on that by luck:
a file is held to both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ghostedge.console import Reporter
from ghostedge.conversion.artefacts import ModelFile
from ghostedge.conversion.gap import Gap, Scores
from ghostedge.conversion.images import PARITY_IMAGES, ImageSet, spread
from ghostedge.conversion.source import Source
from ghostedge.formats.table import Budget
from ghostedge.records.manifest import Parity
from ghostedge_runtime import Model, host_facts
from ghostedge_runtime.evaluation import score_logits
from ghostedge_runtime.images import mode_of, open_image
from ghostedge_runtime.model import two_classes
from ghostedge_runtime.record import Score


@dataclass(frozen=True)
class ClassComparison:
    """What every file of a classifier, and its source, answered to the images.

    Attributes:
        source: The classifier.
        images: All of them.
        scores: Of each file on all images, by file name.
        own: The source's scores, on ``PARITY_IMAGES`` of them.
        original: Name of the float ONNX file; None where there is none.
    """

    source: Source
    images: ImageSet
    scores: Mapping[str, Scores]
    own: Scores
    original: str | None

    @classmethod
    def of(
        cls,
        files: Sequence[ModelFile],
        models: Mapping[str, Model],
        source: Source,
        images: ImageSet,
        reporter: Reporter,
    ) -> ClassComparison:
        """Run the images through all files; as `compare.compare`."""
        scores = file_scores(models, images, mode_of(source.preprocessing), reporter)
        first = files[0]
        return cls(
            source,
            images,
            scores,
            _own_scores(source, images.head(PARITY_IMAGES)),
            first.path.name if first.precision == "float32" else None,
        )

    def parity(self, file: ModelFile, budget: Budget) -> Parity:
        """The file's scores held against those of the one it was made from."""
        scores = self.scores[file.path.name]
        if file.reference is None:
            scores, reference = scores[spread(len(self.images), PARITY_IMAGES)], self.own
        else:
            reference = self.scores[file.reference]
        if self.source.is_quantized:
            budget = few_images(budget, len(scores))
        return score_parity(
            scores,
            reference,
            budget,
            reference=file.reference or self.source.origin,
            image_source=self.images.description,
        )

    def accuracy(self, file: ModelFile) -> Score | None:
        """How often the evaluation set's classes come first, and among the first five."""
        if self.source.evaluation is None:
            return None
        score = score_logits(self.scores[file.path.name], self.source.evaluation)
        return Score(images=score.count, top1_pct=score.top1, top5_pct=score.top5)

    def to_float(self, file: ModelFile) -> tuple[float | None, float | None]:
        """Share of images with the float file's top-1 in percent, and the ratio in dB."""
        if self.original is None or file.precision == "float32":
            return None, None
        scores, original = self.scores[file.path.name], self.scores[self.original]
        agreement = agreement_pct(scores.argmax(1), original.argmax(1))
        return agreement, Gap.of_scores(scores, original).sqnr_db


def file_scores(
    models: Mapping[str, Model], images: ImageSet, mode: str, reporter: Reporter
) -> dict[str, Scores]:
    """Scores of every model on every image, by file name; ``mode`` is what these are decoded to."""

    def run(source: Path | Image.Image) -> list[Scores]:
        image = open_image(source, mode)
        return [model.logits(model.preprocess(image)) for model in models.values()]

    # Networks this small gain more from two images at a time than from two threads on one.
    with ThreadPoolExecutor(host_facts().cores) as pool:
        rows = list(reporter.track(pool.map(run, images.sources), "score", total=len(images)))
    by_model = zip(*rows, strict=True)
    return {name: np.concatenate(parts) for name, parts in zip(models, by_model, strict=True)}


def _own_scores(source: Source, images: ImageSet) -> Scores:
    rows = [answers[0] for _, answers in source.answers(images)]
    scores = np.concatenate(rows)[: len(images)]
    if not source.kind.binary:
        return scores
    return two_classes(scores, probabilities=source.kind.probabilities)


def few_images(budget: Budget, images: int) -> Budget:
    """Of a few images the top-1 may differ on one.

    Classes that one step of an integer output parts, or none, change places by rounding; how
    decided the source is about the user's images is not known here.
    """
    if budget.min_agreement_pct is None:
        return budget
    all_but_one = 100.0 * (images - 1) / images
    return replace(budget, min_agreement_pct=min(budget.min_agreement_pct, all_but_one))


def agreement_pct(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> float:
    """Share of equal entries of two arrays of predicted classes, in percent."""
    return 100.0 * float(np.mean(a == b))


def score_parity(
    scores: Scores,
    reference_scores: Scores,
    budget: Budget,
    *,
    reference: str,
    image_source: str,
) -> Parity:
    """Compare two arrays of scores, (images, classes), of the same images in the same order."""
    gap = Gap.of_scores(scores, reference_scores)
    agreement = agreement_pct(scores.argmax(1), reference_scores.argmax(1))
    agrees = budget.min_agreement_pct is None or agreement >= budget.min_agreement_pct
    return Parity(
        reference=reference,
        images=len(scores),
        image_source=image_source,
        max_abs_diff=gap.difference,
        max_relative_diff=gap.relative,
        agreement_pct=agreement,
        sqnr_db=gap.sqnr_db,
        budget=str(budget),
        within_budget=agrees and gap.keeps(budget),
    )
