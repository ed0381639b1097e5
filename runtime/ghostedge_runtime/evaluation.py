"""How often a model is right: top-1, top-5, and class by class; top-1 on corrupted images.

Every share is in percentage points (83.3 means 83.3 %). The figures are of one pass over a folder
per class, image by image as a device would see them; the times of that pass are in the result.
Comparing two models is the caller's: `Evaluation.predictions` of the same folder line up.
"""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from ghostedge_runtime.corruptions import STRENGTHS, chosen_corruptions, corrupt, pixels_crc32
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.folders import LabelledImages, list_labelled
from ghostedge_runtime.images import prepare
from ghostedge_runtime.latency import Latency, summarize
from ghostedge_runtime.metadata import Preprocessing
from ghostedge_runtime.model import Model
from ghostedge_runtime.record import AS_THEY_ARE, CorruptedScore, CorruptionScores

Hits = npt.NDArray[np.bool_]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ClassScore:
    """How one class fared; a share that would divide by zero is None.

    Attributes:
        label: The class's name.
        precision: Of the images called this, the percentage that are; None if none was.
        recall: Of the images that are this, the percentage called so; None if none is.
        f1: Harmonic mean of the two, in percent; None where no image is or was called this.
        support: Images of this class.
    """

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The score of a model on a folder of labelled images.

    Attributes:
        count: Images.
        top1: Percentage whose likeliest class is the right one.
        top5: Percentage whose right class is among the five likeliest.
        per_class: One score per class of the model, by class index.
        confusion: int64 (classes, classes): row = true class, column = predicted class.
        predictions: int64 (count,): the likeliest class of each image, in the folder's order.
        latency: Preprocessing per image, inference per call of `Model.logits`, of this pass.
    """

    count: int
    top1: float
    top5: float
    per_class: tuple[ClassScore, ...]
    confusion: npt.NDArray[np.int64]
    predictions: npt.NDArray[np.int64]
    latency: Latency

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single predictions, as plain values that JSON takes."""
        return {
            "count": self.count,
            "top1": self.top1,
            "top5": self.top5,
            "per_class": [asdict(score) for score in self.per_class],
            "confusion": self.confusion.tolist(),
            "latency": asdict(self.latency),
        }


