"""Artefacts of networks that are no classifiers, held against each other output by output.

Feature maps, boxes, masks and embeddings have no top-1 to agree on. Files that should be the same
function are compared by the largest difference, one that rounds to int8 by its signal-to-noise
ratio; whole numbers by the share of unequal ones (see `gap.Gap`).

Outputs may be as large as the image, so none is kept: every image goes through every file and
leaves sums. TFLite's feature maps are channels-last, and turned before they are compared.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from PIL import Image

from ghostedge.console import Reporter
from ghostedge.conversion.artefacts import ModelFile
from ghostedge.conversion.gap import Gap
from ghostedge.conversion.images import PARITY_IMAGES, ImageSet
from ghostedge.conversion.parts import Parts, output_parts
from ghostedge.conversion.source import Source
from ghostedge.formats.table import Budget
from ghostedge.records.manifest import OutputParity, Parity, PartParity
from ghostedge_runtime import Model, host_facts
from ghostedge_runtime.images import mode_of, open_image
from ghostedge_runtime.model import WHOLE

Values = Mapping[str, npt.NDArray[np.float32]]
Sums = npt.NDArray[np.float64]

CHANNEL_SLACK_DB = 10.0
"""How much noisier than its output a channel may be. Measured on channels that are sound: 11 dB
between an output and its worst of up to 480, on features of a trained GhostNet, on pyramids, masks
and embeddings of random weights. A channel that an int8 step is too coarse for has about 0 dB."""

BETWEEN_IMAGES_DB = 1.0
"""By how much what tells images apart in a single number, (images, 1), must be above the noise. An
age of 40 ± 2 has a ratio of 26 dB to a file that answers 40 whatever it sees; about the mean over
the images such a file has 0 dB at best."""
FEWEST_IMAGES = 8
"""Fewer say little of what lies between images."""

ROUNDING = 8 * float(np.finfo(np.float32).eps)
"""Of the output's largest number: what float32 may do to its smaller parts on the way."""


@dataclass(frozen=True)
class OutputGap:
    """What lies between one output and its reference, part by part.

    Attributes:
        parts: Of the output.
        signal, noise, largest, difference: As of `Gap`, float64, an entry for each part.
        total: Sum of the reference, float64, an entry for each part.
        images: How many, of an output that is a single number for each; else 0.
    """

    parts: Parts
    signal: Sums
    noise: Sums
    largest: Sums
    difference: Sums
    total: Sums
    images: int = 0

    @classmethod
    def between(
        cls, values: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32], parts: Parts
    ) -> OutputGap:
        """Of one image or batch."""
        exact = wanted.astype(np.float64)
        difference = values - exact
        return cls(
            parts,
            signal=parts.total(np.square(exact)),
            noise=parts.total(np.square(difference)),
            largest=parts.largest(np.abs(exact)),
            difference=parts.largest(np.abs(difference)),
            total=parts.total(exact),
            images=len(exact) if exact.shape[1:] == (1,) else 0,
        )

    @classmethod
    def of_labels(
        cls, values: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]
    ) -> OutputGap:
        """Of whole numbers, as `Gap.of_labels`; they are one part."""
        gap = Gap.of_labels(values, wanted)
        return cls(
            Parts("channel", ("",), np.zeros((1,) * wanted.ndim, np.int64)),
            signal=np.array([gap.signal]),
            noise=np.array([gap.noise]),
            largest=np.array([gap.largest]),
            difference=np.array([gap.difference]),
            total=np.zeros(1),
        )

    def __add__(self, other: OutputGap) -> OutputGap:
        return OutputGap(
            self.parts,
            self.signal + other.signal,
            self.noise + other.noise,
            np.maximum(self.largest, other.largest),
            np.maximum(self.difference, other.difference),
            self.total + other.total,
            self.images + other.images,
        )

    @property
    def whole(self) -> Gap:
        """Of all parts together."""
        return Gap(
            float(self.signal.sum()),
            float(self.noise.sum()),
            float(self.largest.max(initial=0)),
            float(self.difference.max(initial=0)),
        )

    @property
    def worst(self) -> PartParity | None:
        """The part of the smallest ratio; None where none differs, or there is but one.

        A part that is zero on every image has no ratio; what noise it has counts in the whole.
        """
        noisy = np.flatnonzero((self.signal > 0) & (self.noise > 0))
        if len(self.signal) < 2 or len(noisy) == 0:
            return None
        index = noisy[np.argmin(self.signal[noisy] / self.noise[noisy])]
        ratio = 10 * math.log10(self.signal[index] / self.noise[index])
        return PartParity(self.parts.kind, self.parts.names[index], ratio)

    @property
    def between_images_db(self) -> float | None:
        """The ratio about the mean over the images; None where none is to be had."""
        if self.images < FEWEST_IMAGES or not self.noise.any():
            return None
        spread = float((self.signal - np.square(self.total) / self.images).sum())
        rounding = float(np.square(ROUNDING * self.largest).sum()) * self.images
        if spread <= rounding:  # the reference itself tells nothing apart
            return None
        return 10 * math.log10(spread / float(self.noise.sum()))

    def keeps(self, budget: Budget) -> bool:
        """Whether the output is inside the bound, and each part or channel inside its own."""
        return (
            self.whole.keeps(budget)
            and self._close(budget)
            and self._clear(budget)
            and self._tells_apart(budget)
        )

    def _tells_apart(self, budget: Budget) -> bool:
        ratio = None if budget.min_sqnr_db is None else self.between_images_db
        return ratio is None or ratio >= BETWEEN_IMAGES_DB

    def _close(self, budget: Budget) -> bool:
        if budget.max_difference is None or self.parts.kind == "channel":
            return True
        rounding = ROUNDING * self.largest.max(initial=0)
        return bool((self.difference <= budget.max_difference * self.largest + rounding).all())

    def _clear(self, budget: Budget) -> bool:
        if budget.min_sqnr_db is None or self.worst is None:
            return True
        slack = CHANNEL_SLACK_DB if self.parts.kind == "channel" else 0.0
        return self.worst.sqnr_db >= budget.min_sqnr_db - slack

    def parity(self, name: str, budget: Budget) -> OutputParity:
        """As the manifest has it."""
        whole = self.whole
        return OutputParity(
            name,
            whole.difference,
            whole.sqnr_db,
            self.worst,
            self.between_images_db,
            self.keeps(budget),
        )


