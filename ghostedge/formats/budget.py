"""A bound on how far a file may be from what it was made from."""

from __future__ import annotations

from dataclasses import dataclass, replace

ROUNDINGS = 10
"""How many times as far as by rounding its input may float32 move a network: each layer rounds too.

Two runtimes on GhostNetV3 1.3x of random weights and logits up to 439 lie 3 times that apart."""
MOST_ROUNDING = 1e-2
"""Beyond that share of its largest number two float32 files are not shown to be the same."""


@dataclass(frozen=True)
class Budget:
    """A bound on the difference of two artefacts; each part that is stated has to hold.

    Attributes:
        max_difference: Of any number of an output, as a share of the largest magnitude among that
            output's numbers in the reference, over all images.
        min_sqnr_db: Signal-to-noise ratio of every output, of a classifier's scores.
        min_agreement_pct: Share of images with the same top-1, of a classifier.
        allows_rounding: Whether ``max_difference`` was widened by what float32 itself leaves open.
    """

    max_difference: float | None = None
    min_sqnr_db: float | None = None
    min_agreement_pct: float | None = None
    allows_rounding: bool = False

    def __str__(self) -> str:
        parts = (
            (self.max_difference, "differences within {:g} of the output's largest number"),
            (self.min_agreement_pct, "same top-1 on {:g} %"),
            (self.min_sqnr_db, "sqnr at least {:g} dB"),
        )
        bounds = ", ".join(words.format(bound) for bound, words in parts if bound is not None)
        if not self.allows_rounding:
            return bounds
        return f"{bounds}: {ROUNDINGS} times what it moves when its input is rounded"

    def allowing(self, rounding: float) -> Budget:
        """The budget for a network whose outputs float32 rounding moves by this share."""
        bound = min(ROUNDINGS * rounding, MOST_ROUNDING)
        if self.max_difference is None or bound <= self.max_difference:
            return self
        return replace(self, max_difference=float(f"{bound:.2g}"), allows_rounding=True)
