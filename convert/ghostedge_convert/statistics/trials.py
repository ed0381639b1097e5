"""Images altered on trial: does a network know them better turned, smoothed, sharpened, cropped?

What is wrong with a set is named only where undoing it helps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from PIL import Image, ImageFilter

from ghostedge_convert.statistics.measure import NormStatistics, measure_norms
from ghostedge_runtime.images import ImageSource, normalize, prepare
from ghostedge_runtime.metadata import Preprocessing

Pixels = npt.NDArray[np.uint8]

_BATCH = 16
_FIRST, _TURNED = 16, 64
"""Images that orientation is looked at on: so many first, so many where these leave it open."""
_OPEN, SURE = 1.0, 3.5
"""Standard errors by which turned images have to be surer: to go on, and to be believed. Where up
and down are the same, chance reaches the second in 1 of 3,000 sets of 64."""
_TRIED = 16
"""Images that alterations are tried on."""
_HELPS = 0.5
"""An alteration is the cause where it leaves at most this share of the divergence."""
_CROPS = (0.5, 0.7, 0.875, 1.0)


@dataclass(frozen=True)
class ExaminedImages:
    """Images as they were given and as the network takes them.

    Attributes:
        sources: As given.
        pixels: uint8 (height, width, channels) each.
        preprocessing: How the second are made of the first.
    """

    sources: tuple[ImageSource, ...]
    pixels: tuple[Pixels, ...]
    preprocessing: Preprocessing

    @classmethod
    def prepared(
        cls, sources: Sequence[ImageSource], preprocessing: Preprocessing
    ) -> ExaminedImages:
        """Images of files or whatever ``prepare`` takes."""
        pixels = tuple(prepare(source, preprocessing) for source in sources)
        return cls(tuple(sources), pixels, preprocessing)

    def __len__(self) -> int:
        return len(self.pixels)

    def chosen(self, places: Sequence[int]) -> ExaminedImages:
        """Some of them."""
        return replace(
            self,
            sources=tuple(self.sources[i] for i in places),
            pixels=tuple(self.pixels[i] for i in places),
        )

    def spread(self, count: int) -> ExaminedImages:
        """At most so many, evenly apart."""
        places = np.linspace(0, len(self) - 1, min(count, len(self)))
        return self.chosen([round(place) for place in places])

    def named(self, places: Sequence[int], most: int) -> str:
        """The files' names, or the images' numbers; the first ``most`` and how many more."""
        names = [
            Path(source).name if isinstance(source, (str, os.PathLike)) else f"image {place}"
            for place, source in ((place, self.sources[place]) for place in places)
        ]
        more = f" and {len(names) - most} more" if len(names) > most else ""
        return ", ".join(names[:most]) + more

    def batches(self, alter: Callable[[Pixels], Pixels]) -> Iterator[npt.NDArray[np.float32]]:
        """Altered and normalised, float32 (N, C, H, W)."""
        for start in range(0, len(self), _BATCH):
            batch = np.stack([alter(pixels) for pixels in self.pixels[start : start + _BATCH]])
            normalized = normalize(batch, self.preprocessing)
            yield np.ascontiguousarray(normalized.transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class Turned:
    """How images have to be turned for the network to be surest of them.

    Attributes:
        degrees: Counter-clockwise: 90, 180 or 270.
        surer: Of how many images it is then.
        images: Of so many.
        entropy: Of its answers then, in nats, the mean over the images.
        entropy_as_given: Of its answers to the images as they are.
    """

    degrees: int
    surer: int
    images: int
    entropy: float
    entropy_as_given: float


def turned_by(network: onnx.ModelProto, images: ExaminedImages) -> Turned | None:
    """How images that are the wrong way up have to be turned.

    A classifier is surer of images that are the way up that it was trained on: of 80 % of CIFAR-10
    and ImageNet photographs. Batch norms cannot tell it of every network.

    Returns:
        None where images are the right way up, where it cannot be told, and for a network whose
        first output is no row of class scores.
    """
    if len(images) < 2 or len(network.graph.output[0].type.tensor_type.shape.dim) != 2:
        return None
    entropies = Entropies(network)
    height, width = images.preprocessing.input_size
    turns: tuple[int, ...] = (1, 2, 3) if height == width else (2,)
    first = images.spread(_FIRST)
    given = entropies.of(first, 0)
    turns = tuple(k for k in turns if standard_errors(given - entropies.of(first, k)) > _OPEN)
    if not turns:
        return None
    every = images.spread(_TURNED)
    given = entropies.of(every, 0)
    turned = {turn: entropies.of(every, turn) for turn in turns}
    best = max(turns, key=lambda turn: float((given - turned[turn]).mean()))
    gain = given - turned[best]
    if standard_errors(gain) <= SURE:
        return None
    surer = int((gain > 0).sum())
    return Turned(90 * best, surer, len(gain), float(turned[best].mean()), float(given.mean()))


def standard_errors(gains: npt.NDArray[np.float64]) -> float:
    """The mean in its standard errors: a paired t."""
    spread = float(gains.std(ddof=1))
    return float(gains.mean()) * len(gains) ** 0.5 / spread if spread > 0 else 0.0


class Entropies:
    """How unsure a classifier is of images."""

    def __init__(self, network: onnx.ModelProto) -> None:
        self._session = onnxruntime.InferenceSession(
            network.SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def of(self, images: ExaminedImages, turn: int) -> npt.NDArray[np.float64]:
        """Of each image, turned by so many quarters: entropy of the answer in nats."""
        source, output = self._session.get_inputs()[0], self._session.get_outputs()[0]
        size = source.shape[0] if isinstance(source.shape[0], int) else _BATCH
        rows = []
        for batch in images.batches(lambda pixels: np.rot90(pixels, turn)):
            for start in range(0, len(batch), size):
                fed = batch[start : start + size]
                full = np.concatenate([fed, *[fed[-1:]] * (size - len(fed))])
                (scores,) = self._session.run([output.name], {source.name: full})
                rows.append(scores[: len(fed)])
        return _entropies(np.concatenate(rows).astype(np.float64))


def _entropies(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of rows of logits, or of probabilities where they are that already."""
    if scores.min() < 0 or not np.allclose(scores.sum(1), 1, atol=1e-3):
        scores = np.exp(scores - scores.max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
    logs = np.log(np.maximum(scores, np.finfo(np.float64).tiny))
    entropies: npt.NDArray[np.float64] = -(scores * logs).sum(1)
    return entropies


@dataclass(frozen=True)
class Trial:
    """An alteration that makes images more like training's, and what that says of them.

    Attributes:
        kind: ``noisy``, ``blurred`` or ``crop``.
        evidence: What shows it.
        remedy: What to do.
    """

    kind: str
    evidence: str
    remedy: str


def best_trial(
    network: onnx.ModelProto,
    images: ExaminedImages,
    divergence: Callable[[NormStatistics], float],
) -> Trial | None:
    """The alteration that brings images nearest to training; None where none comes near."""
    few = images.spread(_TRIED)

    def left(altered: ExaminedImages, alter: Callable[[Pixels], Pixels]) -> float:
        statistics = measure_norms(network, altered.batches(alter))
        return np.inf if statistics is None else divergence(statistics)

    given = left(few, _as_is)
    results = [(left(few, alter), trial) for alter, trial in _ALTERATIONS]
    in_use = few.preprocessing.crop_pct
    for crop in _CROPS:
        if abs(crop - in_use) > 0.02:
            geometry = replace(few.preprocessing, crop_pct=crop)
            cropped = ExaminedImages.prepared(few.sources, geometry)
            results.append((left(cropped, _as_is), _crop_trial(crop, in_use)))
    least, trial = min(results, key=lambda result: result[0])
    return trial if least <= _HELPS * given else None


def _as_is(pixels: Pixels) -> Pixels:
    return pixels


def _filtered(effect: ImageFilter.Filter) -> Callable[[Pixels], Pixels]:
    def alter(pixels: Pixels) -> Pixels:
        channels = [
            np.asarray(Image.fromarray(pixels[..., i]).filter(effect))
            for i in range(pixels.shape[2])
        ]
        return np.stack(channels, axis=-1)

    return alter


_NOISY = Trial(
    "noisy",
    "the images are noisier or sharper than those of training: smoothed, they fit better",
    "calibrate on images as in training and in use: nothing added to them, and scaled up from as "
    "small ones where training's were",
)
_BLURRED = Trial(
    "blurred",
    "the images are less sharp than those of training: sharpened, they fit better",
    "give images at least as large as the network's input and in focus; if they are, --input-size "
    "may be larger than in training",
)
_ALTERATIONS: tuple[tuple[Callable[[Pixels], Pixels], Trial], ...] = (
    (_filtered(ImageFilter.GaussianBlur(0.7)), _NOISY),
    (_filtered(ImageFilter.GaussianBlur(1.2)), _NOISY),
    (_filtered(ImageFilter.UnsharpMask(1, 150, 0)), _BLURRED),
    (_filtered(ImageFilter.UnsharpMask(2, 250, 0)), _BLURRED),
)


def _crop_trial(crop: float, in_use: float) -> Trial:
    return Trial(
        "crop",
        f"another crop fits the images better: crop_pct {crop:g} instead of {in_use:g}",
        f"if the network was evaluated so, --crop-pct {crop:g}; else give images framed as in "
        "training",
    )
