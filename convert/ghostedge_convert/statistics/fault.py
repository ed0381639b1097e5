"""What a network would have to be for its weights to fit.

Where what batch norms see says that weights were not trained as their network, or may not have
been, the networks that other code makes of the same weights are run on the same images. One of them
that fits where this one does not names the fault: images unlike training's stay unlike it in every
network.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx

from ghostedge_convert.statistics.edits import edited
from ghostedge_convert.statistics.measure import NormStatistics, measure_norms
from ghostedge_convert.statistics.network import NetworkVerdict, judge_network

MOST_IMAGES = 32
"""More take time and tell no more: what is looked for is a large difference."""
CLOSER = 3.0
"""By what factor the batch norms have to be closer to what they remember, in the median of those
from where the network differs on."""
BETTER = 1.5
"""Factor by which another edit has to be closer still to take the place of one before it."""
ENOUGH = 10.0
"""Factor from which on no other edit is tried."""
_BEHIND = 20
"""Batch norms that are looked at, where it is named from which on the network differs."""
_NEAR = 1e-3
"""Relative entropy that counts as nothing."""


def name_fault(
    model: onnx.ModelProto, images: npt.NDArray[np.float32], statistics: NormStatistics
) -> NetworkVerdict:
    """Judge a network, and where its weights do not fit, try what they do fit.

    Args:
        model: As for `measure_norms`; left as it is.
        images: float32 (N, C, H, W), the first ones of those in ``statistics``; those beyond
            ``MOST_IMAGES`` are left aside.
        statistics: Of the network.

    Returns:
        The verdict of `judge_network`; ``wrong``, with ``fits_with``, where another network of the
        same weights was found to fit.
    """
    verdict = judge_network(statistics)
    if verdict.verdict not in ("wrong", "unclear"):
        return verdict
    tried = images[:MOST_IMAGES]
    before = judge_network(statistics.of(range(len(tried)))).divergences
    best, needed, words = before, CLOSER, None
    for name, other in edited(model):
        divergences = _fitting(other, tried)
        if divergences and (closer := _closer(before, divergences, verdict.begins)) >= needed:
            best, needed, words = divergences, closer * BETTER, name
            if closer >= ENOUGH:
                break
    if words is None:
        return verdict
    behind = _behind(before, verdict.begins)
    was, became = (np.median([of[name] for name in behind]) for of in (before, best))
    evidence = (
        f"{verdict.evidence}; it fits with {words}: half of these batch norms are then within "
        f"{became:.2g} of what they remember, not {was:.2g}"
    )
    return replace(verdict, verdict="wrong", fits_with=words, evidence=evidence)


def _fitting(model: onnx.ModelProto, images: npt.NDArray[np.float32]) -> dict[str, float] | None:
    """By batch norm, how far it is; None where the network does not fit or does not run."""
    try:
        statistics = measure_norms(model, [images])
    except Exception:  # ONNX Runtime's have no other base; shapes that contradict each other
        return None
    if statistics is None:
        return None
    verdict = judge_network(statistics)
    return verdict.divergences if verdict.verdict == "fits" else None


def _closer(before: dict[str, float], after: dict[str, float], begins: str | None) -> float:
    factors = [
        max(before[name], _NEAR) / max(after[name], _NEAR) for name in _behind(before, begins)
    ]
    return float(np.median(factors))


def _behind(divergences: dict[str, float], begins: str | None) -> list[str]:
    """Names of the batch norms from the named one on; all where none is named."""
    names = list(divergences)
    first = names.index(begins) if begins else 0
    return names[first : first + _BEHIND] if begins else names
