"""What files answer to images: as float does, and as the labels say; and the budget of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ghostedge.console import SilentReporter
from ghostedge.conversion.classes import agreement_pct, file_scores
from ghostedge.conversion.gap import Scores
from ghostedge.conversion.images import ImageSet
from ghostedge.tuning.search import Quality
from ghostedge_quantize.guard.score import Budget
from ghostedge_runtime import Model
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.evaluation import score_logits
from ghostedge_runtime.images import LabelledImages, mode_of
from ghostedge_runtime.metadata import Preprocessing

MOST_IMAGES = 500
"""Every choice is scored; on more images that would take longer than timing it."""


@dataclass(frozen=True)
class Answered:
    """How often a file is right, in percent of the images; None where that has no meaning.

    Attributes:
        agreement_pct: Of the images, by the float network's answer.
        top1_pct: Of the images, by their labels.
    """

    agreement_pct: float | None = None
    top1_pct: float | None = None


@dataclass(frozen=True)
class Images:
    """What files are scored on.

    Attributes:
        images: At most `MOST_IMAGES`.
        evaluation: Their labels; None where they have none.
    """

    images: ImageSet
    evaluation: LabelledImages | None = None

    @classmethod
    def labelled(cls, evaluation: LabelledImages) -> Images:
        """Labelled images, spread over the classes where there are more than are scored."""
        some = evaluation.spread(MOST_IMAGES)
        every = len(evaluation.paths)
        of = "" if len(some.paths) == every else f" of {every:,}"
        return cls(ImageSet(some.paths, f"{len(some.paths):,}{of} evaluation images"), some)

    @classmethod
    def unlabelled(cls, images: ImageSet) -> Images:
        """The images of calibration: they say how often a file answers as float, no more."""
        some = images.head(MOST_IMAGES)
        return cls(ImageSet(some.sources, f"{len(some):,} calibration images, without labels"))


@dataclass(frozen=True)
class Limits:
    """What a tuned file has to keep; each part that is stated.

    Attributes:
        answers: Points of top-1 or agreement that may be lost.
        max_mb: Largest size, in MB of 10⁶ bytes.

    Raises:
        InputError: The size is not above 0.
    """

    answers: Budget | None = None
    max_mb: float | None = None

    def __post_init__(self) -> None:
        if self.max_mb is not None and not self.max_mb > 0:
            raise InputError(f"must be above 0, got {self.max_mb:g}", where="--max-mb")

    def excess(self, answered: Answered, of_float: Answered, size: int) -> float:
        """By how much a file misses them, in points and MB together; 0 where it keeps them."""
        over_size = 0.0 if self.max_mb is None else size / 1e6 - self.max_mb
        loss = self.loss(answered, of_float)
        over_loss = (
            0.0 if self.answers is None or loss is None else loss - self.answers.allowed_loss
        )
        return sum(over for over in (over_size, over_loss) if over > 1e-9)

    def loss(self, answered: Answered, of_float: Answered) -> float | None:
        """Points lost, as the budget of answers counts them; None without one."""
        if self.answers is None:
            return None
        if self.answers.kind == "max_drop":
            return (of_float.top1_pct or 0.0) - (answered.top1_pct or 0.0)
        return 100.0 - (answered.agreement_pct or 0.0)

    def __str__(self) -> str:
        size = None if self.max_mb is None else f"at most {self.max_mb:g} MB"
        return " and ".join(str(part) for part in (self.answers, size) if part is not None)


class Scorer:
    """Says what files of one network are worth beside their speed.

    Args:
        reference: The float ONNX file.
        preprocessing: Of the network.
        images: What is scored on; None for a network that puts no class first.
        limits: The budget.

    Attributes:
        of_float: The float network's own score.
    """

    def __init__(
        self,
        reference: Path,
        preprocessing: Preprocessing,
        images: Images | None,
        limits: Limits = Limits(),
    ) -> None:
        self._images, self._mode, self._limits = images, mode_of(preprocessing), limits
        self.of_float = Answered()
        if images is not None:
            (self._reference,) = self._scores([reference], images)
            self.of_float = self._answered(self._reference, images)

    @property
    def image_source(self) -> str | None:
        """The images in words; None where files are not scored."""
        return None if self._images is None else self._images.images.description

    def __call__(self, files: Sequence[Path]) -> list[Quality]:
        """Score files, which are loaded together; each image is decoded once."""
        return [
            self._quality(answered, path.stat().st_size)
            for path, answered in zip(files, self._all_answered(files), strict=True)
        ]

    def _all_answered(self, files: Sequence[Path]) -> Iterable[Answered]:
        images = self._images
        if images is None or not files:
            return [Answered()] * len(files)
        return [self._answered(scores, images) for scores in self._scores(files, images)]

    def _quality(self, answered: Answered, size: int) -> Quality:
        excess = self._limits.excess(answered, self.of_float, size)
        return Quality(answered.agreement_pct, answered.top1_pct, size, excess)

    def _scores(self, files: Sequence[Path], images: Images) -> Iterator[Scores]:
        with ExitStack() as stack:
            models = {str(file): stack.enter_context(Model(file)) for file in files}
            scores = file_scores(models, images.images, self._mode, SilentReporter())
        yield from (scores[str(file)] for file in files)

    def _answered(self, scores: Scores, images: Images) -> Answered:
        evaluation = images.evaluation
        return Answered(
            agreement_pct(scores.argmax(1), self._reference.argmax(1)),
            None if evaluation is None else score_logits(scores, evaluation).top1,
        )
