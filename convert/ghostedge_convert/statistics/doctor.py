"""What is wrong with a set of images, by what they bring a network's batch norms and answers.

Too few of them, blank ones, single ones far from the others, a set that is not like the images of
training: noise, blur, another crop, another domain, the wrong way up. A finding that is wrong costs
more than one that is missing, so every bound stands far outside what fitting sets show;
``benchmarks/calibration_findings.py`` measures both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from ghostedge_convert.statistics.measure import NormLayer, NormStatistics
from ghostedge_convert.statistics.trials import ExaminedImages, best_trial, turned_by

ENOUGH = 32
"""Images from which on more of them change nothing that can be measured of int8."""
_BLANK_SPREAD = 2.0
"""Standard deviation of a blank image's pixels, of 255, is at most this: one colour, JPEG's noise
aside."""
_ODD_FACTOR = 30.0
"""An image is odd from this many times the typical image's divergence on."""
_UNLIKE, _UNLIKE_SAMPLING = 0.01, 0.25
"""A set is unlike training above the first plus the second over the number of images."""
_NAMED = 3
"""So many images are named by their files."""
_LEAST = 1e-6
"""A layer's divergence counts as at least this much, so that its logarithm exists."""


@dataclass(frozen=True)
class Finding:
    """Something about the images that costs int8, or the comparison of files on them.

    Attributes:
        kind: ``too few``, ``repeated``, ``blank``, ``odd``, ``turned``, ``unlike``, ``noisy``,
            ``blurred`` or ``crop``.
        evidence: What shows it, with numbers and the files concerned.
        remedy: What to do.
    """

    kind: str
    evidence: str
    remedy: str


def examine_images(
    network: onnx.ModelProto,
    images: ExaminedImages,
    statistics: NormStatistics,
    *,
    is_network_known: bool = True,
    is_classifier: bool = True,
) -> tuple[Finding, ...]:
    """Say what is wrong with the images that a network is calibrated or compared on.

    Args:
        network: The float graph with its batch norms, as ``measure_norms`` takes it.
        images: At least one; files are called by their names.
        statistics: Of these images, in this order.
        is_network_known: Whether preprocessing and network are those of training. Where they are
            not, images cannot be told from training's, and only what needs no such comparison is
            looked for.
        is_classifier: Whether the answers are class scores; of others it is not asked how sure they
            are.

    Returns:
        Empty where nothing is wrong.
    """
    findings = [*_count(images), *_blank(images)]
    usable = [i for i in range(len(images)) if not _is_blank(images.pixels[i])]
    if not usable or not is_network_known:
        return tuple(findings)
    alone = divergences_alone(statistics)
    odd = odd_images(alone, usable)
    findings += _odd(images, alone, odd)
    usable = [i for i in usable if i not in odd]
    turned = _turned(network, images.chosen(usable)) if is_classifier else ()
    return (*findings, *(turned or _unlike(network, images, statistics, usable)))


