"""Which preprocessing a checkpoint is used with, and where that is known from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ghostedge_convert.checkpoint import Checkpoint
from ghostedge_runtime.metadata import Preprocessing

# What Huawei's weights were trained and are evaluated with: 256 bilinear, centre 224, ImageNet
# statistics; their published 73.98 % is with bilinear.
FAMILY_DEFAULT = Preprocessing()


@dataclass(frozen=True)
class ResolvedPreprocessing:
    """A preprocessing and how it came about.

    Attributes:
        preprocessing: What to use.
        origin: ``config.json``, or ``family default`` where nothing beside the weights says.
        defaulted: Fields that are the family's default although a ``config.json`` gave others.
    """

    preprocessing: Preprocessing
    origin: Literal["config.json", "family default"]
    defaulted: tuple[str, ...] = ()

    @property
    def inferred(self) -> bool:
        """Whether any of it is the family's default rather than what the user's files say."""
        return self.origin == "family default" or bool(self.defaulted)

    def __str__(self) -> str:
        if self.origin == "family default":
            return "inferred: the family's ImageNet default, no config.json says otherwise"
        if self.defaulted:
            return f"config.json; the family's default for {', '.join(self.defaulted)}"
        return "config.json"


def resolve_preprocessing(checkpoint: Checkpoint) -> ResolvedPreprocessing:
    """The preprocessing that a checkpoint's ``config.json`` gives, or the family's default."""
    config = checkpoint.config
    if config is None or config.preprocessing is None:
        return ResolvedPreprocessing(FAMILY_DEFAULT, "family default")
    return ResolvedPreprocessing(config.preprocessing, "config.json", config.defaulted)
