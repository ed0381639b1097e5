"""Whether weights were trained as the network that they are in now, by what its batch norms see.

Weights can fit a network in every key and shape and yet be of another: one with ReLU6 where this
one has ReLU, without its shortcuts, without its squeeze-and-excitation. Images like those of
training then bring every batch norm what it remembers, up to the first that lies behind the
difference. So the rule is about a step: a layer far from what it remembers, behind layers that all
still fit, and the layers after it far as well.

How far is the relative entropy of what was seen to what is remembered, two Gaussians per channel,
the median over channels. Unlike the symmetric divergence it grows only as a logarithm where too
little varies: layers near the end have channels that fire for one image in a hundred, and a few
dozen images need not hold one. It is divided by how far apart two halves of the same images are,
which is what so few images leave uncertain, and largest in just those layers.

Images of another domain drift away from layer to layer; so do networks that differ in little, as in
which of two convolutions has the stride. Where no layer is far, ``jump.py`` compares them more
sharply. The two look the same from here, and the verdict then says that it may be either;
``fault.py`` tells them apart where it finds the network that fits. A difference that leaves the
outputs as they were, such as another epsilon beside variances far larger, leaves no step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ghostedge_convert.statistics.jump import JUMP, largest_jump
from ghostedge_convert.statistics.measure import WORST, Array, NormLayer, NormStatistics

Verdict = Literal["fits", "wrong", "unclear", "untold"]
"""``wrong``: not trained as this network. ``unclear``: that, or images unlike those of training.
``untold``: too few images or layers, or what reaches the first layer does not fit either."""

LEAST_IMAGES = 8
LEAST_FAR = 0.1
"""Relative entropy below which no layer counts as far: a mean off by less than half a standard
deviation, or a variance by less than a factor of about 1.8."""
_LEAST_STEP = 8.0
_STEP_OF_32 = 10.0
_UNCERTAIN = 0.01
"""Added to how far the halves are apart, which may be nothing."""
_FITS = 0.5
"""In units of the distance between halves: a layer as far as this, or less, fits."""
_AFTER = 6
"""Layers, with the one in question, whose median shows that the distance stays."""
_DRIFTED = 1.0
"""Units by which the median layer is off where all have drifted away, and ``_DRIFTED_FAR`` at
least in relative entropy."""
_DRIFTED_FAR = 0.02
_SPLITS = 4


@dataclass(frozen=True)
class NetworkVerdict:
    """What the statistics in depth say of a network.

    Attributes:
        verdict: See ``Verdict``.
        images: How many it was judged by.
        begins: The batch norm from which on the network, or of ``unclear`` it or the images, is
            another; None where the verdict is neither, or no layer can be named.
        divergences: Name of each batch norm → relative entropy of what it saw to what it
            remembers, in the graph's order.
        evidence: The same as a sentence.
        step: The largest factor by which a layer, and those after it, are farther than all before.
        jump: The same in standard errors, see ``jump.py``; None where it was not looked for.
        fits_with: What the network has to be edited to for its weights to fit, where that is known.
    """

    verdict: Verdict
    images: int
    begins: str | None
    divergences: dict[str, float]
    evidence: str
    step: float
    jump: float | None = None
    fits_with: str | None = None


@dataclass(frozen=True)
class _Profile:
    """By layer: how far it is, that in units of the distance between halves, and that distance."""

    far: Array
    units: Array
    apart: Array

    @property
    def steps(self) -> Array:
        """By what factor each layer, and those after it, are farther than all before."""
        before = np.maximum.accumulate(np.concatenate([[_FITS], np.maximum(self.units, _FITS)]))
        count = len(self.units)
        after = np.array([np.median(self.units[i : i + _AFTER]) for i in range(count)])
        steps = np.minimum(self.units, after) / before[:-1]
        steps[(self.far < LEAST_FAR) | (np.arange(count) == 0)] = 0
        return np.asarray(steps)


def least_step(images: int) -> float:
    """By what factor a layer is farther than all before it where the network is another.

    It grows with the root of the number of images, as the distance between halves shrinks. Sets
    that are drawn at random stay below it where the network fits; its tests draw them.
    """
    return max(_LEAST_STEP, _STEP_OF_32 * float(np.sqrt(images / 32)))


def judge_network(statistics: NormStatistics) -> NetworkVerdict:
    """Tell whether the weights were trained as this network.

    Args:
        statistics: Of images like those of training, prepared as they were then; of images whose
            preprocessing does not fit, only that is said. 32 or more tell most.
    """
    names = [layer.name for layer in statistics.layers]
    if statistics.images < LEAST_IMAGES or len(names) < 2:
        evidence = (
            f"{statistics.images} images and {len(names)} batch norms are too few to judge by; "
            f"it takes {LEAST_IMAGES} and 2"
        )
        return NetworkVerdict("untold", statistics.images, None, {}, evidence, 0.0)
    profile = _profile(statistics)
    far = dict(zip(names, map(float, profile.far), strict=True))
    steps = profile.steps
    wide = steps >= least_step(statistics.images)
    first = int(np.argmax(wide)) if np.any(wide) else None
    verdict = _verdict(profile, first)
    jump = largest_jump(statistics, profile.apart) if verdict in ("fits", "unclear") else None
    if verdict == "fits" and jump is not None and jump.factor >= JUMP:
        verdict, first = "unclear", jump.layer
    begins = names[first] if verdict in ("wrong", "unclear") and first is not None else None
    return NetworkVerdict(
        verdict,
        statistics.images,
        begins,
        far,
        evidence=_evidence(verdict, profile, names, first),
        step=float(steps.max()),
        jump=jump.factor if jump is not None else None,
    )


def _profile(statistics: NormStatistics) -> _Profile:
    random = np.random.default_rng(0)
    half = statistics.images // 2
    orders = [random.permutation(statistics.images) for _ in range(_SPLITS)]
    halves = [(order[:half], order[half : 2 * half]) for order in orders]
    far = np.array(
        [_median_entropy(_moments(layer), _remembered(layer)) for layer in statistics.layers]
    )
    apart = np.array([_apart(layer, halves) for layer in statistics.layers])
    finite = np.where(far >= WORST, 0, apart)  # of what is not, halves are farthest apart as well
    return _Profile(far, far / (finite + _UNCERTAIN), apart)


def _verdict(profile: _Profile, first: int | None) -> Verdict:
    if profile.far[0] >= LEAST_FAR and profile.units[0] >= 1:
        return "untold"
    if first is not None:
        return "wrong"
    drifted = np.median(profile.units) >= _DRIFTED and np.median(profile.far) >= _DRIFTED_FAR
    return "unclear" if drifted else "fits"


def _evidence(verdict: Verdict, profile: _Profile, names: list[str], first: int | None) -> str:
    far = profile.far
    if verdict == "untold":
        return (
            f"the first batch norm, {names[0]}, is {far[0]:.2g} from what it remembers: until the "
            "preprocessing fits, those behind it tell nothing"
        )
    if verdict == "wrong" and first is not None:
        return (
            f"up to {names[first - 1]} every batch norm sees what it remembers of training, at "
            f"most {far[:first].max():.2g} from it; {names[first]} does not ({far[first]:.2g}), "
            "nor do those behind it: these weights were not trained as this network"
        )
    if verdict == "unclear" and first is not None:
        return (
            f"up to {names[first - 1]} every batch norm sees what it remembers of training; from "
            f"{names[first]} on they are farther from it than chance explains, though not far: the "
            "network differs from training's in what comes right before, as in a stride, or the "
            "images in what is seen there"
        )
    if verdict == "unclear":
        return (
            f"the batch norms drift away from what they remember, {far[0]:.2g} at the first and "
            f"{np.median(far):.2g} at half of them or more: the images are unlike those of "
            "training, or the weights were not trained as this network"
        )
    return f"half of the batch norms are within {np.median(far):.2g} of what they remember"


Moments = tuple[Array, Array]
"""Mean and variance (with epsilon) per channel, float64."""
Chosen = npt.NDArray[np.int64]
"""Indices of images."""


def _remembered(layer: NormLayer) -> Moments:
    return layer.running_mean, layer.running_var + layer.epsilon


def _moments(layer: NormLayer, images: Chosen | None = None) -> Moments:
    chosen = slice(None) if images is None else images
    with np.errstate(invalid="ignore", over="ignore"):  # infinite ones count as the farthest
        mean = layer.mean[chosen].mean(0)
        variance = np.maximum(layer.square[chosen].mean(0) - mean**2, 0) + layer.epsilon
    return mean, variance


def _apart(layer: NormLayer, halves: list[tuple[Chosen, Chosen]]) -> float:
    """How far halves of the images are apart: mean over the splits of the symmetric divergence."""
    distances = []
    for one, other in halves:
        a, b = _moments(layer, one), _moments(layer, other)
        distances.append(float(np.median((_entropies(a, b) + _entropies(b, a)) / 2)))
    return float(np.mean(distances))


def _median_entropy(seen: Moments, remembered: Moments) -> float:
    return float(np.median(_entropies(seen, remembered)))


def _entropies(seen: Moments, remembered: Moments) -> Array:
    """Relative entropy of Gaussians per channel, in nats, at most ``WORST`` (Kullback, 1959)."""
    (mean, variance), (center, spread) = seen, remembered
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        ratio = np.maximum(variance / spread, 1e-5)
        entropies = (ratio + (mean - center) ** 2 / spread - 1 - np.log(ratio)) / 2
        bounded: Array = np.minimum(np.nan_to_num(entropies, nan=WORST, posinf=WORST), WORST)
    return bounded