def early_divergence(statistics: NormStatistics, images: Sequence[int] | None = None) -> float:
    """How far a set is from training: geometric mean over the first half of the batch norms.

    The first half sees what images look like, the second what is on them: there a sample of 32
    misses whole classes, and the divergence of fitting sets is up to a thousand times as large.

    Args:
        statistics: Of the set.
        images: Which of them; None: all.
    """
    return mean_divergence(statistics.layers[: (len(statistics.layers) + 1) // 2], images)


def mean_divergence(layers: Sequence[NormLayer], images: Sequence[int] | None = None) -> float:
    """Geometric mean of what batch norms diverge by, over all images or those chosen."""
    divergences = np.array([layer.divergence(images) for layer in layers])
    return float(np.exp(np.log(np.maximum(divergences, _LEAST)).mean()))


def unlike_bound(images: int) -> float:
    """The early divergence above which a set of so many images is not like training's."""
    return _UNLIKE + _UNLIKE_SAMPLING / images


def divergences_alone(statistics: NormStatistics) -> npt.NDArray[np.float64]:
    """The early divergence of each image by itself, float64 (images,)."""
    return np.array([early_divergence(statistics, [i]) for i in range(statistics.images)])


def odd_images(alone: npt.NDArray[np.float64], among: Sequence[int]) -> list[int]:
    """Which images are far from training where the others among them are not.

    Args:
        alone: Of ``divergences_alone``.
        among: The images' places.
    """
    typical = np.median(alone[list(among)])
    return [i for i in among if alone[i] > _ODD_FACTOR * typical]


def _count(images: ExaminedImages) -> Iterator[Finding]:
    count, distinct = len(images), len({pixels.tobytes() for pixels in images.pixels})
    if distinct < count:
        yield Finding(
            "repeated",
            f"{count - distinct} of {count} images repeat the pixels of another",
            "give each image once: a repeated one adds nothing to the ranges of int8",
        )
    if distinct < ENOUGH:
        yield Finding(
            "too few",
            f"{distinct} different images are few to measure ranges on",
            f"give at least {ENOUGH}, of every kind that the network will see",
        )


def _is_blank(pixels: npt.NDArray[np.uint8]) -> bool:
    return float(pixels.std(axis=(0, 1)).max()) <= _BLANK_SPREAD


def _blank(images: ExaminedImages) -> Iterator[Finding]:
    blank = [i for i, pixels in enumerate(images.pixels) if _is_blank(pixels)]
    if blank:
        yield Finding(
            "blank",
            f"{len(blank)} of {len(images)} images are of one colour: "
            f"{images.named(blank, _NAMED)}",
            "take them out: the network was not made for them, and they draw ranges and biases "
            "their way",
        )


def _odd(
    images: ExaminedImages, alone: npt.NDArray[np.float64], odd: Sequence[int]
) -> Iterator[Finding]:
    if odd:
        yield Finding(
            "odd",
            f"{len(odd)} of {len(images)} images are like nothing in training (mean divergence up "
            f"to {alone[list(odd)].max():.2g}, of a typical one {np.median(alone):.2g}): "
            f"{images.named(odd, _NAMED)}",
            "look at them, and take out what the network is not meant to see",
        )


def _turned(network: onnx.ModelProto, images: ExaminedImages) -> tuple[Finding, ...]:
    turned = turned_by(network, images)
    if turned is None:
        return ()
    way = {180: "upside down"}.get(turned.degrees, "lying on their side")
    return (
        Finding(
            "turned",
            f"the images seem to be {way}: turned by {turned.degrees}° the network is surer of "
            f"{turned.surer} of {turned.images} (mean entropy {turned.entropy:.2f} instead of "
            f"{turned.entropy_as_given:.2f} nats)",
            "turn them the way that the network will see them; what EXIF says of orientation is "
            "not applied",
        ),
    )


def _unlike(
    network: onnx.ModelProto,
    images: ExaminedImages,
    statistics: NormStatistics,
    usable: Sequence[int],
) -> Iterator[Finding]:
    if not usable:
        return
    divergence, bound = early_divergence(statistics, usable), unlike_bound(len(usable))
    if divergence <= bound:
        return
    trial = best_trial(network, images.chosen(usable), early_divergence)
    worst = max(
        statistics.layers[: (len(statistics.layers) + 1) // 2],
        key=lambda layer: layer.divergence(usable),
    )
    measured = (
        f"mean divergence {divergence:.2g} over the first half of the batch norms, at most "
        f"{bound:.2g} where images fit; largest at {worst.module}, {worst.divergence(usable):.2g}"
    )
    if trial is None:
        yield Finding(
            "unlike",
            f"the images are not like those of training ({measured})",
            "calibrate on images of the kind that the network was trained on and will see",
        )
    else:
        yield Finding(trial.kind, f"{trial.evidence} ({measured})", trial.remedy)