Gaps = Mapping[str, OutputGap]


@dataclass(frozen=True)
class OutputComparison:
    """What lies between every file and its reference, output by output.

    Attributes:
        source: The network.
        images: All of them.
        gaps: Between two files, by their names, on all images.
        own: Between the first file and the source, on ``PARITY_IMAGES`` of them.
        original: Name of the float ONNX file; None where there is none.
    """

    source: Source
    images: ImageSet
    gaps: Mapping[tuple[str, str], Gaps]
    own: Gaps
    original: str | None

    @classmethod
    def of(
        cls,
        files: Sequence[ModelFile],
        models: Mapping[str, Model],
        source: Source,
        images: ImageSet,
        reporter: Reporter,
    ) -> OutputComparison:
        """Run the images through all files; as `compare.compare`."""
        first = files[0]
        original = first.path.name if first.precision == "float32" else None
        parts = output_parts(onnx.load(first.path))
        pairs = [(file, file.reference) for file in files if file.reference is not None]
        if original is not None:
            pairs += [(file, original) for file in files if file.precision != "float32"]
        between = Pairs(files, models, parts, [(file.path.name, other) for file, other in pairs])
        gaps = between.gaps(images, mode_of(source.preprocessing), reporter)
        own = _to_source(models[first.path.name], source, images.head(PARITY_IMAGES), parts)
        return cls(source, images, gaps, own, original)

    def parity(self, file: ModelFile, budget: Budget) -> Parity:
        """The file's outputs held against those of the one it was made from."""
        if file.reference is None:
            some = self.images.head(PARITY_IMAGES)
            return output_parity(self.own, self.source.origin, some, budget)
        gaps = self.gaps[file.path.name, file.reference]
        return output_parity(gaps, file.reference, self.images, budget)

    def accuracy(self, file: ModelFile) -> None:
        """There are no classes to be right about."""

    def to_float(self, file: ModelFile) -> tuple[None, float | None]:
        """The ratio of the noisiest output to the float file's, in dB."""
        if self.original is None or file.precision == "float32":
            return None, None
        outputs = _output_parities(self.gaps[file.path.name, self.original], Budget())
        return None, _worst_db(outputs)


