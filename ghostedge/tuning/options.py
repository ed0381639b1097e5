"""What a user asks of ``tune``, checked before any work starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ghostedge.conversion.option_groups import GuardOptions
from ghostedge.devices import LOCAL, parse_device
from ghostedge.tuning.score import Limits
from ghostedge_quantize.guard.score import Budget
from ghostedge_runtime.errors import InputError


@dataclass(frozen=True)
class TuneOptions:
    """The arguments of ``ghostedge tune``.

    Attributes:
        folder: What ``ghostedge convert`` wrote.
        device: What is measured on, as ``bench --device`` takes it.
        format: The files that are tuned; None: all that the conversion has in float32 and int8.
        threads: Of one inference: the search is on the first, the result on all.
        max_drop, min_agreement: What answers may be lost, as ``convert`` has it; one of them.
        max_mb: Largest size of a file, in MB of 10⁶ bytes.
        eval: Labelled images, a folder per class; None: those of the conversion.
        calib: Where the conversion's calibration images are now; None: where they were.
        minutes: How long measuring may take.
        recipe: Replay this file without measuring.

    Raises:
        InputError: They contradict each other, or are out of range.
    """

    folder: Path
    device: str = LOCAL.name
    format: tuple[str, ...] | None = None
    threads: tuple[int, ...] = (1,)
    max_drop: float | None = None
    min_agreement: float | None = None
    max_mb: float | None = None
    eval: Path | None = None
    calib: Path | None = None
    minutes: float = 10.0
    recipe: Path | None = None

    def __post_init__(self) -> None:
        parse_device(self.device)
        self._check_budget()
        if min(self.threads, default=0) < 1:
            raise InputError("must be whole numbers from 1 on", where="--threads")
        if not 0 < self.minutes < math.inf:
            raise InputError(f"must be above 0, got {self.minutes:g}", where="--minutes")
        if self.recipe is not None and self.device != LOCAL.name:
            raise InputError(
                "a recipe is replayed without measuring, so no device is asked",
                where="--device",
                remedy="leave it out; `ghostedge bench --device` times the files",
            )

    def _check_budget(self) -> None:
        """Make each part of the budget once, for each refuses what it cannot be."""
        _, _ = self.guard, self.limits

    @property
    def guard(self) -> GuardOptions:
        """The budget of answers as a conversion has it, which checks it."""
        return GuardOptions(max_drop=self.max_drop, min_agreement=self.min_agreement)

    @property
    def limits(self) -> Limits:
        """The budget."""
        answers = None
        if self.max_drop is not None:
            answers = Budget("max_drop", self.max_drop)
        elif self.min_agreement is not None:
            answers = Budget("min_agreement", self.min_agreement)
        return Limits(answers, self.max_mb)
