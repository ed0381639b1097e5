"""Artefacts of networks that are no classifiers, held against each other output by output.

Feature maps, boxes, masks and embeddings have no top-1 to agree on. Files that should be the same
function are compared by the largest difference, one that rounds to int8 by its signal-to-noise
ratio; whole numbers by the share of unequal ones; see ``checks``.

Outputs may be as large as the image, so none is kept: every image goes through every file and
leaves sums. TFLite's feature maps are channels-last, and turned before they are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from PIL import Image

from ghostedge.console import Reporter
from ghostedge.conversion.artefacts import ModelFile
from ghostedge.conversion.checks import BUDGETS, Budget, Gap, rounding_of
from ghostedge.conversion.images import PARITY_IMAGES, Batches, ImageSet
from ghostedge.conversion.parts import Parts, output_parts
from ghostedge.conversion.source import Loaded
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
        total: Sum of the reference, likewise.
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
        cls, found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32], parts: Parts
    ) -> OutputGap:
        """Of one image or batch."""
        exact = wanted.astype(np.float64)
        difference = found - exact
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
        cls, found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]
    ) -> OutputGap:
        """Of whole numbers, as `Gap.of_labels`; they are one part."""
        gap = Gap.of_labels(found, wanted)
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
        heard = np.flatnonzero((self.signal > 0) & (self.noise > 0))
        if len(self.signal) < 2 or len(heard) == 0:
            return None
        index = heard[np.argmin(self.signal[heard] / self.noise[heard])]
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
class SignalFindings:
    """How far a file is from the one it was made from, and from the float ONNX."""

    parity: Parity
    float_sqnr_db: float | None


def compare(
    files: Sequence[ModelFile],
    models: Mapping[str, Model],
    loaded: Loaded,
    images: ImageSet,
    *,
    batch: int,
    reporter: Reporter,
) -> dict[str, SignalFindings]:
    """Each file held against the one it was made from, by file name.

    The origin itself is slow to run, so the file made from it is compared on ``PARITY_IMAGES`` of
    the images, every other one on all of them.
    """
    some = images.head(PARITY_IMAGES)
    first = files[0]
    parts = output_parts(onnx.load(first.path))
    pairs = [(f, f.reference) for f in files if f.reference is not None]
    pairs += [(f, first.path.name) for f in files if f.precision != "float32"]
    mode = mode_of(loaded.preprocessing)
    gaps = _between_files(pairs, files, models, images, parts, mode=mode, reporter=reporter)
    origin = Batches(some, loaded.preprocessing, batch)
    rounding = rounding_of(models[first.path.name], loaded, images, batch)
    of_origin = _from_origin(models[first.path.name], loaded.network.answers, origin, parts)
    found = {}
    for file in files:
        own = of_origin if file.reference is None else gaps[file.path.name, file.reference]
        source = some if file.reference is None else images
        name = file.reference or loaded.origin
        precision = file.precision if file.reference else loaded.origin_precision
        budget = BUDGETS[file.format, precision]
        to_float = gaps.get((file.path.name, first.path.name))
        found[file.path.name] = SignalFindings(
            parity=rounding.judged(partial(signal_parity, own, name, source), budget),
            float_sqnr_db=None
            if to_float is None
            else signal_parity(to_float, first.path.name, images, budget).sqnr_db,
        )
    return found


def signal_parity(gaps: Gaps, reference: str, images: ImageSet, budget: Budget) -> Parity:
    """The gaps of a file's outputs as the manifest has them."""
    outputs = tuple(gap.parity(name, budget) for name, gap in gaps.items())
    return Parity(
        reference=reference,
        images=len(images),
        image_source=images.description,
        max_abs_diff=max(each.max_abs_diff for each in outputs),
        max_relative_diff=_largest(gap.whole.relative for gap in gaps.values()),
        agreement_pct=None,
        sqnr_db=_worst_db(outputs),
        budget=budget_words(budget),
        within_budget=all(each.within_budget for each in outputs),
        outputs=outputs,
    )


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
    ratios = [each.counted_db for each in outputs]
    return min((ratio for ratio in ratios if ratio is not None), default=None)


def _largest(shares: Iterable[float | None]) -> float | None:
    """The largest share; None where one is of nothing."""
    found = list(shares)
    known = [share for share in found if share is not None]
    return max(known) if len(known) == len(found) else None


def _between_files(
    pairs: Iterable[tuple[ModelFile, str]],
    files: Sequence[ModelFile],
    models: Mapping[str, Model],
    images: ImageSet,
    parts: Mapping[str, Parts],
    *,
    mode: str,
    reporter: Reporter,
) -> dict[tuple[str, str], dict[str, OutputGap]]:
    """The gap between each file and the other that is named, over all images."""
    wanted = list(dict.fromkeys((file.path.name, other) for file, other in pairs))

    def run(source: Path | Image.Image) -> list[dict[str, OutputGap]]:
        image = open_image(source, mode)
        values = {f.path.name: channels_first(f, models[f.path.name].values(image)) for f in files}
        return [
            _gaps(values[one], values[other], parts, _labels(models[other]))
            for one, other in wanted
        ]

    total: list[dict[str, OutputGap]] = [{} for _ in wanted]
    # As for logits: two images at a time gain more than two threads on one.
    with ThreadPoolExecutor(host_facts().cores) as pool:
        for row in reporter.track(pool.map(run, images.sources), "compare", total=len(images)):
            total = [_added(*both) for both in zip(total, row, strict=True)]
    return dict(zip(wanted, total, strict=True))


def channels_first(file: ModelFile, values: Values) -> dict[str, npt.NDArray[np.float32]]:
    """A file's outputs in ONNX's axis order."""
    return {
        name: array.transpose(np.argsort(file.output_orders[name]).tolist())
        if name in file.output_orders
        else array
        for name, array in values.items()
    }


def _from_origin(
    model: Model,
    answers: Callable[[npt.NDArray[np.float32]], Sequence[npt.NDArray[np.float32]]],
    batches: Batches,
    parts: Mapping[str, Parts],
) -> dict[str, OutputGap]:
    """The float ONNX file against what it was exported from, on the same normalised batches."""
    total: dict[str, OutputGap] = {}
    for batch in batches:
        found = model.values(batch)
        wanted = dict(zip(found, answers(batch), strict=True))
        total = _added(total, _gaps(found, wanted, parts, _labels(model)))
    return total


def _labels(model: Model) -> frozenset[str]:
    """The outputs that are whole numbers: classes, indices, a mask."""
    return frozenset(output.name for output in model.io.outputs if output.dtype in WHOLE)


def _gaps(
    found: Values, wanted: Values, parts: Mapping[str, Parts], labels: Collection[str]
) -> dict[str, OutputGap]:
    return {
        name: OutputGap.of_labels(found[name], wanted[name])
        if name in labels
        else OutputGap.between(found[name], wanted[name], parts[name])
        for name in wanted
    }


def _added(one: Gaps, other: Gaps) -> dict[str, OutputGap]:
    return {name: one[name] + gap if name in one else gap for name, gap in other.items()}