def output_parity(gaps: Gaps, reference: str, images: ImageSet, budget: Budget) -> Parity:
    """The gaps of a file's outputs as the manifest has them."""
    outputs = _output_parities(gaps, budget)
    return Parity(
        reference=reference,
        images=len(images),
        image_source=images.description,
        max_abs_diff=max(output.max_abs_diff for output in outputs),
        max_relative_diff=_largest(gap.whole.relative for gap in gaps.values()),
        agreement_pct=None,
        sqnr_db=_worst_db(outputs),
        budget=budget_words(budget),
        within_budget=all(output.within_budget for output in outputs),
        outputs=outputs,
    )


def _output_parities(gaps: Gaps, budget: Budget) -> tuple[OutputParity, ...]:
    return tuple(gap.parity(name, budget) for name, gap in gaps.items())


def budget_words(budget: Budget) -> str:
    """The budget with what it means for channels and single numbers."""
    if budget.min_sqnr_db is None:
        return str(budget)
    return (
        f"{budget}, {budget.min_sqnr_db - CHANNEL_SLACK_DB:g} dB of any channel, "
        f"{BETWEEN_IMAGES_DB:g} dB between images of a single number"
    )


def _worst_db(outputs: Iterable[OutputParity]) -> float | None:
    """The smallest ratio of several outputs, None where none differs."""
    ratios = [output.counted_db for output in outputs]
    return min((ratio for ratio in ratios if ratio is not None), default=None)


def _largest(shares: Iterable[float | None]) -> float | None:
    """The largest share; None where one is of nothing."""
    every = list(shares)
    defined = [share for share in every if share is not None]
    return max(defined) if len(defined) == len(every) else None


@dataclass(frozen=True)
class Pairs:
    """Files of which one is held against another.

    Attributes:
        files: All of them.
        models: The files opened, by file name.
        parts: Of every output.
        names: Of the two files of each pair.
    """

    files: Sequence[ModelFile]
    models: Mapping[str, Model]
    parts: Mapping[str, Parts]
    names: Sequence[tuple[str, str]]

    def gaps(self, images: ImageSet, mode: str, reporter: Reporter) -> dict[tuple[str, str], Gaps]:
        """What lies between the two of each pair, over all images, decoded to ``mode``."""
        pairs = list(dict.fromkeys(self.names))

        def run(source: Path | Image.Image) -> list[Gaps]:
            values = self._values(open_image(source, mode))
            return [
                _gaps(values[one], values[other], self.parts, _labels(self.models[other]))
                for one, other in pairs
            ]

        total: list[Gaps] = [{} for _ in pairs]
        # As for scores: two images at a time gain more than two threads on one.
        with ThreadPoolExecutor(host_facts().cores) as pool:
            rows = reporter.track(pool.map(run, images.sources), "compare", total=len(images))
            for row in rows:
                total = [_added(*both) for both in zip(total, row, strict=True)]
        return dict(zip(pairs, total, strict=True))

    def _values(self, image: Image.Image) -> dict[str, Values]:
        return {
            file.path.name: channels_first(file, self.models[file.path.name].values(image))
            for file in self.files
        }


def channels_first(file: ModelFile, values: Values) -> dict[str, npt.NDArray[np.float32]]:
    """A file's outputs in ONNX's axis order."""
    return {
        name: array.transpose(np.argsort(file.output_orders[name]).tolist())
        if name in file.output_orders
        else array
        for name, array in values.items()
    }


def _to_source(model: Model, source: Source, images: ImageSet, parts: Mapping[str, Parts]) -> Gaps:
    """What lies between the file made of the source and the source."""
    total: Gaps = {}
    for some_images, answers in source.answers(images):
        values = model.values(some_images)
        wanted = dict(zip(values, answers, strict=True))
        total = _added(total, _gaps(values, wanted, parts, _labels(model)))
    return total


def _labels(model: Model) -> frozenset[str]:
    """The outputs that are whole numbers: classes, indices, a mask."""
    return frozenset(output.name for output in model.io.outputs if output.dtype in WHOLE)


def _gaps(
    values: Values, wanted: Values, parts: Mapping[str, Parts], labels: Collection[str]
) -> Gaps:
    return {
        name: OutputGap.of_labels(values[name], wanted[name])
        if name in labels
        else OutputGap.between(values[name], wanted[name], parts[name])
        for name in wanted
    }


def _added(one: Gaps, other: Gaps) -> Gaps:
    return {name: one[name] + gap if name in one else gap for name, gap in other.items()}
