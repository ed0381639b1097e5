"""Logits of any converted file over the same images, and how far they are from the float ones.

A file states itself what it takes: raw pixels (uint8, NHWC), normalised floats (NCHW or NHWC) or
normalised and quantized ones; the images are brought into that form here. Every file runs in the
same two runtimes, those of this environment, whoever wrote it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from ai_edge_litert.interpreter import Interpreter

from support.studies import EvaluationImages

Logits = npt.NDArray[np.float32]
COLUMNS = ("top-1 %", "drop", "agreement %", "expected %", "SQNR dB")
UNDECIDED_SHARE = 0.1
"""Noise at near ties is measured on so many of the images, those of the smallest margins."""


@dataclass(frozen=True)
class Score:
    """How one file does on the study's test images.

    Attributes:
        top1_pct: Right label, in percent.
        agreement_pct: Same top-1 as the float network, in percent.
        expected_agreement_pct: The same without the luck of these very images; see
            ``expected_agreement``.
        sqnr_db: Power of the float network's logits over that of the difference, in decibels;
            None where there is no difference.
        drop_points: Top-1 of the float network minus this file's, in percentage points.
    """

    top1_pct: float
    agreement_pct: float
    expected_agreement_pct: float
    sqnr_db: float | None
    drop_points: float

    def as_json(self) -> dict[str, float | None]:
        """The fields by name."""
        return asdict(self)

    def cells(self) -> list[str]:
        """For a table with the columns ``COLUMNS``."""
        figures = (
            self.top1_pct,
            self.drop_points,
            self.agreement_pct,
            self.expected_agreement_pct,
            self.sqnr_db,
        )
        return ["–" if figure is None else f"{figure:.2f}" for figure in figures]


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores files against one float network on one study's test images."""

    images: EvaluationImages
    reference: Logits

    @classmethod
    def of(cls, float_file: Path, images: EvaluationImages) -> Scorer:
        """A scorer whose reference are the logits of ``float_file``."""
        return cls(images, file_logits(float_file, images))

    def __call__(self, file: Path) -> Score:
        """The score of a .onnx or .tflite."""
        return score(file_logits(file, self.images), self.reference, self.images.labels)

    def stored(self, file: Path) -> Score:
        """The same for a peer's file, which never changes: its logits are kept beside it."""
        return score(self.stored_logits(file), self.reference, self.images.labels)

    def stored_logits(self, file: Path) -> Logits:
        """Logits of a file that never changes, kept beside it, float32 [N, classes].

        A .npy holds logits of all the study's images already.
        """
        if file.suffix == ".npy":
            return np.asarray(np.load(file)[self.images.places], np.float32)
        runtime = {".onnx": "onnxruntime", ".tflite": "ai-edge-litert"}[file.suffix]
        name = f"{file.stem}.{len(self.images.labels)}.{runtime}-{version(runtime)}.npy"
        logits_file = file.with_name(name)
        if not logits_file.exists():
            np.save(logits_file, file_logits(file, self.images))
        return np.asarray(np.load(logits_file), np.float32)


