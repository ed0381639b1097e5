"""What a network's outputs are: class scores, or something that has no top-1."""

from __future__ import annotations

import numpy as np

from ghostedge.conversion.network import Answers

_UNIT = 1e-3


def class_count(answers: Answers) -> int | None:
    """How many classes a network scores, told from its answers to any batch of images.

    Returns:
        The length of its one output's rows; None where there are several outputs, other shapes
        than (images, classes), or rows that are unit vectors: an embedding.
    """
    if len(answers) != 1 or answers[0].ndim != 2:
        return None
    (rows,) = answers
    return None if _are_unit_vectors(rows) else int(rows.shape[1])


def _are_unit_vectors(rows: np.ndarray) -> bool:
    """Whether all rows have length one; probabilities, which are never below zero, do not count."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    return bool(np.abs(lengths - 1).max() < _UNIT and rows.min() < 0)
