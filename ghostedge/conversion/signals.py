"""Artefacts of networks that are no classifiers, held against each other output by output.

Feature maps, boxes, masks and embeddings have no top-1 to agree on. Files that should be the same
function are compared by the largest difference, one that rounds to int8 by its signal-to-noise
ratio: the power of the reference's numbers over that of the difference, over all images.

Outputs may be as large as the image, so none is kept: every image goes through every file and
leaves sums. TFLite's feature maps are channels-last, and turned before they are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ghostedge.console import Reporter
from ghostedge.conversion.artefacts import ModelFile
from ghostedge.conversion.imagesets import PARITY_IMAGES, Batches, ImageSet
from ghostedge.conversion.load import Loaded
from ghostedge.manifest import OutputParity, Parity
from ghostedge_runtime import Model, host_facts
from ghostedge_runtime.images import mode_of, open_image

Values = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class SignalBudget:
    """A bound on the difference of two artefacts, which every output has to keep.

    Attributes:
        max_abs_diff: Of any number, relative to the output's largest where that is above 1.
        min_sqnr_db: Signal-to-noise ratio.
    """

    max_abs_diff: float | None = None
    min_sqnr_db: float | None = None

    def __str__(self) -> str:
        parts = []
        if self.max_abs_diff is not None:
            parts.append(f"outputs within {self.max_abs_diff:g}")
        if self.min_sqnr_db is not None:
            parts.append(f"sqnr at least {self.min_sqnr_db:g} dB")
        return ", ".join(parts)


# 20 dB is an error with a tenth of the signal's root mean square: a cosine of 0.995 between an
# embedding and its float original. What lowering adds to int8 is rounding alone, so it has to be
# smaller than what int8 itself does.
BUDGETS: Mapping[tuple[str, str], SignalBudget] = {
    ("onnx", "float32"): SignalBudget(max_abs_diff=1e-4),
    ("tflite", "float32"): SignalBudget(max_abs_diff=1e-3),
    ("onnx", "float16"): SignalBudget(max_abs_diff=1e-2),
    ("tflite", "float16"): SignalBudget(max_abs_diff=1e-3),
    ("onnx", "dynamic"): SignalBudget(min_sqnr_db=20.0),
    ("tflite", "dynamic"): SignalBudget(max_abs_diff=1e-3),
    ("onnx", "int8"): SignalBudget(min_sqnr_db=20.0),
    ("tflite", "int8"): SignalBudget(min_sqnr_db=25.0),
}


@dataclass(frozen=True)
class Gap:
    """What lies between one output and its reference, over the images so far.

    Attributes:
        signal: Sum of the reference's squares.
        noise: Sum of the difference's squares.
        largest: Largest magnitude of the reference.
        difference: Largest magnitude of the difference.
    """

    signal: float = 0.0
    noise: float = 0.0
    largest: float = 0.0
    difference: float = 0.0

    @classmethod
    def between(cls, found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> Gap:
        """Of one image or batch."""
        difference = found.astype(np.float64) - wanted
        return cls(
            signal=float(np.square(wanted, dtype=np.float64).sum()),
            noise=float(np.square(difference).sum()),
            largest=float(np.abs(wanted).max(initial=0)),
            difference=float(np.abs(difference).max(initial=0)),
        )

    def __add__(self, other: Gap) -> Gap:
        return Gap(
            self.signal + other.signal,
            self.noise + other.noise,
            max(self.largest, other.largest),
            max(self.difference, other.difference),
        )

    @property
    def sqnr_db(self) -> float | None:
        """None where there is no difference at all."""
        if self.noise == 0:
            return None
        return 10 * math.log10(max(self.signal, np.finfo(float).tiny) / self.noise)

    def keeps(self, budget: SignalBudget) -> bool:
        """Whether it is inside the bound."""
        bound = budget.max_abs_diff
        close = bound is None or self.difference <= bound * max(1, self.largest)
        ratio = self.sqnr_db
        clear = budget.min_sqnr_db is None or ratio is None or ratio >= budget.min_sqnr_db
        return math.isfinite(self.noise) and close and clear


Gaps = Mapping[str, Gap]


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
    pairs = [(f, f.reference) for f in files if f.reference is not None]
    pairs += [(f, first.path.name) for f in files if f.precision != "float32"]
    mode = mode_of(loaded.preprocessing)
    gaps = _between_files(pairs, files, models, images, mode=mode, reporter=reporter)
    origin = Batches(some, loaded.preprocessing, batch)
    of_origin = _from_origin(models[first.path.name], loaded.network.answers, origin)
    found = {}
    for file in files:
        own = of_origin if file.reference is None else gaps[file.path.name, file.reference]
        source = some if file.reference is None else images
        name = file.reference or loaded.origin
        to_float = gaps.get((file.path.name, first.path.name))
        found[file.path.name] = SignalFindings(
            parity=signal_parity(own, name, source, BUDGETS[file.format, file.precision]),
            float_sqnr_db=None if to_float is None else worst_db(to_float.values()),
        )
    return found


def signal_parity(gaps: Gaps, reference: str, images: ImageSet, budget: SignalBudget) -> Parity:
    """The gaps of a file's outputs as the manifest has them."""
    return Parity(
        reference=reference,
        images=len(images),
        image_source=images.description,
        max_abs_diff=max(gap.difference for gap in gaps.values()),
        agreement_pct=None,
        budget=str(budget),
        within_budget=all(gap.keeps(budget) for gap in gaps.values()),
        outputs=tuple(
            OutputParity(name, gap.difference, gap.sqnr_db) for name, gap in gaps.items()
        ),
    )


def worst_db(gaps: Iterable[Gap]) -> float | None:
    """The smallest ratio of several outputs, None where none differs."""
    return min((gap.sqnr_db for gap in gaps if gap.sqnr_db is not None), default=None)


def _between_files(
    pairs: Iterable[tuple[ModelFile, str]],
    files: Sequence[ModelFile],
    models: Mapping[str, Model],
    images: ImageSet,
    *,
    mode: str,
    reporter: Reporter,
) -> dict[tuple[str, str], dict[str, Gap]]:
    """The gap between each file and the other that is named, over all images."""
    wanted = list(dict.fromkeys((file.path.name, other) for file, other in pairs))

    def run(source: Path | Image.Image) -> list[dict[str, Gap]]:
        image = open_image(source, mode)
        values = {f.path.name: channels_first(f, models[f.path.name].values(image)) for f in files}
        return [_gaps(values[one], values[other]) for one, other in wanted]

    total: list[dict[str, Gap]] = [{} for _ in wanted]
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
) -> dict[str, Gap]:
    """The float ONNX file against what it was exported from, on the same normalised batches."""
    total: dict[str, Gap] = {}
    for batch in batches:
        found = model.values(batch)
        total = _added(total, _gaps(found, dict(zip(found, answers(batch), strict=True))))
    return total


def _gaps(found: Values, wanted: Values) -> dict[str, Gap]:
    return {name: Gap.between(found[name], wanted[name]) for name in wanted}


def _added(one: Gaps, other: Gaps) -> dict[str, Gap]:
    return {name: one.get(name, Gap()) + gap for name, gap in other.items()}