@dataclass(frozen=True)
class Folds:
    """Scores a row of files, each on the images that the next was calibrated on, as one."""

    scorers: tuple[Scorer, ...]

    def __call__(self, files: Sequence[Path]) -> Score:
        """The score over all images.

        Args:
            files: One for each scorer; they never change, so their logits are kept beside them.
        """
        return score(self.logits(files), self.reference, self.labels)

    def logits(self, files: Sequence[Path]) -> Logits:
        """Each file's over its own images, one fold after the other, float32 [N, classes]."""
        pairs = zip(self.scorers, files, strict=True)
        return np.concatenate([scorer.stored_logits(file) for scorer, file in pairs])

    @property
    def reference(self) -> Logits:
        """The float network's, likewise."""
        return np.concatenate([scorer.reference for scorer in self.scorers])

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class indices, likewise."""
        return np.concatenate([scorer.images.labels for scorer in self.scorers])


def score(logits: Logits, reference: Logits, labels: npt.NDArray[np.int64]) -> Score:
    """Compare a file's logits with the float network's.

    Args:
        logits: float32 [N, classes] of the file.
        reference: The same of the float network.
        labels: int64 [N].
    """
    answers, expected = logits.argmax(1), reference.argmax(1)
    top1, float_top1 = (100 * np.mean(a == labels) for a in (answers, expected))
    noise = float(np.square(logits.astype(np.float64) - reference).sum())
    signal = float(np.square(reference.astype(np.float64)).sum())
    return Score(
        top1_pct=round(float(top1), 3),
        agreement_pct=round(float(100 * np.mean(answers == expected)), 3),
        expected_agreement_pct=round(100 * expected_agreement(logits, reference), 3),
        sqnr_db=round(10 * math.log10(signal / noise), 2) if noise else None,
        drop_points=round(float(float_top1 - top1), 3),
    )


def expected_agreement(logits: Logits, reference: Logits) -> float:
    """Share of images whose top-1 noise like this file's leaves alone, with less luck in it.

    Of 5,000 images some fifty change their top-1, and which way an undecided one falls is chance:
    the plain count has a standard error of 0.16 points there. So the noise of a margin (float's
    top-1 minus its runner-up) is measured on all the least decided images, and each image's margin
    is held against all of that noise: it is overturned where the noise is larger and of the one
    sign out of two. The standard error is half as large (both by bootstrap). It says nothing of a
    file that is broken, whose noise has no sign to speak of: the count does.

    Args:
        logits: float32 [N, classes] of the file.
        reference: The same of the float network.
    """
    rows, order = np.arange(len(reference)), np.argsort(-reference, axis=1)
    first, second = order[:, 0], order[:, 1]
    margin = reference[rows, first] - reference[rows, second]
    noise = np.abs(logits[rows, first] - logits[rows, second] - margin)
    undecided = np.sort(noise[margin <= np.quantile(margin, UNDECIDED_SHARE)])
    larger = len(undecided) - np.searchsorted(undecided, margin, side="right")
    return 1 - float(np.mean(larger)) / len(undecided) / 2


def standard_errors(logits: Logits, reference: Logits, draws: int = 200) -> dict[str, float]:
    """Of agreement and of expected agreement, in points, by bootstrap over the images."""
    random = np.random.default_rng(0)
    agree = logits.argmax(1) == reference.argmax(1)
    samples = []
    for _ in range(draws):
        drawn = random.integers(0, len(agree), len(agree))
        samples.append((agree[drawn].mean(), expected_agreement(logits[drawn], reference[drawn])))
    agreement, expected = 100 * np.std(samples, axis=0)
    return {"agreement": round(float(agreement), 3), "expected": round(float(expected), 3)}


def file_logits(path: Path, images: EvaluationImages) -> Logits:
    """Logits of a .onnx or .tflite over all images, float32 [N, classes], one image at a time.

    One interpreter per core, each with its share of the images.
    """
    cores = len(os.sched_getaffinity(0))
    opened = _onnx if path.suffix == ".onnx" else _tflite
    shares = np.array_split(np.arange(len(images.labels)), cores)
    with ThreadPoolExecutor(cores) as pool:
        parts = pool.map(lambda share: _over(opened(path), images, share), shares)
        return np.concatenate(list(parts))


def _over(
    run: Callable[[EvaluationImages, int], Logits],
    images: EvaluationImages,
    share: npt.NDArray[np.int64],
) -> Logits:
    return np.stack([run(images, int(index)) for index in share])


def _onnx(path: Path) -> Callable[[EvaluationImages, int], Logits]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # silent about what it optimizes
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()

    def run(images: EvaluationImages, index: int) -> Logits:
        value = images.pixels[index : index + 1]
        if taken.type == "tensor(float)":
            value = np.ascontiguousarray(images.normalised[index : index + 1].transpose(0, 3, 1, 2))
        (logits,) = session.run(None, {taken.name: value})
        return np.asarray(logits, np.float32).reshape(-1)

    return run


def _tflite(path: Path) -> Callable[[EvaluationImages, int], Logits]:
    interpreter = Interpreter(model_content=path.read_bytes(), num_threads=1)
    interpreter.allocate_tensors()
    (taken,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images: EvaluationImages, index: int) -> Logits:
        value = images.pixels[index : index + 1]
        if taken["dtype"] != np.uint8:
            value = _quantized(images.normalised[index : index + 1], taken)
        interpreter.set_tensor(taken["index"], value)
        interpreter.invoke()
        return _real(interpreter.get_tensor(output["index"]), output).reshape(-1)

    return run


def _quantized(values: npt.NDArray[np.float32], tensor: dict[str, Any]) -> npt.NDArray[Any]:
    if tensor["dtype"] == np.float32:
        return values
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    steps = np.round(values / scale) + zero_point
    return np.asarray(np.clip(steps, limits.min, limits.max), tensor["dtype"])


def _real(values: npt.NDArray[Any], tensor: dict[str, Any]) -> Logits:
    if tensor["dtype"] == np.float32:
        return np.asarray(values, np.float32)
    scale, zero_point = tensor["quantization"]
    real = (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    return np.asarray(real, np.float32)