def evaluate(
    model: Model,
    folder: str | os.PathLike[str] | LabelledImages,
    *,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a model on labelled images.

    Args:
        model: With metadata; its labels, where it has some, name the class folders.
        folder: A folder per class (see `folders.list_labelled`), or what was listed from one.
        progress: Called after each batch with the images done and the images in all.

    Raises:
        ImageError: The folder or an image in it cannot be used.
        InputError: The model carries no metadata or is closed.
        ModelFileError: The model is not a classifier.
    """
    images = folder if isinstance(folder, LabelledImages) else _listed(model, folder)
    preprocessing, inference = array("q"), array("q")
    ranked: list[npt.NDArray[np.int64]] = []
    done = 0
    for batch in _batches(model, images, preprocessing):
        start = perf_counter_ns()
        logits = model.logits(batch)
        inference.append(perf_counter_ns() - start)
        ranked.append(_five_best(logits))
        done += len(batch)
        if progress is not None:
            progress(done, len(images.paths))
    return _scored(
        np.concatenate(ranked),
        np.asarray(images.targets, np.int64),
        _class_names(model, images),
        Latency(summarize(preprocessing), summarize(inference)),
    )


def score_logits(logits: npt.NDArray[np.float32], images: LabelledImages) -> Evaluation:
    """Score logits that were computed elsewhere, say for several models in one pass.

    Args:
        logits: float32 (images, classes), a row per image in the order of ``images``.
        images: What was listed from the folder.

    Returns:
        As `evaluate`; without times.

    Raises:
        ValueError: The shapes do not fit.
    """
    if logits.shape != (len(images.paths), len(images.class_names)):
        raise ValueError(
            f"logits of shape {logits.shape} for {len(images.paths)} images of "
            f"{len(images.class_names)} classes"
        )
    targets = np.asarray(images.targets, np.int64)
    return _scored(_five_best(logits), targets, images.class_names, Latency(None, None))


def score_corrupted(
    models: Sequence[Model],
    images: LabelledImages,
    corruptions: Sequence[str],
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[CorruptionScores, ...]:
    """Score models on images as they are, and made worse in several ways at five strengths.

    A corrupted image is made once, at the network's size, and given to all models that prepare
    images alike.

    Args:
        models: Classifiers with metadata.
        images: What to score on; take some of a large folder by `LabelledImages.spread`.
        corruptions: Names of `corruptions.CORRUPTIONS`.
        workers: Images that are looked at at a time.
        progress: Called after each image with the images done and the images in all.

    Returns:
        The scores of each model, in their order; ``of_images`` is the number of ``images``.

    Raises:
        ImageError: An image cannot be used.
        InputError: A model carries no metadata or is closed, or a corruption has no such name.
        ModelFileError: A model is not a classifier of these classes.
    """
    for model in models:
        _class_names(model, images)
    conditions = _conditions(corruptions)

    def run(image: tuple[Path, int]) -> list[tuple[int, Hits]]:
        return _hits(models, *image, conditions)

    rows = []
    with ThreadPoolExecutor(workers) as pool:
        for row in pool.map(run, zip(images.paths, images.targets, strict=True)):
            rows.append(row)
            if progress is not None:
                progress(len(rows), len(images.paths))
    return tuple(
        _corruption_scores(model, conditions, of_model)
        for model, of_model in zip(models, zip(*rows, strict=True), strict=True)
    )


def _conditions(corruptions: Sequence[str]) -> list[tuple[str, int]]:
    """Name and strength of each, the images as they are first."""
    names = chosen_corruptions(corruptions, "corruptions")
    return [(AS_THEY_ARE, 0), *product(names, STRENGTHS)]


def _hits(
    models: Sequence[Model], path: Path, target: int, conditions: Sequence[tuple[str, int]]
) -> list[tuple[int, Hits]]:
    """Of each model the CRC-32 of an image's pixels, and whether each form of it was right."""
    forms: dict[Preprocessing, list[npt.NDArray[np.uint8]]] = {}
    answers = []
    for model in models:
        preprocessing = model.described.preprocessing
        if preprocessing not in forms:
            forms[preprocessing] = _forms(path, preprocessing, conditions)
        pixels = forms[preprocessing]
        size = model.io.input.shape[0] or 1
        batches = (pixels[first : first + size] for first in range(0, len(pixels), size))
        best = [
            model.logits(np.concatenate([model.encode(each) for each in batch])).argmax(axis=1)
            for batch in batches
        ]
        answers.append((pixels_crc32(pixels[0]), np.concatenate(best) == target))
    return answers


def _forms(
    path: Path, preprocessing: Preprocessing, conditions: Sequence[tuple[str, int]]
) -> list[npt.NDArray[np.uint8]]:
    """An image prepared for a network, in every condition."""
    pixels = prepare(path, preprocessing)
    order = preprocessing.color_order
    return [
        corrupt(pixels, name, strength, color_order=order) if strength else pixels
        for name, strength in conditions
    ]


def _corruption_scores(
    model: Model, conditions: Sequence[tuple[str, int]], rows: Sequence[tuple[int, Hits]]
) -> CorruptionScores:
    source = model.described.source
    hits = np.stack([row for _, row in rows], axis=1)
    scores = tuple(
        CorruptedScore(name, strength, 100.0 * float(row.mean()), np.packbits(row).tobytes().hex())
        for (name, strength), row in zip(conditions, hits, strict=True)
    )
    crc32 = zlib.crc32(np.array([crc for crc, _ in rows], "<u4").tobytes())
    return CorruptionScores(
        images=len(rows),
        of_images=len(rows),
        pixels_crc32=f"{crc32:08x}",
        precision=model.described.precision,
        source_sha256=None if source is None else source.sha256,
        scores=scores,
    )


def _listed(model: Model, folder: str | os.PathLike[str]) -> LabelledImages:
    labels = None if model.metadata is None else model.metadata.labels
    return list_labelled(folder, labels, model.num_classes)


def _class_names(model: Model, images: LabelledImages) -> tuple[str, ...]:
    """One name per output of the model; the images must not need more of them."""
    count = model.num_classes
    if count is not None and len(images.class_names) != count:
        raise ModelFileError(
            f"it tells {count} classes apart, but the images are of {len(images.class_names)}",
            where=model.path,
            remedy="score it on the classes it was trained on",
        )
    return images.class_names


def _batches(model: Model, images: LabelledImages, spent: array[int]) -> Iterator[npt.NDArray[Any]]:
    """The images as batches of the file's own size, or one by one where that is open."""
    size = model.io.input.shape[0] or 1
    for first in range(0, len(images.paths), size):
        rows = []
        for path in images.paths[first : first + size]:
            start = perf_counter_ns()
            rows.append(model.preprocess(path))
            spent.append(perf_counter_ns() - start)
        yield rows[0] if size == 1 else np.concatenate(rows)


def _five_best(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """(images, 5 at most): best first, of equal logits the lower index first, as argmax has it."""
    return np.argsort(-logits, axis=1, kind="stable")[:, :5]


def _scored(
    ranked: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    names: tuple[str, ...],
    latency: Latency,
) -> Evaluation:
    hits = ranked == targets[:, np.newaxis]
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (targets, ranked[:, 0]), 1)
    return Evaluation(
        count=len(targets),
        top1=100.0 * float(hits[:, 0].mean()),
        top5=100.0 * float(hits.any(axis=1).mean()),
        per_class=tuple(_class_score(confusion, i, name) for i, name in enumerate(names)),
        confusion=confusion,
        predictions=ranked[:, 0].copy(),
        latency=latency,
    )


def _class_score(confusion: npt.NDArray[np.int64], index: int, label: str) -> ClassScore:
    right = int(confusion[index, index])
    called, support = int(confusion[:, index].sum()), int(confusion[index].sum())
    return ClassScore(
        label=label,
        precision=_percent(right, called),
        recall=_percent(right, support),
        f1=_percent(2 * right, called + support),
        support=support,
    )


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None
