"""Artefacts of networks that are no classifiers, held against each other output by output.

Feature maps, boxes, masks and embeddings have no top-1 to agree on. Files that should be the same
function are compared by the largest difference, one that rounds to int8 by its signal-to-noise
ratio; whole numbers by the share of unequal ones; see ``checks``.

Outputs may be as large as the image, so none is kept: every image goes through every file and
leaves sums. TFLite's feature maps are channels-last, and turned before they are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ghostedge.console import Reporter
from ghostedge.conversion.artefacts import ModelFile
from ghostedge.conversion.checks import BUDGETS, Budget, Gap
from ghostedge.conversion.imagesets import PARITY_IMAGES, Batches, ImageSet
from ghostedge.conversion.load import Loaded
from ghostedge.manifest import OutputParity, Parity
from ghostedge_runtime import Model, host_facts
from ghostedge_runtime.images import mode_of, open_image
from ghostedge_runtime.real_values import WHOLE

Values = Mapping[str, npt.NDArray[np.float32]]


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


def signal_parity(gaps: Gaps, reference: str, images: ImageSet, budget: Budget) -> Parity:
    """The gaps of a file's outputs as the manifest has them."""
    return Parity(
        reference=reference,
        images=len(images),
        image_source=images.description,
        max_abs_diff=max(gap.difference for gap in gaps.values()),
        agreement_pct=None,
        sqnr_db=worst_db(gaps.values()),
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
        return [_gaps(values[one], values[other], _labels(models[other])) for one, other in wanted]

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
        wanted = dict(zip(found, answers(batch), strict=True))
        total = _added(total, _gaps(found, wanted, _labels(model)))
    return total


def _labels(model: Model) -> frozenset[str]:
    """The outputs that are whole numbers: classes, indices, a mask."""
    return frozenset(output.name for output in model.io.outputs if output.dtype in WHOLE)


def _gaps(found: Values, wanted: Values, labels: Collection[str]) -> dict[str, Gap]:
    return {
        name: (Gap.of_labels if name in labels else Gap.between)(found[name], wanted[name])
        for name in wanted
    }


def _added(one: Gaps, other: Gaps) -> dict[str, Gap]:
    return {name: one.get(name, Gap()) + gap for name, gap in other.items()}
