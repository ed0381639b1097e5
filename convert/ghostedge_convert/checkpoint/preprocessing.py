"""Which preprocessing a checkpoint is used with, and where that is known from."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ghostedge_convert.architectures.table import FAMILIES
from ghostedge_convert.checkpoint.config import of_one_length
from ghostedge_convert.checkpoint.load import Checkpoint
from ghostedge_runtime.metadata import ArchitectureInfo, Preprocessing


@dataclass(frozen=True)
class ResolvedPreprocessing:
    """A preprocessing and how it came about.

    Attributes:
        preprocessing: What to use.
        origin: Where it is stated, such as ``config.json``; ``family default`` where it is not.
        defaulted: Fields that are the family's default although a ``config.json`` gave others.
    """

    preprocessing: Preprocessing
    origin: str
    defaulted: tuple[str, ...] = ()

    @property
    def inferred(self) -> bool:
        """Whether any of it is the family's default rather than what the user's files state."""
        return self.origin == "family default" or bool(self.defaulted)

    def __str__(self) -> str:
        if self.origin == "family default":
            return "inferred: the family's ImageNet default, no config.json says otherwise"
        if self.defaulted:
            return f"{self.origin}; the family's default for {', '.join(self.defaulted)}"
        return self.origin


def resolve_preprocessing(
    checkpoint: Checkpoint, architecture: ArchitectureInfo | None = None
) -> ResolvedPreprocessing:
    """The preprocessing that a checkpoint's ``config.json`` gives, or its family's default.

    Args:
        checkpoint: The weights and what was beside them.
        architecture: What they were found to be; without it the default is GhostNet V1's.
    """
    family = None if architecture is None else FAMILIES.get(architecture.family)
    default = Preprocessing() if family is None else family.preprocessing
    config = checkpoint.config
    if config is None or config.preprocessing is None:
        return ResolvedPreprocessing(default, "family default")
    stated = {
        field.name: getattr(config.preprocessing, field.name)
        for field in fields(Preprocessing)
        if field.name not in config.defaulted
    }
    preprocessing = of_one_length(default, stated)
    return ResolvedPreprocessing(preprocessing, config.origin, config.defaulted)
